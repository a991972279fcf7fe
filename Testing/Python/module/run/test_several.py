"""Several volumes of one body: each under its own transforms, from nodes to a dense volume and a transform for each."""
from __future__ import annotations

import json
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from stand_in_worker import MOTION, StandInWorkerProcess
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
from TriplaneGaussianReconModule.scene.nodes import gridOf

from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.protocol import Job

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # between RAS and LPS


class KeepingWorkerProcess(StandInWorkerProcess):
    """The same, and keeps the last job."""

    def start(self, folder: Any) -> None:
        job = Job.read(folder)
        self.job, self.arrays = job, [np.array(each.image.array) for each in job.stacks]
        super().start(folder)


@pytest.fixture
def process() -> KeepingWorkerProcess:
    return KeepingWorkerProcess()


@pytest.fixture
def logic(scene: Any, process: KeepingWorkerProcess) -> TriplaneGaussianReconLogic:
    return TriplaneGaussianReconLogic(process)


def add(name: str, thick: int, seed: int = 0, matrix: np.ndarray | None = None) -> Any:
    """A volume about the same place, thick along one of its axes i, j, k."""
    shape, spacing = [20, 18, 16], [1.0, 1.0, 1.0]
    shape[2 - thick], spacing[thick] = 5, 4.0
    voxels = np.random.default_rng(seed).integers(0, 900, shape).astype(np.int16)
    return mrml.add_volume(voxels, mrml.ijk_to_ras(spacing, (0.0, 0.0, 0.0), np.eye(3)) if matrix is None else matrix,
                           name)


def turned(degrees: float = 30.0) -> np.ndarray:
    """A turn and a shift."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = mrml.rotation(degrees, 10.0), (4.0, -7.0, 2.0)
    return matrix


def under(node: Any, matrix: np.ndarray) -> Any:
    """Put a node under a linear transform."""
    node.SetAndObserveTransformNodeID(mrml.add_linear_transform(matrix).GetID())
    return node


def test_all_volumes_become_one_and_none_is_changed(scene: Any, logic: TriplaneGaussianReconLogic,
                                                    process: KeepingWorkerProcess) -> None:
    first, second, third = add("axial", 2), add("sagittal", 0, 1), add("coronal", 1, 2)
    before = mrml.fingerprint(scene)
    results = logic.reconstruct(first, furtherVolumes=[second, third])
    after = mrml.fingerprint(scene)
    assert {name: after[name] for name in before} == before
    assert gridOf(results.volume).spacing == (1.0, 1.0, 1.0) and min(gridOf(results.volume).shape) >= 16
    for array, node in zip(process.arrays, (first, second, third), strict=True):
        np.testing.assert_array_equal(array, slicer.util.arrayFromVolume(node))
    assert [each.slice_axis for each in process.job.stacks] == ["k", "i", "j"] and process.job.motion == "stack"
    assert all(len(each.used) == 5 and each.width == 4.0 for each in process.job.stacks)


def test_each_volume_lies_where_its_transforms_put_it(logic: TriplaneGaussianReconLogic, process: KeepingWorkerProcess
                                                      ) -> None:
    first, second = under(add("first", 2), turned()), under(add("second", 0, 1), turned(-50.0))
    logic.reconstruct(first, furtherVolumes=[second])
    voxel = [3, 4, 5]
    inFirst = FLIP @ np.append(process.job.further[0].image.grid.index_to_physical(voxel), 1.0)
    np.testing.assert_allclose((turned() @ inFirst)[:3], mrml.world_of_voxel(second, voxel), atol=1e-9)
    assert process.job.volume.grid == gridOf(first)


@pytest.mark.parametrize("isUnder", [False, True])
def test_a_volume_put_under_its_transform_lies_where_it_was_found(logic: TriplaneGaussianReconLogic, isUnder: bool
                                                                  ) -> None:
    first, second = add("first", 2), add("second", 0, 1)
    world, own = np.eye(4), np.eye(4)
    if isUnder:
        world, own = turned(), turned(-50.0)
        under(first, world), under(second, own)
    start, voxel = mrml.world_of_voxel(second, [3, 4, 5]), [3, 4, 5]
    node, = logic.reconstruct(first, furtherVolumes=[second]).motions
    assert node.GetName() == "second to first" and node.GetTransformNodeID() == first.GetTransformNodeID()
    np.testing.assert_allclose(mrml.world_of_voxel(second, voxel), start)  # it is not applied
    second.SetAndObserveTransformNodeID(node.GetID())
    motion = world @ FLIP @ MOTION @ FLIP @ np.linalg.inv(world)
    np.testing.assert_allclose(mrml.world_of_voxel(second, voxel), (motion @ np.append(start, 1.0))[:3], atol=1e-6)


def test_without_motion_there_is_no_transform(logic: TriplaneGaussianReconLogic, process: KeepingWorkerProcess) -> None:
    results = logic.reconstruct(add("first", 2), furtherVolumes=[add("second", 0)], findMotion=False)
    assert process.job.motion == "none" and results.motions == ()


def test_the_results_tell_of_all_volumes(logic: TriplaneGaussianReconLogic) -> None:
    results = logic.reconstruct(add("first", 2), furtherVolumes=[add("second", 0), add("third", 1)], profile="box",
                                thickness=[3.0, 0.0, 5.0], outputSpacing=2.0)
    assert results.notes[0] == "'second' hardly fits the first."
    assert results.notes[1].startswith("'second' was turned by 90.0 degrees, and its middle moved by ")
    text = results.provenance.GetText()
    told = json.loads("{" + text.partition("\n\n{")[2])
    assert told["choices"]["furtherVolumes"] == ["second", "third"] and told["choices"]["thickness"] == [3.0, 0.0, 5.0]
    assert [each["thickness_mm"] for each in told["reports"][0]["volumes"]] == [3.0, 4.0, 5.0]
    assert told["reports"][0]["volumes"][1]["to_first"] == MOTION.tolist()
    assert "Further volumes: second, third" in text and gridOf(results.volume).spacing == (2.0, 2.0, 2.0)
    slices = slicer.util.arrayFromTableColumn(results.scores, "Slice")
    assert {0.0, 1.0, 2.0, 3.0, 4.0} <= set(slices.tolist()) and slices.min() < 0 < slices.max()


def test_undoing_takes_the_transforms_away(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    first, second = add("first", 2), add("second", 0)
    before = mrml.node_ids(scene)
    results = logic.reconstruct(first, furtherVolumes=[second])
    second.SetAndObserveTransformNodeID(results.motions[0].GetID())
    logic.undo(results)
    assert mrml.node_ids(scene) == before and second.GetParentTransformNode() is None


def test_words_for_a_spacing_mean_the_smallest_pixel(logic: TriplaneGaussianReconLogic, process: KeepingWorkerProcess
                                                     ) -> None:
    logic.reconstruct(add("axial", 2), furtherVolumes=[add("sagittal", 0, 1)], outputSpacing="isotropic")
    assert process.job.spacing is None


def test_one_volume_is_as_before(logic: TriplaneGaussianReconLogic, process: KeepingWorkerProcess) -> None:
    results = logic.reconstruct(add("first", 2), thickness="9,9,9", profile="box", findMotion=False)
    assert process.job.further == () and process.job.thickness is None and process.job.spacing == 1.0
    assert results.motions == () and "urther" not in results.provenance.GetText()


def test_a_transform_that_bends_is_refused(logic: TriplaneGaussianReconLogic) -> None:
    first, second = add("first", 2), add("second", 0)
    second.SetAndObserveTransformNodeID(mrml.add_grid_transform(shift=10.0).GetID())
    with pytest.raises(InputError, match="'second' lies under a transform against 'first' that is not linear. Take"):
        logic.reconstruct(first, furtherVolumes=[second])
    assert not logic.isRunning


def test_both_may_lie_under_the_same_transform_that_bends(logic: TriplaneGaussianReconLogic,
                                                          process: KeepingWorkerProcess) -> None:
    first, second = add("first", 2), add("second", 0)
    bent = mrml.add_grid_transform(shift=10.0)
    for node in (first, second):
        node.SetAndObserveTransformNodeID(bent.GetID())
    assert logic.reconstruct(first, furtherVolumes=[second]).motions[0].GetParentTransformNode() is bent
    assert process.job.further[0].image.grid.matches(gridOf(second))


@pytest.mark.parametrize(("arguments", "cause"), [
    ({"thickness": "3,x"}, "Cannot read the slice thickness '3,x'. Give one number"),
    ({"thickness": "3,4,5"}, "or 2 with commas between them"),
    ({"thickness": -1.0}, "Cannot read the slice thickness '-1.0'"),
    ({"thickness": [3.0, float("nan")]}, "Cannot read the slice thickness"),
    ({"profile": "round"}, "Unknown slice profile 'round'. Choose one of box, gaussian"),
    ({"outputSpacing": -1.0}, "positive number of millimetres"),
    ({"outputSpacing": float("inf")}, "positive number of millimetres"),
    ({"trustedSlices": "4"}, "Only one slice is used"),
])
def test_wrong_choices_are_refused_before_anything_starts(logic: TriplaneGaussianReconLogic,
                                                          process: KeepingWorkerProcess, arguments: dict[str, Any],
                                                          cause: str) -> None:
    first, second = add("first", 2), add("second", 0)
    with pytest.raises(InputError, match=cause):
        logic.reconstruct(first, furtherVolumes=[second], **arguments)
    assert not process.folders


@pytest.mark.parametrize("again", [0, 1])
def test_a_volume_counts_once(logic: TriplaneGaussianReconLogic, again: int) -> None:
    nodes = [add("first", 2), add("second", 0)]
    with pytest.raises(InputError, match=f"'{nodes[again].GetName()}' is given twice"):
        logic.reconstruct(nodes[0], furtherVolumes=[nodes[1], nodes[again]])


def test_an_even_texture_is_refused(logic: TriplaneGaussianReconLogic) -> None:
    with pytest.raises(InputError, match="An even texture does not go with further volumes"):
        logic.reconstruct(add("first", 2), furtherVolumes=[add("second", 0)], evenTexture=True)


def test_used_slices_cannot_stay_as_they_are(logic: TriplaneGaussianReconLogic) -> None:
    with pytest.raises(InputError, match="Used slices cannot stay as they are where volumes are combined"):
        logic.reconstruct(add("first", 2), furtherVolumes=[add("second", 0)], keepUsedSlices=True)


def test_what_is_no_image_is_refused_by_name(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
    with pytest.raises(InputError, match="'hollow' has no voxels"):
        logic.reconstruct(add("first", 2), furtherVolumes=[empty])


def test_a_further_volume_that_is_removed_ends_the_run(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    first, second, ends = add("first", 2), add("second", 0), list[tuple[Any, str]]()
    logic.reconstruct(first, furtherVolumes=[second], waitForCompletion=False,
                      completedCallback=lambda *end: ends.append(end))
    scene.RemoveNode(second)
    assert ends == [(None, "'second' was removed from the scene before the reconstruction was done, so there is no "
                           "result.")]


def test_a_message_of_the_worker_names_the_volume(logic: TriplaneGaussianReconLogic, process: KeepingWorkerProcess
                                                  ) -> None:
    process.failure = {"event": "failed", "kind": "input", "message": "Volume 2: It has one value.", "details": ""}
    with pytest.raises(InputError, match="^'second': It has one value.$"):
        logic.reconstruct(add("first", 2), furtherVolumes=[add("second", 0)])


# What is used of each


def drawn(volume: Any, *names: str, name: str = "drawn") -> Any:
    """A segmentation with a box for each name, on all slices of a volume but the first along each axis."""
    masks = {}
    for number, each in enumerate(names):
        masks[each] = np.zeros(slicer.util.arrayFromVolume(volume).shape, bool)
        masks[each][1:, 1:, 1 + number:3 + number] = True
    return mrml.add_segmentation(volume, masks, name)


def test_slices_are_excluded_of_each_volume_by_itself(logic: TriplaneGaussianReconLogic, process: KeepingWorkerProcess
                                                      ) -> None:
    first, second, third, fourth = add("first", 2), add("second", 0), add("third", 1), add("fourth", 2, 7)
    results = logic.reconstruct(first, excludedSlices="4", furtherVolumes={
        second: {"excludedSlices": "0, 2-3"}, third: {}, fourth: {"excludedSlices": np.array([1])}})
    assert [each.used.indices for each in process.job.stacks] == [
        (0, 1, 2, 3), (1, 4), (0, 1, 2, 3, 4), (0, 2, 3, 4)]
    text = results.provenance.GetText()
    assert "Further volumes: second (without slices 0, 2-3), third, fourth (without slices 1)\n" in text
    told = json.loads("{" + text.partition("\n\n{")[2])
    assert told["choices"]["furtherExcluded"] == ["0, 2-3", "", "1"]
    assert [each["trusted"] for each in told["reports"][0]["volumes"][1:3]] == [[1, 4], [0, 1, 2, 3, 4]]


def test_labels_belong_to_their_volume_alone(logic: TriplaneGaussianReconLogic, process: KeepingWorkerProcess) -> None:
    first, second, third = add("first", 2), under(add("second", 0), turned()), add("third", 1)
    labels = under(drawn(third, "core"), turned(-50.0))
    under(third, turned(-50.0))
    results = logic.reconstruct(first, furtherVolumes={second: {}, third: {"segmentationNode": labels}})
    assert process.job.segmentation is None and process.job.further[0].segmentation is None
    found = process.job.further[1].segmentation
    assert found.grid.matches(process.job.further[1].image.grid)
    np.testing.assert_array_equal(found.layers[0] > 0, mrml.voxels_of_segment(labels, "core", third))
    assert not any("resampled" in note for note in results.notes)


def test_labels_lie_where_their_own_transforms_put_them(logic: TriplaneGaussianReconLogic, process: KeepingWorkerProcess
                                                        ) -> None:
    second = add("second", 0)
    labels = under(drawn(second, "core"), turned(-45.0))
    under(second, turned(-50.0))
    results = logic.reconstruct(add("first", 2), furtherVolumes={second: {"segmentationNode": labels}})
    found, expected = process.job.further[0].segmentation, mrml.voxels_of_segment(labels, "core", second)
    assert expected.any() and not expected[1:, 1:, 1:3].all()
    np.testing.assert_array_equal(found.layers[0] > 0, expected)
    assert "'second': The segmentation lies on other voxels than the volume and was resampled to them." in results.notes


def test_the_result_has_the_segments_of_all_volumes(logic: TriplaneGaussianReconLogic) -> None:
    first, second, third = add("first", 2), add("second", 0), add("third", 1)
    given = drawn(first, "core", name="of first"), drawn(second, "core", "rim"), drawn(third, "dot", "rim")
    given[2].GetSegmentation().GetSegment("dot").SetName("dot alone")
    results = logic.reconstruct(first, given[0], furtherVolumes={
        second: {"segmentationNode": given[1]}, third: {"segmentationNode": given[2]}})
    segmentation = results.segmentation.GetSegmentation()
    assert results.segmentation.GetName() == "of first reconstructed" and segmentation.GetSegmentIDs()[0] == "core"
    assert [segmentation.GetSegment(each).GetName() for each in segmentation.GetSegmentIDs()] == [
        "肝臓 é core", "肝臓 é rim", "dot alone"]
    for number, (node, identifier) in enumerate(((given[0], "core"), (given[1], "rim"), (given[2], "dot"))):
        assert mrml.tags_of(results.segmentation, segmentation.GetSegmentIDs()[number]) == mrml.tags_of(
            node, identifier)
    text = results.provenance.GetText()
    assert "Further volumes: second (labels of 'drawn'), third (labels of 'drawn')" in text
    assert json.loads("{" + text.partition("\n\n{")[2])["choices"]["furtherSegmentations"] == ["drawn", "drawn"]


def test_segments_of_equal_identifier_and_other_names_are_kept_apart(logic: TriplaneGaussianReconLogic) -> None:
    first, second = add("first", 2), add("second", 0)
    given = drawn(first, "Segment_1"), drawn(second, "Segment_1")
    given[1].GetSegmentation().GetSegment("Segment_1").SetName("other")
    given[1].GetSegmentation().GetSegment("Segment_1").SetTag("custom", "theirs")
    results = logic.reconstruct(first, given[0], furtherVolumes={second: {"segmentationNode": given[1]}})
    names = results.segmentation.GetSegmentation().GetSegmentIDs()
    assert len(names) == 2 and names[0] == "Segment_1"
    assert [mrml.tags_of(results.segmentation, each) for each in names] == [
        mrml.tags_of(node, "Segment_1") for node in given]


def test_labels_of_further_volumes_alone_are_a_result(logic: TriplaneGaussianReconLogic) -> None:
    first, second = under(add("first", 2), turned()), under(add("second", 0), turned())
    labels = under(drawn(second, "core"), turned())
    results = logic.reconstruct(first, furtherVolumes={second: {"segmentationNode": labels}})
    assert results.segmentation.GetName() == "drawn reconstructed"
    assert results.segmentation.GetTransformNodeID() == first.GetTransformNodeID()
    name, = results.segmentation.GetSegmentation().GetSegmentIDs()
    assert mrml.tags_of(results.segmentation, name) == mrml.tags_of(labels, "core")
    logic.undo(results)
    assert results.segmentation.GetScene() is None and labels.GetScene() is not None


@pytest.mark.parametrize(("settings", "cause"), [
    ({"excludedSlices": "7"}, "'second': Slice 7 does not exist: this axis has slices 0 to 4"),
    ({"excludedSlices": "none"}, "'second': Cannot read the excluded slices 'none'. Write them as 7,12,20-23."),
    ({"excludedSlices": "0-4"}, "'second': No slice is left to use"),
    ({"excludedSlices": [0.5]}, "'second': Cannot read the slices"),
    ({"exclude": "0"}, "'second': Of a further volume there is no choice 'exclude'. Choose of excludedSlices, segm"),
    ({"segmentationNode": "empty"}, "'second': No segment of 'empty' is chosen"),
    ({"segmentationNode": "elsewhere"}, "'second': None of the chosen segments of 'elsewhere' has a voxel"),
    ({"segmentationNode": "first"}, "'second': 'first' is not a segmentation")])
def test_what_cannot_be_used_of_a_further_volume_is_refused_by_its_name(
        scene: Any, logic: TriplaneGaussianReconLogic, process: KeepingWorkerProcess, settings: dict[str, Any],
        cause: str) -> None:
    first, second = add("first", 2), add("second", 0)
    scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    far = np.eye(4)
    far[:3, 3] = 1000.0
    under(drawn(second, "core", name="elsewhere"), far)
    if "segmentationNode" in settings:
        settings = {"segmentationNode": slicer.util.getNode(settings["segmentationNode"])}
    before = mrml.node_ids(scene)
    with pytest.raises(InputError, match=cause):
        logic.reconstruct(first, furtherVolumes={second: settings})
    assert not process.folders or not (process.folders[-1]).exists()
    assert mrml.node_ids(scene) == before and not logic.isRunning


def test_labels_of_a_further_volume_that_are_removed_end_the_run(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    first, second, ends = add("first", 2), add("second", 0), list[tuple[Any, str]]()
    labels = drawn(second, "core")
    logic.reconstruct(first, furtherVolumes={second: {"segmentationNode": labels}}, waitForCompletion=False,
                      completedCallback=lambda *end: ends.append(end))
    scene.RemoveNode(labels)
    assert ends and ends[0][0] is None and "'drawn' was removed from the scene" in ends[0][1]
