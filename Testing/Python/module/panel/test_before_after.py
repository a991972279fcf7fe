"""What a result was made from and the result in turn."""
from __future__ import annotations

from typing import Any

import mrml
import pytest
import qt
import slicer
from panel_case import StandInDeviceList, click, moving, opened_panel, reconstructed, wait_until
from PySide6.QtTest import QTest
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.panel import device_choice
from TriplaneGaussianReconModule.scene.surfaces import CLOSED_SURFACE


def background() -> Any:
    logic = slicer.app.applicationLogic().GetSliceLogic(slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode"))
    return logic.GetBackgroundLayer().GetVolumeNode()


def test_before_and_after_are_shown_in_turn(widget: Any, scan: tuple[Any, Any]) -> None:
    volume, segmentation = scan
    assert not widget.ui.beforeButton.visible
    choices, button = reconstructed(widget), widget.ui.beforeButton
    for text, shown, labels, others in (
            ("Show before", choices.resultVolume, choices.resultSegmentation, segmentation),
            ("Show after", volume, segmentation, choices.resultSegmentation),
            ("Show before", choices.resultVolume, choices.resultSegmentation, segmentation)):
        assert button.text == text and background() is shown
        assert labels.GetDisplayVisibility() and not others.GetDisplayVisibility()
        click(button)


def test_a_volume_alone_changes_with_its_result(widget: Any, scan: tuple[Any, Any]) -> None:
    widget.ui.segmentation.setCurrentNode(None)
    result = reconstructed(widget).resultVolume
    assert background() is result
    click(widget.ui.beforeButton)
    assert background() is scan[0] and widget.ui.beforeButton.text == "Show after"
    slicer.mrmlScene.RemoveNode(scan[0])
    widget.enter()
    assert not widget.ui.beforeButton.visible


class Mouse:
    """Clicks on what is seen, and counts."""

    def __init__(self) -> None:
        self.clicks = 0

    def click(self, widget: Any) -> None:
        """Click on a button."""
        click(widget)
        self.clicks += 1

    def pick(self, selector: Any, text: str) -> None:
        """Open the list of a node selector, and click on an entry."""
        box = selector.findChild(qt.QComboBox)
        self.click(box)
        view, row = box.view(), box.findText(text)
        assert view.visible and row >= 0
        QTest.qWait(600)  # what is released sooner counts as the end of the first click
        QTest.mouseClick(view.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier,
                         view.visualRect(view.model().index(row, 0)).center())
        self.clicks += 1
        assert box.currentText == text


def test_from_a_loaded_scan_to_3d_it_takes_six_clicks(scene: Any, process: StandInWorkerProcess,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Two to open the module, which takes the volume by itself; the rest is counted."""
    volume, mouse = mrml.add_volume(moving()[0], name="thick"), Mouse()
    mrml.add_segmentation(volume, {"core": moving()[1]}, name="drawn")
    monkeypatch.setattr(device_choice, "DeviceList", StandInDeviceList)
    with opened_panel(monkeypatch) as opened:
        mouse.pick(opened.ui.segmentation, "drawn")
        mouse.click(opened.ui.reconstructButton)
        wait_until(lambda: not opened.logic.isRunning)
        filled = opened.logic.getParameterNode().resultSegmentation
        mouse.click(opened.ui.show3DButton)
        wait_until(lambda: filled.GetSegmentation().ContainsRepresentation(CLOSED_SURFACE))
        assert filled.GetName() == "drawn reconstructed"
        assert filled.GetSegmentation().ContainsRepresentation(CLOSED_SURFACE) and 2 + mouse.clicks <= 6
