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
