"""The module's panel as tests use it: its real .ui file, real Qt, a real scene, and clicks.

Stand-ins: the application and its layout manager, widgets of CTK and Slicer, base classes; see `slicer_stand_ins`.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import mrml
import numpy as np
import pytest
import qt
import slicer
from application import StandInApplication, StandInLayoutManager
from PySide6.QtTest import QTest
from repository import ROOT
from TriplaneGaussianReconModule.installation import dependencies
from TriplaneGaussianReconModule.run import python_process
from TriplaneGaussianReconModule.run.parameters import TriplaneGaussianReconParameterNode

MODULE = ROOT / "TriplaneGaussianRecon" / "TriplaneGaussianRecon.py"
SHAPE = (9, 20, 22)
CPU = {"device": "cpu", "name": "Xeon", "memory_bytes": 8e9, "note": "CPU: There is no GPU."}


class StandInDeviceList:
    """Stand-in for process.DeviceList: answers at once with what `found` holds."""

    found: list[dict[str, Any]] = [CPU]
    started = 0

    def __init__(self, on_found: Callable[[list[dict[str, Any]]], None], *_: Any) -> None:
        self._on_found = on_found

    def start(self) -> None:
        StandInDeviceList.started += 1
        self._on_found(self.found)

    def kill(self) -> None:
        pass


@contextmanager
def opened_panel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module's widget in the scene `slicer.mrmlScene` (see `mrml`), opened by the user."""
    qt.QCoreApplication.setOrganizationName("TriplaneGaussianRecon tests")
    qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
    qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, slicer.app.temporaryPath + " settings")
    logic = slicer.modules.application.logic()
    plots = slicer.vtkSlicerPlotsLogic()
    plots.SetMRMLApplicationLogic(logic)
    plots.SetMRMLScene(slicer.mrmlScene)
    monkeypatch.setattr(slicer.modules, "plots", SimpleNamespace(logic=lambda: plots), raising=False)
    monkeypatch.setattr(slicer.modules, "triplanegaussianrecon", SimpleNamespace(path=str(MODULE)), raising=False)
    layouts = StandInLayoutManager(slicer.mrmlScene, logic)
    monkeypatch.setattr(slicer, "app", StandInApplication(slicer.app.temporaryPath, logic, layouts))
    monkeypatch.setattr(python_process, "pythonExecutable", lambda: sys.executable)
    monkeypatch.setattr(dependencies, "missing", list)
    import TriplaneGaussianRecon as module

    widget = module.TriplaneGaussianReconWidget()
    widget.enter()
    widget.parent.resize(480, 1400)
    yield widget
    widget.exit()
    widget.cleanup()
    layouts.close()
    widget.ui.TriplaneGaussianRecon.setMRMLScene(None)  # as C++ does when it deletes the widgets
    widget.parent.deleteLater()
    qt.QCoreApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)


def click(widget: Any) -> None:
    """Click on a widget that can be clicked, where it begins."""
    assert widget.visible and widget.enabled, widget.toolTip
    QTest.mouseClick(widget, qt.Qt.LeftButton, qt.Qt.NoModifier, qt.QPoint(8, widget.height // 2))


def open_section(section: Any) -> None:
    """Click on the title of a section that is closed."""
    QTest.mouseClick(section, qt.Qt.LeftButton, qt.Qt.NoModifier, qt.QPoint(20, 8))
    assert not section.collapsed


def type_into(edit: Any, text: str) -> None:
    """Replace the text of a line edit by the keyboard."""
    edit.selectAll()
    QTest.keyClick(edit, qt.Qt.Key_Delete)
    QTest.keyClicks(edit, text)


def choose(box: Any, text: str) -> None:
    """Choose an entry of a combo box as a user does; what stands behind a colon need not be told."""
    texts = [box.itemText(n) for n in range(box.count)]
    index = [each.partition(":")[0] for each in texts].index(text) if text not in texts else texts.index(text)
    box.setCurrentIndex(index)
    box.activated.emit(index)


def wait_until(holds: Callable[[], Any], seconds: float = 120.0) -> None:
    """Let the event loop go on until something holds; fails where that takes far longer than it should."""
    loop, look, limit = qt.QEventLoop(), qt.QTimer(), qt.QTimer()
    look.connect("timeout()", lambda: loop.quit() if holds() else None)
    limit.connect("timeout()", loop.quit)
    look.start(5)
    limit.start(round(1000 * seconds))
    if not holds():
        loop.exec()
    assert holds()


def read(label: Any) -> str:
    """What a user reads on a label."""
    text, document = label.text, qt.QTextDocument()
    if label.textFormat == qt.Qt.RichText or label.textFormat == qt.Qt.AutoText and qt.Qt.mightBeRichText(text):
        document.setHtml(text)
        return str(document.toPlainText())
    return str(text)


def red(text: str) -> bool:
    """Whether a label's text is in red."""
    return text.startswith('<font color="#d00000">')


def grey(text: str) -> bool:
    """Whether a label's text is in grey."""
    return text.startswith('<font color="#808080">')


def cut_through(volume: Any, ijk: tuple[float, float, float], axis: int, view: str = "Red") -> None:
    """Let a slice view show the slice along an axis of a volume, under its parent transform, that a voxel lies in."""
    ends = [mrml.world_of_voxel(volume, [x + step * (n == axis) for n, x in enumerate(ijk)]) for step in (0.0, 1.0)]
    others = [mrml.world_of_voxel(volume, [x + (n == (axis + 1) % 3) for n, x in enumerate(ijk)])]
    normal, across = ends[1] - ends[0], others[0] - ends[0]
    node = slicer.mrmlScene.GetSingletonNode(view, "vtkMRMLSliceNode")
    node.SetSliceToRASByNTP(*normal, *across, *ends[0], 0)


def moving() -> tuple[np.ndarray, np.ndarray]:
    """A blob [k, j, i] that moves from slice to slice, and a mask of it."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    near = (i - 8 - 0.5 * k) ** 2 + (j - 9) ** 2
    noise = 20 * np.random.default_rng(0).normal(size=SHAPE)
    return (1000 * np.exp(-near / 30) + noise).astype(np.int16), near < 20


def shown_sequence() -> Any:
    """A volume in which a browser shows a sequence of two frames."""
    volume, scene = mrml.add_volume(moving()[0]), slicer.mrmlScene
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "sequence")
    for number in range(2):
        sequence.SetDataNodeAtValue(volume, str(number))
    browser.AddProxyNode(volume, sequence, False)
    return volume


def reconstructed(widget: Any) -> TriplaneGaussianReconParameterNode:
    """Press the button and wait for the results."""
    click(widget.ui.reconstructButton)
    wait_until(lambda: not widget.logic.isRunning)
    return widget.logic.getParameterNode()


def transformed(volume: Any, kind: str) -> None:
    """Put a volume under a parent transform."""
    if kind == "linear":
        matrix = np.eye(4)
        matrix[:3] = np.c_[1.5 * mrml.rotation(40.0, 30.0), [7.0, -30.0, 11.0]]
        volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(matrix).GetID())
    elif kind == "bent":
        volume.SetAndObserveTransformNodeID(mrml.add_grid_transform(shift=10.0).GetID())


def add_scan(widget: Any, directions: np.ndarray | None = None) -> tuple[Any, Any]:
    """Add a volume and a segmentation of two segments, and choose them on the panel."""
    voxels, mask = moving()
    volume = mrml.add_volume(voxels, mrml.ijk_to_ras(directions=directions))
    segmentation = mrml.add_segmentation(volume, {"core": mask, "shifted": np.roll(mask, 3, 2)})
    widget.ui.inputVolume.setCurrentNode(volume)
    widget.ui.segmentation.setCurrentNode(segmentation)
    return volume, segmentation


def plane_of(name: str) -> np.ndarray:
    """[4, 4] from the plane of a slice view to RAS, mm."""
    return slicer.util.arrayFromVTKMatrix(slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode").GetSliceToRAS())
