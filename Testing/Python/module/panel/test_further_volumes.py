"""The list of further volumes on the panel: what can be chosen, what is kept, and what comes of it."""
from __future__ import annotations

import re
from typing import Any

import mrml
import numpy as np
import pytest
import qt
import slicer
from panel_case import choose, click, read, reconstructed, red, transformed, type_into, wait_until
from PySide6.QtTest import QTest
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.run.parameters import furtherVolumes, keywords

from TriplaneGaussianReconLib.jobs.protocol import Job


def add(name: str, thick: int, seed: int = 0) -> Any:
    """A volume thick along one of its axes i, j, k."""
    shape, spacing = [20, 18, 16], [1.0, 1.0, 1.0]
    shape[2 - thick], spacing[thick] = 5, 4.0
    voxels = np.random.default_rng(seed).integers(0, 900, shape).astype(np.int16)
    return mrml.add_volume(voxels, mrml.ijk_to_ras(spacing, (0.0, 0.0, 0.0), np.eye(3)), name)


@pytest.fixture
def volumes(widget: Any) -> tuple[Any, Any, Any]:
    """Three volumes, the first chosen as the input, and the section of further ones open."""
    found = add("axial", 2), add("sagittal", 0, 1), add("coronal", 1, 2)
    widget.ui.inputVolume.setCurrentNode(found[0])
    choose(widget.ui.task, "Combine volumes")
    assert widget.ui.furtherSection.visible and not widget.ui.furtherSection.collapsed
    return found


def listed(widget: Any) -> list[str]:
    return [widget.ui.furtherVolumes.item(row).text() for row in range(widget.ui.furtherVolumes.count)]


def checked(widget: Any) -> list[str]:
    items = [widget.ui.furtherVolumes.item(row) for row in range(widget.ui.furtherVolumes.count)]
    return [item.text() for item in items if item.checkState() == qt.Qt.Checked]


def check(widget: Any, *names: str, on: bool = True) -> None:
    """Click on the check boxes of these volumes, as far as Qt tells."""
    for name in names:
        item = widget.ui.furtherVolumes.item(listed(widget).index(name))
        item.setCheckState(qt.Qt.Checked if on else qt.Qt.Unchecked)


def test_what_a_run_has_left_is_not_offered(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    choose(widget.ui.task, "Make slices thinner")
    found = reconstructed(widget)
    widget.ui.outputVolume.addNode()
    assert found.resultVolume is not None and found.resultConfidence is not None
    assert listed(widget) == ["sagittal", "coronal"]


def test_the_other_volumes_are_offered_and_none_is_checked(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    assert listed(widget) == ["sagittal", "coronal"] and checked(widget) == []
    assert not widget.ui.furtherPreview.visible and not widget.ui.findMotion.enabled
    widget.ui.inputVolume.setCurrentNode(volumes[1])
    assert listed(widget) == ["axial", "coronal"]


def test_volumes_that_come_and_go_are_listed(scene: Any, widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    check(widget, "coronal")
    add("oblique", 2)
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    assert listed(widget) == ["sagittal", "coronal", "oblique"] and checked(widget) == ["coronal"]
    scene.RemoveNode(volumes[2])
    assert listed(widget) == ["sagittal", "oblique"] and checked(widget) == []
    assert furtherVolumes(widget.logic.getParameterNode()) == []


def test_what_is_checked_is_kept_and_told(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    check(widget, "sagittal", "coronal")
    assert furtherVolumes(widget.logic.getParameterNode()) == list(volumes[1:])
    lines = widget.ui.furtherPreview.text.splitlines()
    assert lines[0] == "'sagittal': Axis I: 5 sagittal slices, 4 mm apart, from left to right." and len(lines) == 2
    assert widget.ui.findMotion.enabled and widget.ui.findMotion.checked
    assert widget.ui.outputPreview.text == ("Result: cubic voxels about all volumes, as small as the smallest pixel.")
    assert re.fullmatch(r"Will take about \d+ s on this computer, and [\d.]+ GB of memory\.", read(widget.ui.estimate))
    check(widget, "sagittal", on=False)
    assert furtherVolumes(widget.logic.getParameterNode()) == [volumes[2]]


def test_a_volume_that_becomes_the_input_is_no_further_one(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    check(widget, "sagittal", "coronal")
    widget.ui.inputVolume.setCurrentNode(volumes[1])
    assert checked(widget) == ["coronal"]
    assert list(keywords(widget.logic.getParameterNode())["furtherVolumes"]) == [volumes[2]]


def test_all_checked_volumes_are_reconstructed_as_chosen(widget: Any, volumes: tuple[Any, Any, Any],
                                                         process: StandInWorkerProcess) -> None:
    check(widget, "sagittal", "coronal")
    click(widget.ui.findMotion)
    type_into(widget.ui.thickness, "3, 0, 5")
    choose(widget.ui.profile, "Box")
    widget.ui.outputSpacing.value, jobs = 2.0, list[Job]()
    start = process.start
    process.start = lambda folder: (jobs.append(Job.read(folder)), start(folder))  # type: ignore[method-assign]
    parameters = reconstructed(widget)
    assert ([each.width for each in jobs[0].stacks], jobs[0].spacing, jobs[0].motion, jobs[0].profile) == (
        [3.0, 4.0, 5.0], 2.0, "none", "box")
    assert parameters.resultVolume.GetName() == "axial reconstructed"


def test_the_results_name_all_volumes_and_their_motion(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    check(widget, "sagittal")
    reconstructed(widget)
    text = widget.ui.resultText.text.replace("&#x27;", "'")
    assert text.startswith("Result of 'axial' with 'sagittal':<br>Expected error: ")
    assert "'sagittal' was turned by 90.0 degrees, and its middle moved by" in text and "Too few slices" not in text
    assert slicer.util.getNode("sagittal to axial").GetHideFromEditors() == 0
    assert volumes[1].GetParentTransformNode() is None


def test_the_progress_says_when_motion_is_looked_for(widget: Any, volumes: tuple[Any, Any, Any],
                                                     process: StandInWorkerProcess) -> None:
    process.isHeld = True
    check(widget, "sagittal")
    click(widget.ui.reconstructButton)
    wait_until(lambda: "Finding how the volumes lie to each other" in widget.ui.progressText.text)
    before = mrml.node_ids(slicer.mrmlScene)
    click(widget.ui.reconstructButton)
    wait_until(lambda: not widget.logic.isRunning)
    assert mrml.node_ids(slicer.mrmlScene) == before and "Cancelled" in widget.ui.message.text


def test_a_volume_under_a_transform_that_bends_cannot_be_used(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    transformed(volumes[1], "bent")
    check(widget, "sagittal")
    assert not widget.ui.reconstructButton.enabled
    assert "'sagittal' lies under a transform" in widget.ui.reconstructButton.toolTip
    check(widget, "sagittal", on=False)
    assert "Check at least one volume" in widget.ui.reconstructButton.toolTip
    choose(widget.ui.task, "Make slices thinner")
    assert widget.ui.reconstructButton.enabled


def test_a_thickness_that_cannot_be_read_is_told(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    check(widget, "sagittal")
    type_into(widget.ui.thickness, "3 mm")
    assert not widget.ui.reconstructButton.enabled and "slice thickness '3 mm'" in widget.ui.reconstructButton.toolTip
    choose(widget.ui.task, "Make slices thinner")  # of one volume the thickness does not matter
    assert widget.ui.reconstructButton.enabled


def test_each_parameter_set_has_its_own_list(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    check(widget, "sagittal")
    first, second = widget.ui.parameterSet.currentNode(), widget.ui.parameterSet.addNode()
    widget.ui.inputVolume.setCurrentNode(volumes[0])
    assert checked(widget) == []
    check(widget, "coronal")
    widget.ui.parameterSet.setCurrentNode(first)
    assert checked(widget) == ["sagittal"]
    widget.ui.parameterSet.setCurrentNode(second)
    assert checked(widget) == ["coronal"]


def test_a_failure_leaves_the_scene_as_it_was(widget: Any, volumes: tuple[Any, Any, Any], process: StandInWorkerProcess
                                              ) -> None:
    check(widget, "coronal")
    process.failure = {"event": "failed", "kind": "input", "message": "Volume 2: It has one value.", "details": ""}
    before = mrml.node_ids(slicer.mrmlScene)
    reconstructed(widget)
    assert mrml.node_ids(slicer.mrmlScene) == before and red(widget.ui.message.text)
    assert "coronal" in widget.ui.message.text and "Volume 2" not in widget.ui.message.text


# What is used of each


def highlight(widget: Any, name: str) -> None:
    """Click on the name of a volume."""
    shown = widget.ui.furtherVolumes
    place = shown.visualItemRect(shown.item(listed(widget).index(name))).center()
    QTest.mouseClick(shown.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier, place)


def labels_of(volume: Any, name: str) -> Any:
    """A segmentation with a box on all slices of a volume."""
    return mrml.add_segmentation(volume, {"core": np.ones(slicer.util.arrayFromVolume(volume).shape, bool)}, name)


def used_of(widget: Any) -> dict[str, tuple[str, Any]]:
    """What is asked for of each further volume: slices that are left out, and labels."""
    further = keywords(widget.logic.getParameterNode())["furtherVolumes"]
    return {node.GetName(): tuple(settings.values()) for node, settings in further.items()}


def shown(widget: Any) -> tuple[str, str, Any]:
    """What is shown of the volume that is highlighted."""
    return (widget.ui.furtherOf.text, widget.ui.furtherExcluded.text, widget.ui.furtherSegmentation.currentNode())


def test_what_is_used_of_a_volume_is_asked_for_once_it_is_checked(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    ui = widget.ui
    parts = (ui.furtherOf, ui.furtherExcludedLabel, ui.furtherExcluded, ui.furtherSegmentationLabel,
             ui.furtherSegmentation)
    assert not any(part.visible for part in parts)
    check(widget, "coronal")
    assert all(part.visible for part in parts) and ui.furtherExcluded.enabled and ui.furtherSegmentation.enabled
    assert shown(widget) == ("Of 'coronal':", "", None)
    highlight(widget, "sagittal")
    assert ui.furtherOf.text == "Of 'sagittal', which is not used unless checked:"
    assert not ui.furtherExcluded.enabled and not ui.furtherSegmentation.enabled


def test_a_click_on_a_check_box_shows_what_is_used_of_that_volume(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    check(widget, "sagittal")
    boxes = widget.ui.furtherVolumes
    line = boxes.visualItemRect(boxes.item(1))
    place = qt.QPoint(line.left() + 8, line.center().y())
    QTest.mouseClick(boxes.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier, place)
    assert checked(widget) == ["sagittal", "coronal"] and shown(widget) == ("Of 'coronal':", "", None)


def test_each_volume_has_its_own_slices_and_labels(widget: Any, volumes: tuple[Any, Any, Any],
                                                   process: StandInWorkerProcess) -> None:
    labels = labels_of(volumes[2], "drawn")
    check(widget, "coronal", "sagittal")
    type_into(widget.ui.furtherExcluded, "0,3-4")
    highlight(widget, "coronal")
    assert shown(widget) == ("Of 'coronal':", "", None)
    widget.ui.furtherSegmentation.setCurrentNode(labels)
    assert used_of(widget) == {"sagittal": ("0,3-4", None), "coronal": ("", labels)}
    lines = widget.ui.furtherPreview.text.splitlines()
    assert lines[0].endswith("from left to right. Without slices 0,3-4.") and lines[1].endswith(". Labels: 'drawn'.")
    highlight(widget, "sagittal")
    assert shown(widget) == ("Of 'sagittal':", "0,3-4", None)
    jobs, start = list[Job](), process.start
    process.start = lambda folder: (jobs.append(Job.read(folder)), start(folder))  # type: ignore[method-assign]
    parameters = reconstructed(widget)
    assert [each.used.indices for each in jobs[0].further] == [(1, 2), (0, 1, 2, 3, 4)]
    assert [each.segmentation is not None for each in jobs[0].further] == [False, True]
    assert parameters.resultSegmentation.GetName() == "drawn reconstructed"
    assert "sagittal (without slices 0,3-4), coronal (labels of 'drawn')" in parameters.resultProvenance.GetText()


def test_what_was_chosen_is_kept_while_a_volume_is_not_checked(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    check(widget, "sagittal")
    type_into(widget.ui.furtherExcluded, "2")
    check(widget, "sagittal", on=False)
    assert used_of(widget) == {}
    check(widget, "sagittal")
    assert used_of(widget) == {"sagittal": ("2", None)} and shown(widget) == ("Of 'sagittal':", "2", None)


@pytest.mark.parametrize(("text", "reason"), [
    ("5", "'sagittal': Slice 5 does not exist: this axis has slices 0 to 4."), ("1-", "'sagittal': Cannot read the"),
    ("0-4", "'sagittal': No slice is left to use.")])
def test_slices_that_cannot_be_left_out_say_why(widget: Any, volumes: tuple[Any, Any, Any], text: str, reason: str
                                                ) -> None:
    check(widget, "coronal", "sagittal")
    highlight(widget, "sagittal")
    type_into(widget.ui.furtherExcluded, text)
    assert not widget.ui.reconstructButton.enabled and reason in widget.ui.reconstructButton.toolTip
    type_into(widget.ui.furtherExcluded, "1")
    assert widget.ui.reconstructButton.enabled


def test_labels_without_a_segment_say_why(scene: Any, widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    check(widget, "sagittal")
    widget.ui.furtherSegmentation.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "hollow"))
    assert not widget.ui.reconstructButton.enabled
    assert widget.ui.reconstructButton.toolTip.startswith("'sagittal': No segment of 'hollow'")


def test_labels_that_lie_elsewhere_are_told_and_leave_the_scene_as_it_was(widget: Any, volumes: tuple[Any, Any, Any],
                                                                          process: StandInWorkerProcess) -> None:
    labels, far = labels_of(volumes[1], "drawn"), np.eye(4)
    far[:3, 3] = 1000.0
    labels.SetAndObserveTransformNodeID(mrml.add_linear_transform(far).GetID())
    check(widget, "sagittal")
    widget.ui.furtherSegmentation.setCurrentNode(labels)
    before = mrml.node_ids(slicer.mrmlScene)
    reconstructed(widget)
    text = widget.ui.message.text.replace("&#x27;", "'")
    assert red(text) and "'sagittal': None of the chosen segments of 'drawn' has a voxel" in text
    assert mrml.node_ids(slicer.mrmlScene) == before and process.state == "idle"


def test_nodes_that_are_removed_take_with_them_what_was_chosen(scene: Any, widget: Any, volumes: tuple[Any, Any, Any]
                                                               ) -> None:
    labels = [labels_of(volume, volume.GetName()) for volume in volumes[1:]]
    check(widget, "sagittal", "coronal")
    for name, text, node in (("sagittal", "1", labels[0]), ("coronal", "2", labels[1])):
        highlight(widget, name)
        type_into(widget.ui.furtherExcluded, text)
        widget.ui.furtherSegmentation.setCurrentNode(node)
    scene.RemoveNode(labels[0])
    assert used_of(widget) == {"sagittal": ("1", None), "coronal": ("2", labels[1])}
    assert shown(widget) == ("Of 'coronal':", "2", labels[1])
    scene.RemoveNode(volumes[1])
    assert used_of(widget) == {"coronal": ("2", labels[1])}
    scene.RemoveNode(labels[1])
    assert used_of(widget) == {"coronal": ("2", None)} and shown(widget) == ("Of 'coronal':", "2", None)
    scene.RemoveNode(volumes[2])
    assert used_of(widget) == {} and not widget.ui.furtherExcluded.visible


def test_each_parameter_set_has_its_own_settings(widget: Any, volumes: tuple[Any, Any, Any]) -> None:
    check(widget, "sagittal")
    type_into(widget.ui.furtherExcluded, "2")
    first, _ = widget.ui.parameterSet.currentNode(), widget.ui.parameterSet.addNode()
    widget.ui.inputVolume.setCurrentNode(volumes[0])
    check(widget, "sagittal")
    assert shown(widget) == ("Of 'sagittal':", "", None)
    type_into(widget.ui.furtherExcluded, "3")
    widget.ui.parameterSet.setCurrentNode(first)
    assert shown(widget) == ("Of 'sagittal':", "2", None)
