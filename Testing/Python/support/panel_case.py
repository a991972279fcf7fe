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
import pytest
import qt
import slicer
from application import StandInApplication, StandInLayoutManager
from PySide6.QtTest import QTest
from repository import ROOT
from TriplaneGaussianReconModule.installation import dependencies
from TriplaneGaussianReconModule.run import python_process

MODULE = ROOT / "TriplaneGaussianRecon" / "TriplaneGaussianRecon.py"


@contextmanager
def opened_panel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module's widget in the scene `slicer.mrmlScene` (see `mrml`), opened by the user."""
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
    """Choose an entry of a combo box as a user does."""
    index = box.findText(text)
    assert index >= 0, [box.itemText(n) for n in range(box.count)]
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


def red(text: str) -> bool:
    """Whether a label's text is in red."""
    return text.startswith('<font color="#d00000">')


def cut_through(volume: Any, ijk: tuple[float, float, float], axis: int, view: str = "Red") -> None:
    """Let a slice view show the slice along an axis of a volume, under its parent transform, that a voxel lies in."""
    ends = [mrml.world_of_voxel(volume, [x + step * (n == axis) for n, x in enumerate(ijk)]) for step in (0.0, 1.0)]
    others = [mrml.world_of_voxel(volume, [x + (n == (axis + 1) % 3) for n, x in enumerate(ijk)])]
    normal, across = ends[1] - ends[0], others[0] - ends[0]
    node = slicer.mrmlScene.GetSingletonNode(view, "vtkMRMLSliceNode")
    node.SetSliceToRASByNTP(*normal, *across, *ends[0], 0)
