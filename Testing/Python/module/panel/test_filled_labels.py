"""Labels drawn on some slices of a volume that is known on all: from the choice to the slice to draw next."""
from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from panel_case import (
    SHAPE,
    choose,
    click,
    cut_through,
    moving,
    open_section,
    read,
    reconstructed,
    red,
    transformed,
    type_into,
    wait_until,
)
from TriplaneGaussianReconModule import wording
from TriplaneGaussianReconModule.panel.slice_views import shownSlice
from TriplaneGaussianReconModule.run.parameters import PresetChoice, keywords

from TriplaneGaussianReconLib.config.label_completion import FEWEST_TO_HIDE, HIDDEN
from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.label_slices import LabelSlices
from TriplaneGaussianReconLib.label_completion.arbitration import METHODS
from TriplaneGaussianReconLib.pipeline.label_report import LabelCompletion

GOOD = ("Filled labels overlap with drawn ones by Dice 0.87 (1 is perfect overlap, 0 is none), on drawn slices that "
        "were hidden to check.")
TOLD = "Labels from 3 drawn slices (0, 4, 8); 6 are filled from the image (1-3, 5-7)."


def add_drawn(widget: Any, slices: tuple[int, ...] = (0, 4, 8)) -> tuple[Any, Any]:
    """Choose a volume, and a segmentation that is drawn on some slices alone."""
    voxels, mask = moving()
    mask[[n for n in range(SHAPE[0]) if n not in slices]] = False
    volume = mrml.add_volume(voxels)
    segmentation = mrml.add_segmentation(volume, {"core": mask})
    widget.ui.inputVolume.setCurrentNode(volume)
    widget.ui.segmentation.setCurrentNode(segmentation)
    return volume, segmentation


def test_labels_come_from_the_drawn_slices_unless_said_otherwise(widget: Any) -> None:
    add_drawn(widget)
    wait_until(lambda: widget.ui.labelsPreview.text)
    assert widget.ui.labelsPreview.text == TOLD and widget.ui.labelsPreview.visible
    assert widget.ui.trust.currentText == "All slices" and widget.ui.labelsOn.currentText == "Drawn slices"
    assert widget.ui.outputPreview.text == "Result: 22 x 20 x 9 voxels of 0.7 x 0.9 x 3 mm."
    assert keywords(widget.logic.getParameterNode())["labelsOn"] == "drawn"


@pytest.mark.parametrize(("change", "wanted", "told", "shown"), [
    (lambda ui: type_into(ui.emptySlices, "2"), "drawn,2",
     "Labels from 3 drawn slices (0, 4, 8); 5 are filled from the image (1, 3, 5-7); 1 counts as empty (2).",
     {"emptySlices", "emptyButton"}),
    (lambda ui: choose(ui.labelsOn, "All slices"), "all",
     "Labels from 3 drawn slices (0, 4, 8); 6 count as empty (1-3, 5-7).", set()),
    (lambda ui: (choose(ui.labelsOn, "A list of slices"), type_into(ui.labelledSlices, "4-5")), "4-5",
     "Labels from 1 drawn slice (4); 7 are filled from the image (0-3, 6-8); 1 counts as empty (5).",
     {"labelledSlices"}),
    (lambda ui: (choose(ui.labelsOn, "A list of slices"), type_into(ui.labelledSlices, "5")), "5",
     "No chosen segment is drawn on a slice that is used and carries labels.", {"labelledSlices"}),
    (lambda ui: choose(ui.trust, "Slices that carry segmentation"), "drawn", "Labels from 3 drawn slices (0, 4, 8).",
     {"emptySlices", "emptyButton"})])
def test_which_slices_carry_labels_is_asked_for_and_told(widget: Any, change: Callable[[Any], Any], wanted: str,
                                                         told: str, shown: set[str]) -> None:
    add_drawn(widget)
    wait_until(lambda: widget.ui.labelsPreview.text)
    change(widget.ui)
    assert keywords(widget.logic.getParameterNode())["labelsOn"] == wanted
    assert widget.ui.labelsPreview.text == told
    assert {name for name in ("emptySlices", "emptyButton", "labelledSlices") if getattr(widget.ui, name).visible
            } == shown


@pytest.mark.parametrize(("change", "reason"), [
    (lambda ui: type_into(ui.emptySlices, "40"), "Empty slices: Slice 40 does not exist"),
    (lambda ui: choose(ui.labelsOn, "A list of slices"), "Labels from: Write the numbers of slices")])
def test_what_cannot_run_says_why(widget: Any, change: Callable[[Any], Any], reason: str) -> None:
    add_drawn(widget)
    assert widget.ui.reconstructButton.enabled
    change(widget.ui)
    assert not widget.ui.reconstructButton.enabled and reason in widget.ui.reconstructButton.toolTip


def test_why_it_cannot_run_is_said_in_the_language_of_the_application(widget: Any, monkeypatch: pytest.MonkeyPatch
                                                                       ) -> None:
    def german(text: str) -> str:
        return "{index} > {last}." if text.startswith("Slice {index} does") else text

    monkeypatch.setattr(wording, "_", german)
    add_drawn(widget)
    type_into(widget.ui.emptySlices, "40")
    assert widget.ui.reconstructButton.toolTip == "Empty slices: 40 > 8."


def test_what_cannot_run_because_of_what_is_drawn_says_why(widget: Any) -> None:
    add_drawn(widget, (4,))
    choose(widget.ui.trust, "Slices that carry segmentation")
    wait_until(lambda: not widget.ui.reconstructButton.enabled)
    assert "Only one slice is used" in widget.ui.reconstructButton.toolTip and not widget.ui.estimate.visible


def test_without_segmentation_there_is_no_such_choice(widget: Any) -> None:
    add_drawn(widget)
    type_into(widget.ui.emptySlices, "2")
    widget.ui.segmentation.setCurrentNode(None)
    assert not any(getattr(widget.ui, name).visible for name in (
        "labelsOnLabel", "labelsOn", "emptySlicesLabel", "emptySlices", "emptyButton", "labelsPreview"))
    assert widget.ui.reconstructButton.enabled


def test_the_slice_that_is_shown_is_called_empty(widget: Any) -> None:
    volume, _ = add_drawn(widget)
    for index in (6, 5, 6):
        cut_through(volume, (10.0, 9.0, index), 2)
        click(widget.ui.emptyButton)
    assert widget.ui.emptySlices.text == "6,5"
    assert read(widget.ui.message) == ("Slice 6, which the view Red shows, counts as empty, or as fully drawn if "
                                       "something is drawn on it.")


def test_what_is_drawn_meanwhile_counts(widget: Any) -> None:
    volume, segmentation = add_drawn(widget)
    wait_until(lambda: widget.ui.labelsPreview.text)
    widget.exit()
    mask = moving()[1]
    mask[[1, 3, 5, 7]] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, "core", volume)
    widget.enter()
    wait_until(lambda: "5 drawn slices (0, 2, 4, 6, 8); 4 are filled" in widget.ui.labelsPreview.text)


def test_labels_alone_take_less_time(widget: Any) -> None:
    add_drawn(widget)
    wait_until(lambda: widget.ui.labelsPreview.text)
    alone = seconds(widget)
    open_section(widget.ui.advancedSection)
    click(widget.ui.keepModel)
    assert alone < seconds(widget)


def test_the_result_tells_how_labels_were_filled(widget: Any) -> None:
    volume, _ = add_drawn(widget)
    parameters = reconstructed(widget)
    assert parameters.resultVolume is None and parameters.resultCertainty is not None
    assert read(widget.ui.resultText).splitlines() == [
        GOOD, f"Result of '{volume.GetName()}':", TOLD,
        "How labels were filled: 70 % learnt from this scan, 30 % by following the image from slice to slice."]
    assert widget.ui.resultText.text.startswith(f"<b>{GOOD}</b><br>")
    click(widget.ui.plotButton)
    series, = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    assert series.GetYColumnName() == "Labels in doubt"
    assert {composite.GetBackgroundVolumeID() for composite in composites()} == {volume.GetID()}


def test_the_next_run_goes_on_from_what_was_learnt_and_says_so(widget: Any) -> None:
    add_drawn(widget)
    wait_until(lambda: widget.ui.labelsPreview.text)
    cold = seconds(widget)
    reconstructed(widget)
    warm, told = seconds(widget), "Started from what the last run learnt, whose check it is."
    assert warm < cold and told not in widget.ui.resultText.text
    reconstructed(widget)
    assert widget.ui.resultText.text.split("<br>")[2:4] == [TOLD, told]
    open_section(widget.ui.advancedSection)
    widget.ui.seed.setValue(7)
    assert seconds(widget) == cold
    reconstructed(widget)
    assert told not in widget.ui.resultText.text and seconds(widget) == warm
    choose(widget.ui.preset, "Better")
    reconstructed(widget)
    assert told not in widget.ui.resultText.text


def seconds(widget: Any) -> int:
    """How long the panel expects it to take."""
    return int(re.findall(r"about (\d+) s", widget.ui.estimate.text)[0])


def test_an_image_that_was_filled_too_is_told_of_as_well(widget: Any) -> None:
    add_drawn(widget)
    choose(widget.ui.trust, "Every Nth slice")
    assert reconstructed(widget).resultVolume is not None
    lines = read(widget.ui.resultText).splitlines()
    assert lines[0].startswith("Errors are 18 % smaller") and lines[2] == GOOD
    assert lines[-3].startswith("Expected error: ")
    assert widget.ui.compareButton.visible and widget.ui.certaintyButton.visible


def test_of_a_volume_that_is_copied_alone_nothing_is_told(widget: Any) -> None:
    volume, _ = add_drawn(widget)
    open_section(widget.ui.advancedSection)
    click(widget.ui.copyVolume)
    assert reconstructed(widget).resultVolume is not None
    assert read(widget.ui.resultText).splitlines()[:3] == [GOOD, f"Result of '{volume.GetName()}':", TOLD]
    assert "error" not in widget.ui.resultText.text


def composites() -> list[Any]:
    """What says which volumes the slice views show."""
    return [slicer.app.applicationLogic().GetSliceLogic(view).GetSliceCompositeNode()
            for view in slicer.util.getNodesByClass("vtkMRMLSliceNode")]


def test_certainty_is_laid_over_the_image_and_taken_away(widget: Any) -> None:
    add_drawn(widget)
    certainty = reconstructed(widget).resultCertainty
    click(widget.ui.certaintyButton)
    assert {(each.GetForegroundVolumeID(), each.GetForegroundOpacity()) for each in composites()} == {
        (certainty.GetID(), 0.5)}
    assert widget.ui.certaintyButton.text == "Hide certainty"
    click(widget.ui.certaintyButton)
    assert {each.GetForegroundVolumeID() for each in composites()} == {None}
    assert widget.ui.certaintyButton.text == "Show certainty"


@pytest.mark.parametrize("kind", ["none", "linear", "bent"])
def test_the_slice_to_draw_next_is_shown(widget: Any, kind: str) -> None:
    volume, segmentation = add_drawn(widget)
    transformed(volume, kind)
    segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    button = widget.ui.nextSliceButton
    assert not button.visible
    reconstructed(widget)
    for view, axis in (("Red", 2), ("Green", 1), ("Yellow", 0)):
        cut_through(volume, (10.0, 9.0, 4.0), axis, view)
    others = [slicer.util.arrayFromVTKMatrix(slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode").GetSliceToRAS()
                                             ).copy() for name in ("Green", "Yellow")]
    for index, following in ((1, 2), (2, 3), (3, 5)):
        for _press in range(2):
            assert button.text == f"Draw slice {index} next"
            click(button)
            assert shownSlice(volume, "k") == (index, "Red") and f"The view Red shows slice {index}." in (
                widget.ui.message.text)
        mask = mrml.voxels_of_segment(segmentation, "core", volume)
        mask[index, 9, 8:12] = True
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, "core", volume)
        widget.enter()  # back from the Segment Editor
        assert button.text == f"Draw slice {following} next"
    for name, plane in zip(("Green", "Yellow"), others, strict=True):
        node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
        assert np.array_equal(slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()), plane)


def test_a_view_that_is_tilted_is_turned_to_the_slice(widget: Any) -> None:
    volume, _ = add_drawn(widget)
    reconstructed(widget)
    slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode").SetOrientationToAxial()  # the volume is oblique
    click(widget.ui.nextSliceButton)
    plane = slicer.util.arrayFromVTKMatrix(slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode").GetSliceToRAS())
    for corner in ((0, 0, 1), (21, 0, 1), (0, 19, 1)):
        assert abs((mrml.world_of_voxel(volume, corner) - plane[:3, 3]) @ plane[:3, 2]) < 1e-3


def test_with_a_list_it_says_that_the_slice_has_to_be_added(widget: Any) -> None:
    add_drawn(widget)
    choose(widget.ui.labelsOn, "A list of slices")
    type_into(widget.ui.labelledSlices, "0,4,8")
    reconstructed(widget)
    click(widget.ui.nextSliceButton)
    assert "add it to the list under 'Labels from'" in read(widget.ui.message)


def test_without_a_view_along_the_axis_the_slice_stays_offered(widget: Any) -> None:
    add_drawn(widget)
    reconstructed(widget)
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutOneUp3DView)
    click(widget.ui.nextSliceButton)
    assert red(widget.ui.message.text) and "No slice view shows slices along axis K" in widget.ui.message.text
    assert widget.ui.nextSliceButton.text == "Draw slice 1 next"


def test_labels_that_were_filled_come_back_with_the_scene(widget: Any, tmp_path: Path) -> None:
    add_drawn(widget)
    type_into(widget.ui.emptySlices, "2")
    reconstructed(widget)
    told = widget.ui.resultText.text
    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    assert not widget.ui.nextSliceButton.visible and not widget.ui.certaintyButton.visible
    with zipfile.ZipFile(tmp_path / "scene.mrb") as archive:
        archive.extractall(tmp_path / "scene")
    slicer.mrmlScene.SetURL(str(next((tmp_path / "scene").rglob("*.mrml"))))
    assert slicer.mrmlScene.Import(None)
    assert widget.ui.resultText.text == told and widget.ui.emptySlices.text == "2"
    assert widget.ui.nextSliceButton.text == "Draw slice 1 next" and widget.ui.certaintyButton.visible


@pytest.mark.parametrize(("preset", "labelled", "isWarm", "why"), [
    ("fast", 6, False, "with this quality no drawn slice is hidden to check. 'Better' and 'Best' do that where labels "
                       "come from 4 slices or more."),
    ("balanced", 3, False, "to hide one and check, labels must come from 4 slices or more, and come from 3."),
    ("best", 3, True, "to hide one and check, labels must come from 4 slices or more, and come from 3."),
    ("best", 4, True, "this started from what a run learnt that hid no drawn slice to check. Another seed, under "
                      "Advanced, starts anew and does.")])
def test_where_no_slice_was_hidden_the_reason_is_said(preset: str, labelled: int, isWarm: bool, why: str) -> None:
    drawn = tuple(range(labelled - 1))
    told = LabelCompletion(LabelSlices(drawn, (40,), (20, 21)), (), {"new": 0.2, "network": 0.8}, is_warm=isWarm)
    first, *_, methods = wording.completion(told, preset)
    assert first == f"Slices filled: 2. How well cannot be said: {why}" and methods.endswith(" 20 % new.")


def test_what_is_said_of_hiding_is_what_the_library_does() -> None:
    assert range(FEWEST_TO_HIDE)[HIDDEN] and not range(FEWEST_TO_HIDE - 1)[HIDDEN]
    assert [preset.label() for preset in PresetChoice if PRESETS[preset.value].label_completion.judged
            ] == ["Better", "Best"]


@pytest.mark.parametrize(("name", "words"), list(zip(METHODS, (
    "by copying the nearest drawn slice", "by the shape between drawn slices",
    "by following the image from slice to slice", "learnt from this scan"), strict=True)))
def test_every_way_of_filling_labels_has_everyday_words(name: str, words: str) -> None:
    told = LabelCompletion(LabelSlices((0, 8), (), (4,)), (), {name: 1.0})
    assert wording.completion(told, "fast")[-1] == f"How labels were filled: 100 % {words}."
