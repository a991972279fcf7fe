"""What stands below the button."""
from __future__ import annotations

from typing import Any

import mrml
import pytest
import qt
import slicer
from panel_case import choose, click, moving, read, reconstructed, red, type_into, wait_until


def test_what_was_told_goes_with_the_next_choice(widget: Any, volume: Any) -> None:
    message = widget.ui.message
    reconstructed(widget)
    assert message.visible and read(message).startswith("Done in")
    widget.panel.update()
    assert message.visible
    choose(widget.ui.trust, "Every Nth slice")
    assert not message.visible and not message.text


def test_a_problem_goes_with_the_next_choice(widget: Any, volume: Any, process: Any) -> None:
    process.isHeld = True
    click(widget.ui.reconstructButton)
    slicer.mrmlScene.RemoveNode(volume)
    assert red(widget.ui.message.text)
    widget.ui.inputVolume.setCurrentNode(mrml.add_volume(moving()[0], name="next"))
    widget.ui.outputSpacing.value = 2.0
    assert not widget.ui.message.visible


def test_why_the_button_is_grey_stands_below_it(widget: Any) -> None:
    message = widget.ui.message
    assert message.visible and read(message) == widget.ui.reconstructButton.toolTip == "Choose an input volume first."
    widget.ui.inputVolume.setCurrentNode(mrml.add_volume(moving()[0]))
    assert not message.visible
    choose(widget.ui.task, "Replace bad slices")
    assert message.visible and read(message).startswith("Say which slices are bad") and not red(message.text)


def test_what_is_known_stands_there_though_nothing_can_run(widget: Any, volume: Any) -> None:
    ui = widget.ui
    choose(ui.task, "Replace bad slices")
    assert not ui.reconstructButton.enabled
    assert ui.trustPreview.text.startswith("9 of 9 slices") and ui.outputPreview.text.startswith("Result:")
    type_into(ui.excludedSlices, "3")
    ui.region.addNode().SetSize(5.0, 5.0, 0.5)
    wait_until(lambda: not ui.reconstructButton.enabled)
    assert ui.trustPreview.text.startswith("8 of 9 slices") and not ui.outputPreview.visible


@pytest.mark.parametrize(("task", "row", "text", "line", "reason"), [
    ("Automatic", "sliceList", "0,99", "trustPreview", "Slices to use: Slice 99 does not exist"),
    ("Automatic", "sliceList", "4", "trustPreview", "Only one slice is used"),
    ("Replace bad slices", "excludedSlices", "99", "trustPreview", "Excluded slices: Slice 99 does not exist"),
    ("Replace bad slices", "excludedSlices", "x", "trustPreview", "Excluded slices: Cannot read"),
    ("Fill a segmentation", "emptySlices", "99", "labelsPreview", "Empty slices: Slice 99 does not exist"),
    ("Fill a segmentation", "labelledSlices", "x", "labelsPreview", "Labels from: Cannot read"),
    ("Combine volumes", "thickness", "x", "furtherNote", "Cannot read the slice thickness")])
def test_what_is_wrong_stands_in_red_below_its_row(widget: Any, volume: Any, task: str, row: str, text: str, line: str,
                                                   reason: str) -> None:
    ui, other = widget.ui, mrml.add_volume(moving()[0], name="other")
    choose(ui.task, task)
    ui.segmentation.setCurrentNode(mrml.add_segmentation(volume, {"core": moving()[1]}))
    widget.logic.getParameterNode().furtherVolumes = [other] if task == "Combine volumes" else []
    choose(ui.trust, "A list of slices" if row == "sliceList" else "All slices")
    choose(ui.labelsOn, "A list of slices" if row == "labelledSlices" else "Drawn slices")
    ui.furtherSection.collapsed = False
    type_into(getattr(ui, row), text)
    label = getattr(ui, line)
    assert label.visible and red(label.text) and read(label).startswith(reason)
    assert read(ui.message) == read(label) == ui.reconstructButton.toolTip


def test_what_a_region_or_a_spacing_lacks_stands_below_it(widget: Any, volume: Any) -> None:
    ui, box = widget.ui, widget.ui.region.addNode()
    box.SetCenter(500.0, 500.0, 500.0)
    wait_until(lambda: ui.regionNote.visible)
    assert red(ui.regionNote.text) and "The region lies outside of the volume" in ui.regionNote.text
    ui.region.setCurrentNode(None)
    ui.outputSpacing.value = 500.0
    assert not ui.regionNote.visible and red(ui.outputPreview.text)
    assert "leaves only one slice" in ui.outputPreview.text


def test_what_is_wrong_with_labels_is_not_said_of_the_region(widget: Any, volume: Any) -> None:
    ui = widget.ui
    ui.segmentation.setCurrentNode(mrml.add_segmentation(volume, {"core": moving()[1]}))
    wait_until(lambda: ui.labelsPreview.text)
    ui.region.addNode()
    type_into(ui.emptySlices, "99")
    assert not ui.regionNote.visible and read(ui.labelsPreview).startswith("Empty slices: Slice 99 does not exist")


def test_what_is_not_chosen_yet_is_asked_for_where_it_says_what_is_done(widget: Any, volume: Any) -> None:
    ui = widget.ui
    for task, asked in (("Fill a segmentation", "Choose the segmentation"), ("Combine volumes", "Check at least one"),
                        ("Replace bad slices", "Say which slices are bad")):
        choose(ui.task, task)
        assert read(ui.message) == ui.taskPreview.text and ui.taskPreview.text.startswith(asked)
    choose(ui.task, "Fill a segmentation")
    ui.segmentation.setCurrentNode(mrml.add_segmentation(volume, {"core": moving()[1]}))
    ui.segments.item(0).setCheckState(qt.Qt.Unchecked)
    assert read(ui.segmentationNote) == "Check at least one segment." and red(ui.segmentationNote.text)
    choose(ui.task, "Make slices thinner")
    assert read(ui.segmentationNote) == "Check at least one segment, or choose no segmentation."
