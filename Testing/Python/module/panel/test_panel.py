"""What the panel says of the choices, and when it can be clicked."""
from __future__ import annotations

import re
import xml.etree.ElementTree as xml
from collections.abc import Callable
from typing import Any

import mrml
import numpy as np
import pytest
import qt
import slicer
from panel_case import (
    MODULE,
    StandInDeviceList,
    add_scan,
    choose,
    grey,
    moving,
    open_section,
    opened_panel,
    read,
    reconstructed,
    type_into,
)
from PySide6.QtTest import QTest
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.panel import device_choice
from TriplaneGaussianReconModule.run.parameters import PresetChoice, TriplaneGaussianReconParameterNode, Trust, keywords

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.jobs import estimates

UI = MODULE.parent / "Resources" / "UI" / "TriplaneGaussianRecon.ui"


# The module file and the .ui file


def test_the_presets_of_the_panel_are_known() -> None:
    assert {preset.value for preset in PresetChoice} <= set(PRESETS)


def test_each_parameter_has_its_widget() -> None:
    shown = {found.findtext("string") for found in xml.parse(UI).iter("property")
             if found.get("name") == "SlicerParameterName"}
    by_hand = {"omittedSegmentIDs", "device", "preset", "task", "furtherVolumes", "settingsVolumes", "settingsExcluded",
               "settingsSegmentations"}
    results = {name for name in TriplaneGaussianReconParameterNode.allParameters if name.startswith("result")}
    assert shown == set(TriplaneGaussianReconParameterNode.allParameters) - by_hand - results


def test_all_texts_of_the_panel_can_be_translated() -> None:
    root, names = xml.parse(UI), TriplaneGaussianReconParameterNode.allParameters
    properties = [(found.get("name"), text) for found in root.iter("property") for text in found.iter("string")]
    untranslated = {id(text) for found in root.iter() if found.get("notr") == "true" for text in found.iter("string")}
    for name, text in properties:  # names of classes, parameters and new nodes, as in Slicer's own files
        assert (id(text) in untranslated) == (name in ("nodeTypes", "baseName", "SlicerParameterName")), text.text
    assert {text.text for name, text in properties if name == "SlicerParameterName"} <= set(names)


# What the panel says


def test_a_volume_that_is_there_is_taken(scene: Any, process: StandInWorkerProcess, monkeypatch: pytest.MonkeyPatch
                                         ) -> None:
    slicer.util.addVolumeFromArray(moving()[1].astype(np.uint8), nodeClassName="vtkMRMLLabelMapVolumeNode")
    volume = mrml.add_volume(moving()[0])
    monkeypatch.setattr(device_choice, "DeviceList", StandInDeviceList)
    with opened_panel(monkeypatch) as opened:
        assert opened.ui.inputVolume.currentNode() is volume and opened.ui.reconstructButton.enabled


def test_an_empty_scene_says_what_to_do_first(widget: Any) -> None:
    assert not widget.ui.reconstructButton.enabled
    assert widget.ui.reconstructButton.toolTip == "Choose an input volume first."
    assert "not a medical device" in widget.ui.disclaimer.text and widget.ui.disclaimer.visible
    assert widget.ui.advancedSection.collapsed and widget.ui.resultsSection.collapsed
    assert not widget.ui.progressView.visible


@pytest.mark.parametrize(("axis", "meaning"), [
    (None, "Axis K: 9 axial slices (oblique), 3 mm apart, from inferior to superior."),
    ("K (slices)", "Axis K: 9 axial slices (oblique), 3 mm apart, from inferior to superior."),
    ("J (rows)", "Axis J: 20 coronal slices (oblique), 0.9 mm apart, from posterior to anterior."),
    ("I (columns)", "Axis I: 22 sagittal slices (oblique), 0.7 mm apart, from left to right."),
])
def test_the_slice_axis_is_explained(widget: Any, axis: str | None, meaning: str) -> None:
    add_scan(widget)
    if axis is not None:
        choose(widget.ui.sliceAxis, axis)
    assert widget.ui.axisPreview.text == meaning


def test_choices_made_in_the_console_are_explained_too(widget: Any) -> None:
    volume = mrml.add_volume(moving()[0])
    parameters = widget.logic.getParameterNode()
    parameters.inputVolume = volume
    assert widget.ui.axisPreview.text.startswith("Axis K: 9 axial slices") and widget.ui.reconstructButton.enabled
    parameters.everyNth, parameters.trust = 4, Trust.EVERY
    assert widget.ui.trustPreview.text.startswith("3 of 9 slices") and widget.ui.everyNth.value == 4


def test_parent_transforms_count_in_what_the_axis_means(widget: Any) -> None:
    volume, _ = add_scan(widget, directions=np.eye(3))
    assert widget.ui.axisPreview.text.endswith("3 mm apart, from inferior to superior.")
    turned = np.eye(4)
    turned[:3, :3] = [[2, 0, 0], [0, 0, -2], [0, 2, 0]]
    volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(turned).GetID())
    widget.enter()
    assert widget.ui.axisPreview.text == "Axis K: 9 coronal slices, 6 mm apart, from anterior to posterior."


@pytest.mark.parametrize(("trust", "shown", "wanted", "told"), [
    ("All slices", None, "all", "9 of 9 slices are used: 0-8. Widest gap: 3 mm."),
    ("Every Nth slice", "everyNth", "every:4", "3 of 9 slices are used: 0, 4, 8. Widest gap: 12 mm."),
    ("A percentage", "percentage", "25%", "2 of 9 slices are used: 0, 8. Widest gap: 24 mm."),
    ("Slices that carry segmentation", None, "segmented", "The slices on which a chosen segment has a voxel."),
    ("A list of slices", "sliceList", "1,3-5", "4 of 9 slices are used: 1, 3-5. Widest gap: 6 mm."),
])
def test_observed_slices_are_asked_for_and_told(widget: Any, trust: str, shown: str | None, wanted: str, told: str
                                               ) -> None:
    volume, segmentation = add_scan(widget)
    choose(widget.ui.trust, trust)
    widget.ui.everyNth.value, widget.ui.percentage.value = 4, 25.0
    visible = [name for name in ("everyNth", "percentage", "sliceList") if getattr(widget.ui, name).visible]
    assert visible == ([shown] if shown else [])
    if shown == "sliceList":
        assert not widget.ui.reconstructButton.enabled  # nothing is in the list yet
        type_into(widget.ui.sliceList, "1,3-5")
    assert keywords(widget.logic.getParameterNode())["trustedSlices"] == wanted
    assert widget.ui.trustPreview.text == told and widget.ui.reconstructButton.enabled


def test_the_result_is_described_before_it_is_made(widget: Any) -> None:
    add_scan(widget)
    assert widget.ui.outputPreview.text == "Result: 22 x 20 x 35 voxels of 0.7 x 0.9 x 0.7 mm."
    choose(widget.ui.trust, "Every Nth slice")
    assert widget.ui.outputPreview.text == "Result: 22 x 20 x 9 voxels of 0.7 x 0.9 x 3 mm."
    widget.ui.outputSpacing.value = 1.5
    assert widget.ui.outputPreview.text == "Result: 22 x 20 x 17 voxels of 0.7 x 0.9 x 1.5 mm."
    assert keywords(widget.logic.getParameterNode())["outputSpacing"] == 1.5


@pytest.mark.parametrize(("change", "reason"), [
    (lambda ui: (choose(ui.trust, "A list of slices"), type_into(ui.sliceList, "0,40")), "Slice 40 does not exist"),
    (lambda ui: (choose(ui.trust, "A list of slices"), type_into(ui.sliceList, "4")), "Only one slice is used"),
    (lambda ui: type_into(ui.excludedSlices, "3-"), "Cannot read the excluded slices '3-'"),
    (lambda ui: type_into(ui.excludedSlices, "0-8"), "No slice is left"),
    (lambda ui: [ui.segments.item(row).setCheckState(qt.Qt.Unchecked) for row in range(2)], "at least one segment"),
    (lambda ui: (ui.segmentation.setCurrentNode(None), choose(ui.trust, "Slices that carry segmentation")),
     "there is no segmentation"),
    (lambda ui: ui.inputVolume.setCurrentNode(None), "Choose an input volume first."),
    (lambda ui: setattr(ui.outputSpacing, "value", 0.001) or ui.inputVolume.setCurrentNode(
        mrml.add_volume(np.zeros((4, 1500, 1500), np.uint8))), "makes more than"),
])
def test_what_cannot_run_says_why(widget: Any, change: Callable[[Any], Any], reason: str) -> None:
    add_scan(widget)
    assert widget.ui.reconstructButton.enabled
    change(widget.ui)
    assert not widget.ui.reconstructButton.enabled and reason in widget.ui.reconstructButton.toolTip


def test_a_volume_that_cannot_be_used_says_why(widget: Any) -> None:
    widget.ui.inputVolume.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
    assert not widget.ui.reconstructButton.enabled
    assert "'empty' has no voxels" in widget.ui.reconstructButton.toolTip
    assert not widget.ui.axisPreview.visible and not widget.ui.excludeButton.enabled


@pytest.mark.parametrize(("change", "told"), [
    (lambda ui: choose(ui.preset, "Fast"), r"Will take about \d+ s on this computer, and [\d.]+ GB of memory\."),
    (lambda ui: choose(ui.preset, "Better"), r"Will take about \d+ s on this computer, and [\d.]+ GB of memory\."),
    (lambda ui: choose(ui.preset, "Best"),
     r"May take [\d.]+ (min|h) on this computer, and [\d.]+ GB of memory; this is a guess\."),
    (lambda ui: choose(ui.trust, "Slices that carry segmentation"),
     r"Will take \d+ s at most on this computer, and [\d.]+ GB of memory\."),
    (lambda ui: type_into(ui.excludedSlices, "x"), ""),
])
def test_time_and_memory_are_told_beforehand(widget: Any, change: Callable[[Any], Any], told: str) -> None:
    add_scan(widget)
    change(widget.ui)
    assert re.fullmatch(told, read(widget.ui.estimate)) and widget.ui.estimate.visible == bool(told)
    assert not told or grey(widget.ui.estimate.text)


def test_each_quality_has_its_time_beside_it(widget: Any) -> None:
    box = widget.ui.preset
    assert [box.itemText(n) for n in range(box.count)] == ["Fast", "Better", "Best"] and box.currentText == "Fast"
    add_scan(widget)
    texts = [box.itemText(n) for n in range(box.count)]
    assert re.fullmatch(r"Fast: about \d+ s", texts[0]) and re.fullmatch(r"Better: about \d+ s", texts[1])
    assert re.fullmatch(r"Best: about [\d.]+ (min|h), as a guess", texts[2])
    choose(box, "Better")
    assert keywords(widget.logic.getParameterNode())["preset"] == "balanced"
    type_into(widget.ui.excludedSlices, "x")
    assert box.itemText(1) == "Better" and box.currentText == "Better"
    widget.logic.getParameterNode().preset = PresetChoice.BEST
    assert box.currentText == "Best"


def test_what_takes_longer_is_told_to_take_longer(widget: Any) -> None:
    """A segmentation does where slices are thin; where they are thick no network of labels is trained."""
    voxels, mask = moving()
    for spacing, takes_longer in ((0.7, True), (3.0, False)):
        volume = mrml.add_volume(voxels, mrml.ijk_to_ras((0.7, 0.7, spacing)))
        widget.ui.inputVolume.setCurrentNode(volume)
        widget.ui.segmentation.setCurrentNode(mrml.add_segmentation(volume, {"core": mask}))
        choose(widget.ui.trust, "Every Nth slice")
        labelled = int(read(widget.ui.estimate).split()[3])
        widget.ui.segmentation.setCurrentNode(None)
        assert (int(read(widget.ui.estimate).split()[3]) < labelled) == takes_longer


def test_memory_and_threads_are_automatic_until_they_are_set(widget: Any, process: StandInWorkerProcess,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "usable_threads", lambda: 4)
    widget.ui.inputVolume.setCurrentNode(mrml.add_volume(np.zeros((60, 300, 300), np.uint8)))
    open_section(widget.ui.advancedSection)
    memory, threads, estimate = widget.ui.memory, widget.ui.threads, widget.ui.estimate
    assert memory.text == threads.text == "Automatic"
    assert re.fullmatch(r"Will take about \d+ s on this computer, and [\d.]+ GB of memory\.", read(estimate))
    memory.value, threads.value = 1.5, 1
    assert memory.text == "1.5 GB" and threads.text == "1"
    assert read(estimate) == "Will take about 2 min on this computer, and 1.5 GB of memory."
    asked = keywords(widget.logic.getParameterNode())
    assert (asked["memory"], asked["threads"]) == (1.5, 1)
    memory.value = 0.5
    assert not widget.ui.reconstructButton.enabled
    assert "0.5 GB of memory is less than the program itself takes" in widget.ui.reconstructButton.toolTip
    assert not estimate.visible


# Segments


def test_segments_are_left_out_by_a_click(widget: Any) -> None:
    volume, segmentation = add_scan(widget)
    segments = widget.ui.segments
    assert [segments.item(row).text() for row in range(2)] == ["肝臓 é core", "肝臓 é shifted"] and segments.visible
    row = segments.visualItemRect(segments.item(0))
    QTest.mouseClick(segments.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier,
                     qt.QPoint(row.left() + 8, row.center().y()))
    assert keywords(widget.logic.getParameterNode())["segmentIDs"] == ["shifted"]
    assert reconstructed(widget).resultSegmentation.GetSegmentation().GetSegmentIDs() == ("shifted",)


def test_segments_that_were_drawn_meanwhile_take_part(widget: Any) -> None:
    volume, segmentation = add_scan(widget)
    widget.exit()
    segmentation.GetSegmentation().AddEmptySegment("new", "lesion")
    segmentation.GetSegmentation().GetSegment("core").SetName("liver")
    widget.enter()
    segments = widget.ui.segments
    assert [segments.item(row).text() for row in range(3)] == ["liver", "肝臓 é shifted", "lesion"]
    assert keywords(widget.logic.getParameterNode())["segmentIDs"] == ["core", "shifted", "new"]


def test_without_segmentation_there_is_no_list(widget: Any) -> None:
    add_scan(widget)
    widget.ui.segmentation.setCurrentNode(None)
    assert not widget.ui.segments.visible and keywords(widget.logic.getParameterNode())["segmentIDs"] is None
