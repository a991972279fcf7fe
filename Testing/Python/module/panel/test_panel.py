"""The panel: what it says, what can be clicked when, and what comes of the clicks."""
from __future__ import annotations

import gc
import itertools
import re
import weakref
import xml.etree.ElementTree as xml
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import qt
import slicer
from computer_stand_ins import StandInComputer, StandInDriver
from panel_case import (
    CPU,
    MODULE,
    SHAPE,
    StandInDeviceList,
    choose,
    click,
    cut_through,
    grey,
    moving,
    open_section,
    opened_panel,
    read,
    reconstructed,
    red,
    transformed,
    type_into,
    wait_until,
)
from PySide6.QtTest import QTest
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.panel import device_choice, views
from TriplaneGaussianReconModule.panel.picture import pixmap
from TriplaneGaussianReconModule.panel.plane_drawing import PlaneDrawing
from TriplaneGaussianReconModule.run.parameters import (
    PresetChoice,
    TriplaneGaussianReconParameterNode,
    Trust,
    keywords,
)
from TriplaneGaussianReconModule.run.task import Task
from TriplaneGaussianReconModule.scene import sample_data

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs import estimates
from TriplaneGaussianReconLib.runtime import devices

UI = MODULE.parent / "Resources" / "UI" / "TriplaneGaussianRecon.ui"
GPU = {"device": "cuda:0", "name": "NVIDIA H200", "memory_bytes": 151e9, "note": "NVIDIA H200, 151.0 GB."}


def add_scan(widget: Any, directions: np.ndarray | None = None) -> tuple[Any, Any]:
    """Add a volume and a segmentation of two segments, and choose them on the panel."""
    voxels, mask = moving()
    volume = mrml.add_volume(voxels, mrml.ijk_to_ras(directions=directions))
    segmentation = mrml.add_segmentation(volume, {"core": mask, "shifted": np.roll(mask, 3, 2)})
    widget.ui.inputVolume.setCurrentNode(volume)
    widget.ui.segmentation.setCurrentNode(segmentation)
    return volume, segmentation


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
    (lambda ui: choose(ui.preset, "Better"), r"Will take about \d+ min on this computer, and [\d.]+ GB of memory\."),
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
    assert re.fullmatch(r"Fast: about \d+ s", texts[0]) and re.fullmatch(r"Better: about \d+ min", texts[1])
    assert re.fullmatch(r"Best: about [\d.]+ (min|h), as a guess", texts[2])
    choose(box, "Better")
    assert keywords(widget.logic.getParameterNode())["preset"] == "balanced"
    type_into(widget.ui.excludedSlices, "x")
    assert box.itemText(1) == "Better" and box.currentText == "Better"
    widget.logic.getParameterNode().preset = PresetChoice.BEST
    assert box.currentText == "Best"


def test_what_takes_longer_is_told_to_take_longer(widget: Any) -> None:
    add_scan(widget)
    labelled = int(read(widget.ui.estimate).split()[3])
    widget.ui.segmentation.setCurrentNode(None)
    assert int(read(widget.ui.estimate).split()[3]) < labelled


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


# The slice that a view shows


@pytest.mark.parametrize("kind", ["none", "linear", "bent"])
@pytest.mark.parametrize(("axis", "index"), [(2, 0), (2, 5), (2, 8), (1, 13), (0, 21)])
def test_the_slice_that_is_shown_is_excluded(widget: Any, kind: str, axis: int, index: int) -> None:
    volume, _ = add_scan(widget)
    transformed(volume, kind)
    choose(widget.ui.sliceAxis, ["I (columns)", "J (rows)", "K (slices)"][axis])
    at = [10.5, 9.5, 4.0]
    at[axis] = index + 0.3
    cut_through(volume, at, axis, "Green")
    for view in ("Red", "Yellow"):
        cut_through(volume, (10.5, 9.5, 4.0), (axis + 1) % 3, view)
    click(widget.ui.excludeButton)
    assert widget.ui.excludedSlices.text == str(index)
    assert f"Slice {index}, which the view Green shows" in widget.ui.message.text
    click(widget.ui.excludeButton)
    assert widget.ui.excludedSlices.text == str(index)


def tilt_red(degrees: float) -> None:
    """Turn the view Red about its own horizontal line."""
    plane = plane_of("Red").copy()
    plane[:3, :3] = plane[:3, :3] @ mrml.rotation(0.0, degrees)
    slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode").SetSliceToRASByNTP(
        *plane[:3, 2], *plane[:3, 0], *plane[:3, 3], 0)


@pytest.mark.parametrize(("button", "slices"), [("excludeButton", "excludedSlices"), ("emptyButton", "emptySlices")])
def test_a_view_that_cuts_several_slices_is_turned_to_one_of_them_first(widget: Any, button: str, slices: str) -> None:
    volume, _ = add_scan(widget)
    transformed(volume, "linear")
    cut_through(volume, (10.5, 9.5, 4.3), 2)
    along = plane_of("Red")[:3, 2].copy()
    tilt_red(20.0)
    click(getattr(widget.ui, button))
    assert read(widget.ui.message) == ("The view Red was turned to the slices. It shows slice 4: press again if that "
                                       "is the one.")
    assert getattr(widget.ui, slices).text == "" and abs(plane_of("Red")[:3, 2] @ along) > 0.999999
    click(getattr(widget.ui, button))
    assert getattr(widget.ui, slices).text == "4" and "Slice 4, which the view Red shows" in widget.ui.message.text


def test_a_view_that_cannot_lie_along_sheared_slices_is_turned_once(widget: Any) -> None:
    volume, _ = add_scan(widget)
    shear = np.eye(4)
    shear[0, 2] = 0.3
    volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(shear).GetID())
    cut_through(volume, (10.5, 9.5, 4.0), 2)
    tilt_red(25.0)
    for told in ("was turned to the slices", "is excluded"):
        click(widget.ui.excludeButton)
        assert told in widget.ui.message.text


def test_excluding_adds_to_what_is_excluded(widget: Any) -> None:
    volume, _ = add_scan(widget)
    type_into(widget.ui.excludedSlices, "1-2")
    cut_through(volume, (10.0, 9.0, 4.0), 2)
    click(widget.ui.excludeButton)
    assert keywords(widget.logic.getParameterNode())["excludedSlices"] == "1-2,4"


def test_a_view_beside_the_volume_excludes_nothing(widget: Any) -> None:
    volume, _ = add_scan(widget)
    cut_through(volume, (10.0, 9.0, 8.6), 2)
    click(widget.ui.excludeButton)
    assert widget.ui.excludedSlices.text == "" and red(widget.ui.message.text)
    assert "The slice view Red does not show the volume" in widget.ui.message.text


def test_without_a_view_along_the_axis_nothing_is_excluded(widget: Any) -> None:
    add_scan(widget)
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutOneUp3DView)
    click(widget.ui.excludeButton)
    assert "No slice view shows slices along axis K" in widget.ui.message.text


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("axis", "corner"), [("axial", (-1, -1)), ("coronal", (-1, 1)), ("sagittal", (-1, 1))])
def test_previews_are_upright(widget: Any, axis: str, corner: tuple[int, int], signs: tuple[int, int],
                              transposed: bool) -> None:
    # `corner`: where along x, y, z (left, posterior, superior) the top left corner of a picture lies.
    within = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[axis]
    order = within[::-1] if transposed else within  # the anatomical axis of columns, then that of rows
    direction = np.zeros((3, 3))
    for column, (anatomical, sign) in enumerate(zip(order, signs, strict=True)):
        direction[anatomical, column] = sign
    direction[({0, 1, 2} - set(within)).pop(), 2] = 1.0
    lengths = [6 if anatomical == within[0] else 3 for anatomical in order]
    image = np.zeros(lengths[::-1])
    wanted = dict(zip(within, corner, strict=True))
    place = [0 if sign * -1 == wanted[anatomical] else length - 1
             for anatomical, sign, length in zip(order, signs, lengths, strict=True)]
    image[place[1], place[0]] = 1.0
    grid = Grid((1, *lengths[::-1]), (0, 0, 0), (1, 1, 1), tuple(map(tuple, direction)))
    shown = pixmap(image, grid, "k", (0.0, 1.0)).toImage()
    assert shown.width() == 2 * shown.height()
    brightest = max(((x, y) for x in range(2, shown.width(), 4) for y in range(2, shown.height(), 4)),
                    key=lambda at: shown.pixelColor(*at).lightness())
    assert brightest[0] < shown.width() / 6 and brightest[1] < shown.height() / 3


# The device


def test_the_cpu_alarms_nobody_and_says_why(widget: Any) -> None:
    assert grey(widget.ui.deviceNote.text)
    assert read(widget.ui.deviceNote) == "Computed on the processor. There is no GPU."
    assert [widget.ui.device.itemText(n) for n in range(2)] == ["Automatic", "CPU: Xeon, 8.0 GB"]


@pytest.mark.parametrize("computer", [
    StandInComputer("13.0", StandInDriver(12040)), StandInComputer(None, StandInDriver(14010)),
    StandInComputer(failure=RuntimeError("no kernel image is available"))])
def test_another_torch_is_got_in_the_way_of_slicer(widget: Any, monkeypatch: pytest.MonkeyPatch,
                                                   computer: StandInComputer) -> None:
    StandInDeviceList.found = [{**CPU, "note": devices.choose("auto", computer).note}]
    with opened_panel(monkeypatch) as opened:
        assert "module PyTorch Utils" in opened.ui.deviceNote.text and "pytorch.org" not in opened.ui.deviceNote.text


def test_a_gpu_is_named_with_its_memory(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    StandInDeviceList.found = [GPU, {**CPU, "note": "CPU."}]
    with opened_panel(monkeypatch) as opened:
        assert read(opened.ui.deviceNote) == "cuda:0: NVIDIA H200, 151.0 GB"
        add_scan(opened)
        assert re.fullmatch(r"Will take about \d+ s on this computer, and [\d.]+ GB of memory on the graphics card\.",
                            read(opened.ui.estimate))
        choose(opened.ui.device, "CPU: Xeon, 8.0 GB")
        assert "processor" in opened.ui.deviceNote.text
        assert keywords(opened.logic.getParameterNode())["device"] == "cpu"


def test_a_device_of_another_computer_is_pointed_out(widget: Any) -> None:
    widget.logic.getParameterNode().device = "cuda:3"
    assert widget.ui.device.currentText == "cuda:3"
    assert "This computer has no device cuda:3" in widget.ui.deviceNote.text and red(widget.ui.deviceNote.text)


def test_devices_are_looked_for_until_some_are_known(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    StandInDeviceList.found, StandInDeviceList.started = [], 0
    with opened_panel(monkeypatch) as opened:
        assert "once the Python packages are installed" in opened.ui.deviceNote.text
        StandInDeviceList.found = [CPU]
        opened.enter()
        opened.enter()
    assert StandInDeviceList.started == 2


# Running


def test_reconstruct_becomes_cancel_and_results_come(widget: Any, process: StandInWorkerProcess) -> None:
    volume, segmentation = add_scan(widget)
    choose(widget.ui.trust, "Every Nth slice")
    before, button = mrml.fingerprint(slicer.mrmlScene), widget.ui.reconstructButton
    parameters = widget.logic.getParameterNode().parameterNode.GetID()
    process.isHeld = True
    click(button)
    assert button.text == "Cancel" and button.enabled
    wait_until(lambda: widget.ui.preview.visible)
    assert widget.ui.progressBar.value == 500 and not widget.ui.preview.pixmap.isNull()
    assert widget.ui.progressText.text == "Stage 2 of 8: Learning from the scan&#x27;s own slices, 1 s left"
    process.isHeld = False
    process._timer.start(0)
    wait_until(lambda: not widget.logic.isRunning)
    assert button.text == "Reconstruct" and not widget.ui.progressView.visible
    assert widget.ui.message.text.startswith("Done in ") and not widget.ui.resultsSection.collapsed
    choices, after = widget.logic.getParameterNode(), mrml.fingerprint(slicer.mrmlScene)
    assert choices.resultVolume.GetName() == f"{volume.GetName()} reconstructed"
    assert choices.resultSegmentation.GetSegmentation().GetSegmentIDs() == ("core", "shifted")
    changed = {name for name in before if after[name] != before[name]} - {parameters}
    views = ("vtkMRMLSlice", "vtkMRMLSelection", "vtkMRMLSegmentationDisplay")
    assert all(name.startswith(views) for name in changed)  # the result is shown
    assert widget.ui.resultText.text.startswith("<b>1.7 dB better than linear interpolation between slices.</b><br>")
    assert ("slices, each hidden and predicted across twice the real gap: 0.9 dB better than the best usual method "
            "(cubic), PSNR 20.0 dB." in widget.ui.resultText.text)
    assert "Expected error: 2.22 on average" in widget.ui.resultText.text


def test_cancel_leaves_the_scene_as_it_was(widget: Any, process: StandInWorkerProcess) -> None:
    add_scan(widget)
    before, button = mrml.fingerprint(slicer.mrmlScene), widget.ui.reconstructButton
    process.isHeld = True
    click(button)
    wait_until(lambda: process.state == "running")
    click(button)
    assert button.text == "Cancelling..." and not button.enabled
    assert widget.ui.progressText.text == "Cancelling..."
    wait_until(lambda: not widget.logic.isRunning)
    assert button.text == "Reconstruct" and button.enabled
    assert widget.ui.message.text == "Cancelled. The scene is as it was."
    assert mrml.fingerprint(slicer.mrmlScene) == before


def test_a_run_from_the_console_is_not_the_panels(widget: Any, process: StandInWorkerProcess) -> None:
    volume, _ = add_scan(widget)
    button, ends = widget.ui.reconstructButton, list[Any]()
    widget.logic.reconstruct(volume, waitForCompletion=False, completedCallback=lambda *ended: ends.append(ended))
    assert button.text == "Reconstruct" and not button.enabled and "started elsewhere" in button.toolTip
    widget.ui.seed.value = 5
    assert not button.enabled
    wait_until(lambda: ends)
    assert ends[0][0] is not None and button.enabled and "started elsewhere" not in button.toolTip
    assert widget.logic.getParameterNode().resultVolume is None and not widget.ui.message.visible
    assert ends[0][0].volume not in shown_volumes()


def shown_volumes() -> set[Any]:
    """What the slice views show in the background."""
    return {slicer.app.applicationLogic().GetSliceLogic(view).GetBackgroundLayer().GetVolumeNode()
            for view in slicer.util.getNodesByClass("vtkMRMLSliceNode")}


def test_the_result_is_shown(widget: Any) -> None:
    volume, _ = add_scan(widget)
    views.showEverywhere(volume)
    assert shown_volumes() == {volume}
    result = reconstructed(widget).resultVolume
    assert shown_volumes() == {result}


def test_the_filled_segmentation_takes_the_place_of_the_given_one(widget: Any) -> None:
    """Which would lie over it; a further result is shown although the given one is hidden by then."""
    _, given = add_scan(widget)
    first = reconstructed(widget).resultSegmentation
    assert first.GetDisplayVisibility() and not given.GetDisplayVisibility()
    assert reconstructed(widget).resultSegmentation.GetDisplayVisibility()


def test_a_failure_is_told_in_red(widget: Any, process: StandInWorkerProcess) -> None:
    add_scan(widget)
    before = mrml.fingerprint(slicer.mrmlScene)
    process.failure = {"event": "failed", "kind": "memory", "message": "Not enough <memory>.", "details": ""}
    parameters = reconstructed(widget)
    assert red(widget.ui.message.text) and "Not enough &lt;memory&gt;." in widget.ui.message.text
    assert parameters.resultVolume is None and mrml.fingerprint(slicer.mrmlScene) == before
    process.failure = None
    reconstructed(widget)
    assert widget.ui.message.text.startswith("Done in ")


def test_what_is_found_out_only_when_it_starts_is_told(widget: Any) -> None:
    volume, segmentation = add_scan(widget)
    for name in ("core", "shifted"):
        segmentation.GetSegmentation().GetSegment(name).RemoveAllRepresentations()
    reconstructed(widget)
    assert red(widget.ui.message.text) and "has a voxel in the volume" in widget.ui.message.text


def test_without_consent_to_packages_nothing_starts(widget: Any, monkeypatch: pytest.MonkeyPatch,
                                                    process: StandInWorkerProcess) -> None:
    from TriplaneGaussianReconModule.installation import dependencies

    add_scan(widget)
    monkeypatch.setattr(dependencies, "ensure", lambda parent: False)
    click(widget.ui.reconstructButton)
    assert not process.folders and "Python packages are missing" in widget.ui.message.text


@pytest.mark.parametrize("event", ["close", "delete", "cleanup"])
def test_a_run_ends_with_what_it_belongs_to(widget: Any, process: StandInWorkerProcess, event: str) -> None:
    volume, _ = add_scan(widget)
    process.isHeld = True
    click(widget.ui.reconstructButton)
    wait_until(lambda: process.state == "running")
    if event == "close":
        slicer.mrmlScene.Clear(False)
    elif event == "delete":
        slicer.mrmlScene.RemoveNode(volume)
    else:
        widget.cleanup()
    assert process.state == "idle" and not widget.logic.isRunning
    assert slicer.util.getNodesByClass("vtkMRMLTableNode") == [] and not list(
        Path(slicer.app.temporaryPath).iterdir())
    if event != "cleanup":
        assert widget.ui.reconstructButton.text == "Reconstruct" and not widget.ui.reconstructButton.enabled
        assert "so there is no result" in widget.ui.message.text


def test_the_panel_works_on_in_a_scene_that_was_closed(widget: Any) -> None:
    for _ in range(2):
        add_scan(widget)
        assert reconstructed(widget).resultVolume is not None
        slicer.mrmlScene.Clear(False)
        assert widget.ui.inputVolume.currentNode() is None and not widget.ui.plotButton.enabled


def test_after_cleanup_nothing_of_the_panel_reacts(widget: Any) -> None:
    volume, segmentation = add_scan(widget)
    parameters = widget.logic.getParameterNode()
    widget.cleanup()
    text = widget.ui.trustPreview.text
    parameters.trust = Trust.EVERY
    widget.ui.seed.value = 99
    assert widget.ui.trustPreview.text == text and parameters.seed == 0
    slicer.mrmlScene.RemoveNode(volume)
    slicer.mrmlScene.Clear(False)


def test_a_scene_that_was_closed_keeps_no_nodes_of_a_run(widget: Any) -> None:
    nodes = list(add_scan(widget))
    parameters = reconstructed(widget)
    nodes += [parameters.resultVolume, parameters.resultConfidence, parameters.resultSegmentation]
    kept = [weakref.ref(node) for node in nodes]
    nodes.clear()
    del parameters
    slicer.mrmlScene.Clear(False)
    gc.collect()
    assert not any(node() for node in kept)


def test_a_panel_that_was_closed_can_go(scene: Any, process: StandInWorkerProcess, monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    with opened_panel(monkeypatch) as opened:
        add_scan(opened)
        reconstructed(opened)
        kept = weakref.ref(opened.panel)
    del opened
    gc.collect()
    assert kept() is None


# Results


def test_a_plane_that_was_drawn_keeps_no_nodes(scene: Any, tmp_path: Path) -> None:
    ends: list[str] = []
    drawing = PlaneDrawing(lambda node, problem: ends.append(problem), str(tmp_path / "no python"))
    nodes = [mrml.add_volume(moving()[0]), scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")]
    drawing.start(tmp_path / "model", *nodes)
    wait_until(lambda: ends)
    kept = [weakref.ref(node) for node in nodes]
    while nodes:
        scene.RemoveNode(nodes.pop())
    gc.collect()
    assert "could not be started" in ends[0] and [node() for node in kept] == [None, None]


def test_results_that_are_not_there_cannot_be_looked_at(widget: Any) -> None:
    open_section(widget.ui.resultsSection)
    for name in ("compareButton", "tableButton", "plotButton", "renderButton", "exportButton"):
        button = getattr(widget.ui, name)
        assert not button.enabled and button.toolTip == "There is no result yet."


def test_views_show_input_result_and_error_linked(widget: Any) -> None:
    volume, _ = add_scan(widget)
    parameters = reconstructed(widget)
    click(widget.ui.compareButton)
    nodes = [slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode") for name in views.COMPARED]
    logics = [slicer.app.applicationLogic().GetSliceLogic(node) for node in nodes]
    assert all(node.IsMappedInLayout() for node in nodes)
    assert [logic.GetBackgroundLayer().GetVolumeNode() for logic in logics] == [
        volume, parameters.resultVolume, parameters.resultConfidence]
    assert all(logic.GetSliceCompositeNode().GetLinkedControl() for logic in logics)
    planes = [slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, :3] for node in nodes]
    assert np.allclose(planes[0], planes[1]) and np.allclose(planes[0], planes[2])
    along = mrml.ijk_to_ras()[:3, 2] / 3.0
    assert abs(planes[0][:, 2] @ along) < 1e-6  # the slices are seen from the side


def plane_of(name: str) -> np.ndarray:
    """[4, 4] from the plane of a slice view to RAS, mm."""
    return slicer.util.arrayFromVTKMatrix(slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode").GetSliceToRAS())


@pytest.mark.parametrize("directions", [None, np.eye(3), np.diag([4.0, 4.0, 1.0])], ids=["oblique", "straight", "wide"])
def test_compared_views_show_all_of_a_volume_cut_in_its_middle(widget: Any, directions: np.ndarray | None) -> None:
    volume, _ = add_scan(widget, directions)
    parameters = reconstructed(widget)
    others = {name: plane_of(name).copy() for name in ("Red", "Green", "Yellow")}
    click(widget.ui.compareButton)
    qt.QCoreApplication.processEvents()
    middle = mrml.world_of_voxel(volume, (np.array(SHAPE[::-1]) - 1) / 2)
    for name, shown in zip(views.COMPARED, (volume, parameters.resultVolume, parameters.resultConfidence), strict=True):
        node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
        view, plane = slicer.app.layoutManager().sliceWidget(name), plane_of(name)
        assert abs((middle - plane[:3, 3]) @ plane[:3, 2]) < 0.51 * max(volume.GetSpacing()[:2])
        assert node.GetDimensions()[:2] == (view.width, view.height) and view.width > 200
        ends = [(-0.5, count - 0.5) for count in shown.GetImageData().GetDimensions()]
        corners = np.array([[*mrml.world_of_voxel(shown, corner), 1.0] for corner in itertools.product(*ends)])
        pixels = corners @ np.linalg.inv(slicer.util.arrayFromVTKMatrix(node.GetXYToRAS())).T
        assert (pixels[:, :2] > -1).all() and (pixels[:, :2] < [view.width + 1, view.height + 1]).all()
        assert max(np.ptp(pixels[:, :2], axis=0) / [view.width, view.height]) > 0.9
    for name, plane in others.items():
        assert np.array_equal(plane_of(name), plane)


def test_compared_views_are_scrolled_together_and_no_others(widget: Any) -> None:
    add_scan(widget, np.eye(3))
    reconstructed(widget)
    click(widget.ui.compareButton)
    others = {name: plane_of(name).copy() for name in ("Red", "Green", "Yellow")}
    first, *rest = views.COMPARED
    before = plane_of(first)[:3, 3].copy()
    slicer.app.layoutManager().sliceWidget(first).sliderMoved.emit(slicer.app.applicationLogic().GetSliceLogic(
        slicer.mrmlScene.GetSingletonNode(first, "vtkMRMLSliceNode")).GetSliceOffset() + 2.0)
    qt.QCoreApplication.processEvents()
    assert np.linalg.norm(plane_of(first)[:3, 3] - before) == pytest.approx(2.0)
    assert all(np.allclose(plane_of(name), plane_of(first)) for name in rest)
    for name, plane in others.items():
        assert np.array_equal(plane_of(name), plane)


@pytest.mark.parametrize("what", ["run", "loading"])
def test_compared_views_keep_what_they_show(widget: Any, what: str) -> None:
    add_scan(widget)
    reconstructed(widget)
    click(widget.ui.compareButton)
    application = slicer.app.applicationLogic()
    logics = [application.GetSliceLogic(slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode"))
              for name in (*views.COMPARED, "Red")]
    compared = [logic.GetBackgroundLayer().GetVolumeNode() for logic in logics[:3]]
    planes = [plane_of(name).copy() for name in views.COMPARED]
    if what == "run":
        other = reconstructed(widget).resultVolume
    else:
        other = mrml.add_volume(moving()[0], name="other")
        application.GetSelectionNode().SetActiveVolumeID(other.GetID())  # as readers of volumes do
        application.PropagateVolumeSelection()
    assert [logic.GetBackgroundLayer().GetVolumeNode() for logic in logics] == [*compared, other]
    assert all(np.array_equal(plane_of(name), plane) for name, plane in zip(views.COMPARED, planes, strict=True))


def test_a_result_is_compared_with_the_volume_that_it_was_made_from(widget: Any) -> None:
    volume, _ = add_scan(widget)
    reconstructed(widget)
    other = mrml.add_volume(moving()[0][:, ::-1].copy(), name="other")
    widget.ui.segmentation.setCurrentNode(None)
    widget.ui.inputVolume.setCurrentNode(other)
    choose(widget.ui.sliceAxis, "I (columns)")
    told = f"Result of another volume: '{volume.GetName()}'."
    assert widget.ui.resultText.text.replace("&#x27;", "'").startswith(f"<b>{told}</b><br>")
    assert widget.ui.resultText.text.count("<b>") == read(widget.ui.resultText).count("Result of") == 1
    click(widget.ui.compareButton)
    first = slicer.mrmlScene.GetSingletonNode(views.COMPARED[0], "vtkMRMLSliceNode")
    assert slicer.app.applicationLogic().GetSliceLogic(first).GetBackgroundLayer().GetVolumeNode() is volume
    normal = slicer.util.arrayFromVTKMatrix(first.GetSliceToRAS())[:3, 2]
    across = mrml.ijk_to_ras()[:3, 0]
    assert abs(normal @ across) / np.linalg.norm(across) > 0.999  # seen from the side of k, as chosen at that time
    slicer.mrmlScene.RemoveNode(volume)
    widget.enter()
    assert not widget.ui.compareButton.enabled and "not in the scene any more" in widget.ui.compareButton.toolTip
    assert read(widget.ui.resultText).startswith("Result of a volume that is not in the scene any more.\n")


def test_plot_and_table_show_the_scores_and_go_with_them(widget: Any) -> None:
    add_scan(widget)
    parameters = reconstructed(widget)
    before, table = len(mrml.node_ids(slicer.mrmlScene)), parameters.resultScores
    for _press in range(3):  # there, back, and there again
        click(widget.ui.plotButton)
    series, = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    chart, = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert series.GetTableNode() is table and chart.GetNthPlotSeriesNode(0) is series
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    assert layout.GetViewArrangement() == slicer.modules.plots.logic().GetLayoutWithPlot(layout.SlicerLayoutFourUpView)
    click(widget.ui.tableButton)
    assert slicer.app.applicationLogic().GetSelectionNode().GetActiveTableID() == table.GetID()
    assert layout.GetViewArrangement() == slicer.modules.tables.logic().GetLayoutWithTable(
        layout.GetViewArrangement())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hierarchy.RemoveItem(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(table)))
    assert not slicer.util.getNodesByClass("vtkMRMLPlotChartNode") and len(mrml.node_ids(slicer.mrmlScene)) < before
    widget.enter()
    assert not widget.ui.plotButton.enabled and widget.ui.plotButton.toolTip == "There is no result yet."


def test_without_its_model_a_result_cannot_be_drawn_or_exported(widget: Any) -> None:
    add_scan(widget)
    reconstructed(widget)
    for button in (widget.ui.renderButton, widget.ui.exportButton):
        assert not button.enabled and "Check 'Keep model'" in button.toolTip


def test_an_even_texture_is_asked_for_and_told(widget: Any, process: StandInWorkerProcess) -> None:
    add_scan(widget)
    open_section(widget.ui.advancedSection)
    reconstructed(widget)
    assert "Even texture" not in widget.ui.resultText.text
    click(widget.ui.evenTexture)
    parameters = reconstructed(widget)
    assert "Even texture: noise of 11 " in widget.ui.resultText.text
    assert "for looking, not for measuring" in parameters.resultProvenance.GetText()
    assert '"evenTexture": true' in parameters.resultProvenance.GetText()


def test_a_model_that_was_kept_is_exported(widget: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_scan(widget)
    open_section(widget.ui.advancedSection)
    click(widget.ui.keepModel)
    reconstructed(widget)
    path = tmp_path / "кость.safetensors"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *arguments: str(path))
    click(widget.ui.exportButton)
    assert path.read_bytes() == b"a model"
    path = tmp_path / "nowhere" / "model.safetensors"
    told: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", told.append)
    click(widget.ui.exportButton)
    assert "could not be written" in told[0] and str(path) in told[0]


# Settings


def test_sets_of_parameters_do_not_mix(widget: Any) -> None:
    add_scan(widget)
    ui = widget.ui
    ui.seed.value = 3
    first = ui.parameterSet.currentNode()
    second = ui.parameterSet.addNode()
    assert ui.parameterSet.currentNode() is second and ui.seed.value == 0 and ui.inputVolume.currentNode() is None
    ui.seed.value = 8
    choose(ui.trust, "A percentage")
    ui.parameterSet.setCurrentNode(first)
    assert ui.seed.value == 3 and ui.trust.currentText == "All slices" and ui.inputVolume.currentNode() is not None
    sets = [TriplaneGaussianReconParameterNode(node) for node in (first, second)]
    assert [found.seed for found in sets] == [3, 8]
    assert [found.trust for found in sets] == [Trust.ALL, Trust.PERCENTAGE]
    slicer.mrmlScene.RemoveNode(first)
    assert ui.parameterSet.currentNode() is second and ui.seed.value == 8


def test_results_belong_to_the_set_they_were_made_with(widget: Any, process: StandInWorkerProcess) -> None:
    add_scan(widget)
    process.isHeld = True
    first = widget.ui.parameterSet.currentNode()
    click(widget.ui.reconstructButton)
    second = widget.ui.parameterSet.addNode()
    process.isHeld = False
    process._timer.start(0)
    wait_until(lambda: not widget.logic.isRunning)
    assert TriplaneGaussianReconParameterNode(second).resultVolume is None and not widget.ui.compareButton.enabled
    widget.ui.parameterSet.setCurrentNode(first)
    assert TriplaneGaussianReconParameterNode(first).resultVolume is not None and widget.ui.compareButton.enabled


def saved(folder: Path) -> Callable[[], None]:
    """Save the scene; returns what loads it into the scene that is there then."""
    assert slicer.mrmlScene.WriteToMRB(str(folder / "scene.mrb"))
    with zipfile.ZipFile(folder / "scene.mrb") as archive:
        archive.extractall(folder / "scene")

    def load() -> None:
        slicer.mrmlScene.SetURL(str(next((folder / "scene").rglob("*.mrml"))))
        assert slicer.mrmlScene.Import(None)

    return load


def test_choices_and_results_come_back_with_the_scene(widget: Any, tmp_path: Path) -> None:
    volume, _ = add_scan(widget)
    ui = widget.ui
    choose(ui.sliceAxis, "J (rows)")
    choose(ui.trust, "A list of slices")
    type_into(ui.sliceList, "0,4-19")
    type_into(ui.excludedSlices, "7")
    ui.outputSpacing.value, ui.seed.value = 0.45, 12
    ui.segments.item(1).setCheckState(qt.Qt.Unchecked)
    mrml.add_volume(moving()[0], name="further")
    reconstructed(widget)
    ui.furtherVolumes.item(0).setCheckState(qt.Qt.Checked)
    open_section(ui.furtherSection)
    type_into(ui.furtherExcluded, "1,2")
    ui.furtherSegmentation.setCurrentNode(ui.segmentation.currentNode())
    told, load = ui.resultText.text, saved(tmp_path)
    slicer.mrmlScene.Clear(False)
    assert ui.seed.value == 0 and ui.sliceList.text == ""
    load()
    assert (ui.sliceAxis.currentText, ui.trust.currentText, ui.sliceList.text, ui.excludedSlices.text) == (
        "J (rows)", "A list of slices", "0,4-19", "7")
    assert (ui.outputSpacing.value, ui.seed.value) == (0.45, 12)
    assert ui.inputVolume.currentNode().GetName() == volume.GetName()
    assert keywords(widget.logic.getParameterNode())["segmentIDs"] == ["core"]
    assert {node.GetName(): list(used.values()) for node, used in keywords(widget.logic.getParameterNode())[
        "furtherVolumes"].items()} == {"further": ["1,2", ui.segmentation.currentNode()]}
    assert ui.furtherVolumes.item(0).text() == "further" and ui.furtherVolumes.item(0).checkState() == qt.Qt.Checked
    assert ui.segments.item(1).checkState() == qt.Qt.Unchecked
    assert ui.resultText.text == told and ui.plotButton.enabled and ui.compareButton.enabled
    assert not ui.exportButton.enabled  # models are not part of the scene


@pytest.mark.parametrize("hasPanel", [True, False])
def test_a_scene_that_is_loaded_while_another_module_is_open_keeps_its_choices(widget: Any, tmp_path: Path,
                                                                               hasPanel: bool) -> None:
    """Whether the panel has choices in the scene that was there before, or none."""
    mrml.add_volume(moving()[0], name="first")
    volume, _ = add_scan(widget)
    reconstructed(widget)
    told, load = widget.ui.resultText.text, saved(tmp_path)
    if hasPanel:
        slicer.mrmlScene.Clear(False)
    widget.exit()
    if not hasPanel:
        slicer.mrmlScene.Clear(False)
    load()
    widget.enter()
    assert widget.ui.inputVolume.currentNode().GetName() == volume.GetName()
    assert widget.logic.getParameterNode().inputVolume.GetName() == volume.GetName()
    assert widget.ui.resultText.text == told and widget.ui.compareButton.enabled


def test_try_it_fills_in_the_panel(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels, mask = moving()

    def load(name: str) -> tuple[Any, Any]:
        assert name == sample_data.sampleNames()[0]
        volume = mrml.add_volume(voxels)
        return volume, mrml.add_segmentation(volume, {"core": mask})

    monkeypatch.setattr(sample_data, "load", load)
    parameters = widget.logic.getParameterNode()
    parameters.trust, parameters.task, parameters.outputSpacing = Trust.EVERY, Task.COMBINE, 5.0  # of another scan
    click(widget.ui.tryButton)
    assert widget.ui.reconstructButton.enabled and "is loaded. Press Reconstruct." in widget.ui.message.text
    assert "9 of 9 slices are used" in widget.ui.trustPreview.text and parameters.outputSpacing == 0
    assert reconstructed(widget).resultSegmentation is not None


def test_a_sample_that_cannot_be_loaded_is_told(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise InputError("Connect to the internet and try again.")

    monkeypatch.setattr(sample_data, "load", load)
    click(widget.ui.tryButton)
    assert red(widget.ui.message.text) and "Connect to the internet" in widget.ui.message.text


# With the real worker


@pytest.fixture
def real(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The panel with the real worker and the real list of devices."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with opened_panel(monkeypatch) as opened:
        yield opened


def normal_of(view: Any) -> np.ndarray:
    return slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 2]


@pytest.mark.slow
def test_from_click_to_result_and_to_any_plane(real: Any) -> None:
    volume, _ = add_scan(real)
    wait_until(lambda: "Looking" not in real.ui.deviceNote.text)
    choose(real.ui.trust, "Every Nth slice")
    real.ui.keepModel.checked = True
    parameters = reconstructed(real)
    result = slicer.util.arrayFromVolume(parameters.resultVolume)
    voxels = slicer.util.arrayFromVolume(volume)
    assert np.abs(result[::2].astype(float) - voxels[::2]).mean() < 20.0
    assert "linear interpolation between slices." in read(real.ui.resultText).splitlines()[0]
    unit = parameters.resultScores.GetColumnUnitLabel("Expected error")
    assert unit == "% of the range" and unit in read(real.ui.resultText)
    cut_through(volume, (10.0, 9.0, 4.0), 2)
    click(real.ui.renderButton)
    assert not real.ui.renderButton.enabled and real.ui.renderButton.toolTip == "A plane is being drawn."
    wait_until(lambda: real.ui.renderButton.enabled)
    view = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    plane = slicer.app.applicationLogic().GetSliceLogic(view).GetBackgroundLayer().GetVolumeNode()
    assert plane.GetName() in real.ui.message.text and not list(Path(slicer.app.temporaryPath).glob("*/plane.nrrd"))
    drawn = slicer.util.arrayFromVolume(plane)
    ends = [mrml.world_of_voxel(plane, [0, 0, 0]), mrml.world_of_voxel(volume, [10.0, 9.0, 4.0])]
    assert drawn.shape[0] == 1 and abs((ends[1] - ends[0]) @ normal_of(view)) < 1e-3
    assert abs(drawn.max() - result[4].max()) < 50.0 and drawn.max() - drawn.min() > 500.0


@pytest.mark.slow
def test_the_real_worker_is_cancelled_and_nothing_is_left(real: Any) -> None:
    add_scan(real)
    before = mrml.fingerprint(slicer.mrmlScene)
    click(real.ui.reconstructButton)
    wait_until(lambda: "Learning" in real.ui.progressText.text)
    click(real.ui.reconstructButton)
    wait_until(lambda: not real.logic.isRunning, seconds=10.0)
    assert mrml.fingerprint(slicer.mrmlScene) == before
    assert not list(Path(slicer.app.temporaryPath).iterdir())
