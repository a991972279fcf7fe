"""The logic: from nodes to nodes through a worker, and every way in which that can end."""
from __future__ import annotations

import gc
import json
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import qt
import slicer
from stand_in_worker import StandInWorkerProcess, reportOf
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
from TriplaneGaussianReconModule.run.process import WorkerProcess
from TriplaneGaussianReconModule.scene.nodes import gridOf
from TriplaneGaussianReconModule.scene.report import reportIn
from TriplaneGaussianReconModule.scene.results import remove

from TriplaneGaussianReconLib.errors import InputError, OutputError, ReconstructionError
from TriplaneGaussianReconLib.jobs import estimates
from TriplaneGaussianReconLib.jobs.estimates import Slowness
from TriplaneGaussianReconLib.jobs.protocol import Job

SHAPE = (13, 28, 30)


def moving(shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A blob that moves from slice to slice, and two segments of it, which overlap."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    near = (i - 12 - 0.5 * k) ** 2 + (j - 12) ** 2
    noise = 20 * np.random.default_rng(0).normal(size=shape)
    return (1000 * np.exp(-near / 40) + noise).astype(np.int16), {"core": near < 30, "rim": (near > 10) & (near < 60)}


def spin(until: Callable[[], bool]) -> None:
    """Let the event loop turn until something holds."""
    for _ in range(2000):
        if until():
            return
        qt.QCoreApplication.processEvents()
    raise AssertionError("what was waited for did not happen")


def temporary_files() -> list[Path]:
    return list(Path(slicer.app.temporaryPath).iterdir())


class Ended:
    """A completedCallback that keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, str]] = []

    def __call__(self, results: Any, message: str) -> None:
        self.calls.append((results, message))

    @property
    def message(self) -> str:
        (results, message), = self.calls
        assert results is None
        return message


def test_one_line_gives_all_nodes(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    voxels, masks = moving()
    volume = mrml.add_volume(voxels)
    segmentation = mrml.add_segmentation(volume, masks)
    before = mrml.fingerprint(scene)
    results = logic.reconstruct(volume, segmentation, trustedSlices="every:3")
    after = mrml.fingerprint(scene)
    assert {name: after[name] for name in before} == before
    assert np.array_equal(slicer.util.arrayFromVolume(results.volume)[::3], voxels[::3])
    assert all(np.array_equal(mrml.voxels_of_segment(results.segmentation, name, results.volume)[::3], mask[::3])
               for name, mask in masks.items())
    assert not temporary_files() and not logic.isRunning and not results.notes


def test_nothing_is_waited_for_if_not_wanted(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, end, progress, previews = mrml.add_volume(moving()[0]), Ended(), [], []
    nodes = mrml.node_ids(scene)
    assert logic.reconstruct(volume, trustedSlices="every:3", waitForCompletion=False, completedCallback=end,
                             progressCallback=progress.append,
                             previewCallback=lambda image, message: previews.append((image, message))) is None
    assert mrml.node_ids(scene) == nodes and logic.isRunning and not end.calls
    spin(lambda: bool(end.calls))
    (results, message), = end.calls
    assert message == "" and results.volume.GetScene() is scene and not logic.isRunning
    assert [each["event"] for each in progress] == ["started", "progress"] and progress[1]["stage"] == "learning"
    assert previews[0][0].shape == SHAPE[1:] and previews[0][1]["axis"] == "k"


@pytest.mark.parametrize(("arguments", "cause"), [
    ({"preset": "quick"}, "Unknown preset 'quick'. Choose one of fast"),
    ({"device": "gpu"}, "Unknown device 'gpu'"),
    ({"trustedSlices": "every:x"}, "Cannot read the slices 'every:x'"),
    ({"trustedSlices": "0,40"}, "Slice 40 does not exist"),
    ({"trustedSlices": "4"}, "Only one slice is used"),
    ({"excludedSlices": "3-"}, "Cannot read the excluded slices '3-'"),
    ({"excludedSlices": "99"}, "Slice 99 does not exist"),
    ({"excludedSlices": "0-12"}, "No slice is left"),
    ({"sliceAxis": "z"}, "Unknown slice axis 'z'. Choose one of auto .*, i, j, k, axial, coronal, sagittal"),
    ({"outputSpacing": 1000.0}, "leaves only one slice"),
    ({"outputSpacing": -1.0}, "positive number of millimetres"),
    ({"outputSpacing": float("nan")}, "positive number of millimetres"),
    ({"outputSpacing": float("inf")}, "positive number of millimetres"),
    ({"outputSpacing": "2"}, "positive number of millimetres such as 1.5, or 0 .*, not '2'"),
    ({"outputSpacing": None}, "positive number of millimetres such as 1.5, or 0 .*, not None"),
    ({"outputSpacing": 1e-6}, "more than .* voxels"),
    ({"seed": -1}, "seed must be a whole number"),
    ({"seed": 0.5}, "seed must be a whole number"),
    ({"seed": "1"}, "seed must be a whole number such as 1, not '1'"),
    ({"memory": 0.5}, "0.5 GB of memory is less than the program itself takes, 0.75 GB. Allow more"),
    ({"memory": -1.0}, "memory that may be used must be a number of GB such as 6, or 0 for what is free, not -1.0"),
    ({"memory": float("nan")}, "must be a number of GB"),
    ({"memory": "6"}, "must be a number of GB such as 6, or 0 .*, not '6'"),
    ({"threads": -1}, "number of threads must be a whole number such as 4, or 0 for as many as there are, not -1"),
    ({"threads": 1.5}, "number of threads must be a whole number"),
    ({"trustedSlices": [0.0, 4.0]}, r"slices \[0.0, 4.0\]. Write their numbers, such as \[0, 4, 8\]"),
    ({"trustedSlices": np.arange(13) % 4 == 0}, "Write their numbers"),
    ({"trustedSlices": [True] * 13}, "Write their numbers"),
    ({"trustedSlices": None}, "Cannot read the slices None"),
    ({"trustedSlices": [0, 40]}, "Slice 40 does not exist"),
    ({"trustedSlices": [4]}, "Only one slice is used"),
    ({"trustedSlices": 4}, "Only one slice is used"),
    ({"excludedSlices": range(13)}, "No slice is left"),
    ({"trustedSlices": "segmented"}, "there is no segmentation"),
    ({"labelsOn": "0,4"}, "which slices carry labels, but there is no segmentation"),
    ({"labelsOn": [0.5]}, "Write their numbers"),
])
def test_wrong_choices_are_refused_before_anything_starts(scene: Any, logic: TriplaneGaussianReconLogic,
                                                          process: StandInWorkerProcess, arguments: dict[str, Any],
                                                          cause: str) -> None:
    volume, end = mrml.add_volume(moving()[0]), Ended()
    with pytest.raises(InputError, match=cause):
        logic.reconstruct(volume, **arguments, waitForCompletion=False, completedCallback=end)
    assert not process.folders and not end.calls and not logic.isRunning and not temporary_files()


@pytest.mark.parametrize("observed", [[0, 4, 8], (8, 0, 4), range(0, 12, 4), np.arange(0, 12, 4, np.uint8)])
def test_slices_may_be_numbers(scene: Any, logic: TriplaneGaussianReconLogic, observed: Any) -> None:
    volume = mrml.add_volume(moving()[0])
    told = logic.reconstruct(volume, trustedSlices=observed, excludedSlices=4, seed=np.int64(3),
                             outputSpacing=np.float32(1.5)).provenance.GetText()
    assert "Slices used along k: 0, 8\n" in told and "Seed: 3\n" in told and "x 1.5 mm\n" in told
    assert logic.expected(volume, trustedSlices=observed, excludedSlices=[]) == logic.expected(
        volume, trustedSlices="0,4,8")


def test_no_volume_is_refused(logic: TriplaneGaussianReconLogic) -> None:
    with pytest.raises(InputError, match="There is no volume"):
        logic.reconstruct(None)


def test_a_folder_for_temporary_files_that_is_missing_is_named(scene: Any, logic: TriplaneGaussianReconLogic,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    volume = mrml.add_volume(moving()[0])
    before = mrml.fingerprint(scene)
    monkeypatch.setattr(slicer.app, "temporaryPath", str(Path(slicer.app.temporaryPath) / "gone"))
    for keep in (False, True):
        with pytest.raises(OutputError, match="folder for temporary files '.*gone'"):
            logic.reconstruct(volume, keepModel=keep)
    assert mrml.fingerprint(scene) == before


def test_only_slices_that_carry_segmentation_are_observed(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    voxels, masks = moving()
    volume = mrml.add_volume(voxels)
    for mask in masks.values():
        mask[[n for n in range(13) if n not in (2, 5, 11)]] = False
    segmentation = mrml.add_segmentation(volume, masks)
    results = logic.reconstruct(volume, segmentation, trustedSlices="segmented", excludedSlices="11")
    assert "Slices used along k: 2, 5\n" in results.provenance.GetText()
    assert "There (0-1,6-12) they are repeated" in results.notes[0]


def test_observed_slices_without_labels_between_labelled_ones_are_pointed_out(
        scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    voxels, masks = moving()
    volume = mrml.add_volume(voxels)
    masks["core"][3:10], masks["rim"][:] = False, False
    masks["rim"][5, :2, :2] = True
    results = logic.reconstruct(volume, mrml.add_segmentation(volume, masks), trustedSlices="every:2")
    assert any("3 used slices between labelled ones carry no label" in note for note in results.notes)
    assert any("On no slice that is used" in note and "肝臓 é rim" in note for note in results.notes)
    assert results.segmentation.GetSegmentation().GetSegmentIDs() == ("core",)


def test_output_spacing(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(moving()[0])
    assert logic.reconstruct(volume).volume.GetSpacing()[2] == pytest.approx(0.7)
    assert logic.reconstruct(volume, trustedSlices="every:2").volume.GetSpacing()[2] == pytest.approx(3.0)
    assert logic.reconstruct(volume, outputSpacing=1.5).volume.GetSpacing()[2] == pytest.approx(1.5)
    assert logic.reconstruct(volume, outputSpacing="input").volume.GetSpacing()[2] == pytest.approx(3.0)
    alone = logic.reconstruct(volume, trustedSlices="every:2", outputSpacing="isotropic")
    assert alone.volume.GetSpacing()[2] == pytest.approx(0.7)
    isotropic = mrml.add_volume(moving()[0], mrml.ijk_to_ras((1, 1, 1)))
    assert "nothing is gained" in logic.reconstruct(isotropic).notes[0]


def test_spacings_that_may_surprise_are_pointed_out(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(moving()[0])
    assert not logic.reconstruct(volume, sliceAxis="K").notes
    excluded = logic.reconstruct(volume, excludedSlices="4")
    assert "Slices are excluded" in excluded.notes[0] and excluded.notes[0].endswith("slice spacing to 0.7 mm.")
    assert not logic.reconstruct(volume, excludedSlices="4", outputSpacing=0.7).notes
    assert "its slices lie 6 mm apart, those of the input 3 mm" in logic.reconstruct(volume, outputSpacing=6.0).notes[0]


def test_another_torch_is_got_in_the_way_of_slicer(scene: Any) -> None:
    process = StandInWorkerProcess()
    process.failure = {"event": "failed", "kind": "input", "details": "", "message": (
        "CUDA cannot be used: Install a torch for CUDA 13; https://pytorch.org/get-started tells how.")}
    with pytest.raises(InputError, match="Install a torch for CUDA 13; use the module PyTorch Utils"):
        TriplaneGaussianReconLogic(process).reconstruct(mrml.add_volume(moving()[0]))


def test_observers_are_told_when_a_run_begins_and_ends(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    told: list[bool] = []
    logic.observers.add(lambda: told.append(logic.isRunning))
    logic.reconstruct(mrml.add_volume(moving()[0]))
    assert told == [True, False]


def test_slices_may_be_observed_along_another_axis(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    voxels = moving()[0]
    results = logic.reconstruct(mrml.add_volume(voxels), sliceAxis="j", trustedSlices="every:3")
    assert np.array_equal(slicer.util.arrayFromVolume(results.volume)[:, ::3], voxels[:, ::3])


def test_a_second_call_while_one_is_running_is_refused(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, end = mrml.add_volume(moving()[0]), Ended()
    logic.reconstruct(volume, waitForCompletion=False, completedCallback=end)
    with pytest.raises(InputError, match="running already"):
        logic.reconstruct(volume)
    spin(lambda: bool(end.calls))
    assert end.calls[0][0] is not None and logic.reconstruct(volume) is not None


def test_cancelled_at_any_time_the_scene_is_as_before(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    voxels, masks = moving()
    volume = mrml.add_volume(voxels)
    segmentation = mrml.add_segmentation(volume, masks)
    before, turns, is_done = mrml.fingerprint(scene), 0, False
    while not is_done:
        end = Ended()
        logic.reconstruct(volume, segmentation, trustedSlices="every:3", keepModel=True, waitForCompletion=False,
                          completedCallback=end)
        for _ in range(turns):
            qt.QCoreApplication.processEvents()
        is_done, turns = bool(end.calls), turns + 1
        logic.cancel()
        logic.cancel()
        if not is_done:
            spin(lambda end=end: bool(end.calls))
            assert end.message == "" and mrml.fingerprint(scene) == before and not temporary_files()
            assert not logic.isRunning
    assert turns > 10 and end.calls[0][0] is not None


def test_cancelled_while_waiting_nothing_is_returned(scene: Any, logic: TriplaneGaussianReconLogic,
                                                     process: StandInWorkerProcess) -> None:
    process.isHeld = True
    before = mrml.node_ids(scene)
    assert logic.reconstruct(mrml.add_volume(moving()[0]), progressCallback=lambda message: logic.cancel()) is None
    assert len(mrml.node_ids(scene)) == len(before) + 2 and not temporary_files()


def test_closing_the_module_ends_it_at_once(scene: Any, logic: TriplaneGaussianReconLogic,
                                            process: StandInWorkerProcess) -> None:
    process.isHeld, end = True, Ended()
    logic.reconstruct(mrml.add_volume(moving()[0]), waitForCompletion=False, completedCallback=end)
    spin(lambda: process.state == "running")
    logic.cleanup()
    assert end.message == "" and process.state == "idle" and not temporary_files() and not logic.isRunning


@pytest.mark.parametrize("starts", [False, True])
@pytest.mark.parametrize("what", ["volume", "segmentation"])
def test_removed_input_ends_it_with_a_message(scene: Any, logic: TriplaneGaussianReconLogic, what: str, starts: bool,
                                              process: StandInWorkerProcess) -> None:
    voxels, masks = moving()
    volume = mrml.add_volume(voxels, name="CT")
    nodes, end = {"volume": volume, "segmentation": mrml.add_segmentation(volume, masks, "organs")}, Ended()
    process.isHeld = True
    logic.reconstruct(volume, nodes["segmentation"], waitForCompletion=False, completedCallback=end)
    if starts:
        spin(lambda: process.state == "running")
    name = nodes[what].GetName()
    before = mrml.node_ids(scene)
    scene.RemoveNode(nodes[what])
    assert f"'{name}' was removed" in end.message
    assert len(mrml.node_ids(scene)) == len(before) - 1 and process.state == "idle" and not temporary_files()


def test_input_removed_in_reply_to_a_result_does_no_harm(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    """The last moment at which that can happen: the results are entering the scene."""
    volume, end = mrml.add_volume(moving()[0]), Ended()

    def remove(*event: Any) -> None:
        if volume.GetScene() is not None:
            scene.RemoveNode(volume)

    tag = scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, remove)
    logic.reconstruct(volume, waitForCompletion=False, completedCallback=end)
    spin(lambda: bool(end.calls))
    scene.RemoveObserver(tag)
    (results, message), = end.calls
    assert message == "" and results.volume.GetScene() is scene and volume.GetScene() is None
    assert not logic.isRunning and not temporary_files()


def test_other_nodes_may_come_and_go(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, other, end = mrml.add_volume(moving()[0]), mrml.add_volume(moving()[0], name="other"), Ended()
    logic.reconstruct(volume, waitForCompletion=False, completedCallback=end)
    scene.RemoveNode(other)
    spin(lambda: bool(end.calls))
    assert end.calls[0][0] is not None


@pytest.mark.parametrize("starts", [False, True])
def test_a_closed_scene_ends_it_with_a_message(scene: Any, logic: TriplaneGaussianReconLogic, starts: bool,
                                               process: StandInWorkerProcess) -> None:
    process.isHeld, end = True, Ended()
    logic.reconstruct(mrml.add_volume(moving()[0]), waitForCompletion=False, completedCallback=end)
    if starts:
        spin(lambda: process.state == "running")
    scene.Clear(0)
    assert "scene was closed" in end.message and process.state == "idle" and not temporary_files()
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    process.isHeld = False
    assert logic.reconstruct(mrml.add_volume(moving()[0])).volume.GetScene() is scene


def test_a_closed_scene_takes_the_results_along(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    logic.reconstruct(mrml.add_volume(moving()[0]), keepModel=True)
    scene.Clear(0)
    assert not slicer.util.getNodesByClass("vtkMRMLDisplayNode") and not temporary_files()


def test_modified_input_is_pointed_out(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(moving()[0])

    def draw(message: dict[str, Any]) -> None:
        slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
        slicer.util.arrayFromVolumeModified(volume)

    results = logic.reconstruct(volume, progressCallback=draw)
    assert "modified while it was being reconstructed" in results.notes[-1]
    assert "modified while it was being reconstructed" in results.provenance.GetText()


def test_input_without_its_image_is_pointed_out(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    """The voxels were read before; the result has their scalar type."""
    voxels = moving()[0]
    volume = mrml.add_volume(voxels)
    results = logic.reconstruct(volume, progressCallback=lambda message: volume.SetAndObserveImageData(None))
    assert "modified while it was being reconstructed" in results.notes[-1]
    assert slicer.util.arrayFromVolume(results.volume).dtype == voxels.dtype


@pytest.mark.parametrize(("kind", "error"), [("input", InputError), ("memory", ReconstructionError),
                                         ("internal", ReconstructionError)])
def test_failure_of_the_worker_is_told_and_leaves_nothing(scene: Any, logic: TriplaneGaussianReconLogic,
                                                          process: StandInWorkerProcess, kind: str, error: type,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    process.failure = {"event": "failed", "kind": kind, "message": "It is so. Do that.", "details": "Traceback: here"}
    volume, end = mrml.add_volume(moving()[0]), Ended()
    before = mrml.fingerprint(scene)
    with pytest.raises(error, match="It is so. Do that.") as raised:
        logic.reconstruct(volume, completedCallback=end)
    assert type(raised.value) is error and end.message == "It is so. Do that."
    assert mrml.fingerprint(scene) == before and not temporary_files() and "Traceback: here" in caplog.text


def test_a_callback_that_fails_ends_it_and_its_error_arrives(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(moving()[0])
    before = mrml.fingerprint(scene)
    with pytest.raises(ZeroDivisionError):
        logic.reconstruct(volume, progressCallback=lambda message: 1 / 0)
    assert mrml.fingerprint(scene) == before and not temporary_files() and not logic.isRunning


def test_a_completed_callback_that_fails_does_not_keep_anybody_waiting(scene: Any, logic: TriplaneGaussianReconLogic
                                                                       ) -> None:
    results = logic.reconstruct(mrml.add_volume(moving()[0]), completedCallback=lambda results, message: 1 / 0)
    assert results.volume.GetScene() is scene and not logic.isRunning


def test_a_segmentation_without_voxels_is_refused_with_its_name(scene: Any, logic: TriplaneGaussianReconLogic,
                                                                process: StandInWorkerProcess) -> None:
    volume = mrml.add_volume(moving()[0])
    segmentation, end = mrml.add_segmentation(volume, {"a": np.zeros(SHAPE, bool)}, "organs"), Ended()
    with pytest.raises(InputError, match="'organs' has a voxel"):
        logic.reconstruct(volume, segmentation, completedCallback=end)
    assert "'organs'" in end.message and not process.folders and not temporary_files()


def test_models_live_as_long_as_the_results(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(moving()[0])
    before = mrml.fingerprint(scene)
    results = logic.reconstruct(volume, keepModel=True)
    assert [path.read_bytes() for path in results.models] == [b"a model"]
    logic.undo(results)
    assert mrml.fingerprint(scene) == before and not temporary_files()
    logic.undo(results)  # once more does nothing
    assert logic.reconstruct(volume).models == ()


@pytest.mark.parametrize("make", [lambda: mrml.add_linear_transform(mrml.ijk_to_ras((1, 1, 1))),
                                  mrml.add_grid_transform])
def test_results_lie_where_the_input_lies_under_any_transform(scene: Any, logic: TriplaneGaussianReconLogic,
                                                              make: Any) -> None:
    voxels, masks = moving()
    volume = mrml.add_volume(voxels, mrml.ijk_to_ras(directions=mrml.rotation() @ np.diag([1.0, 1.0, -1.0])))
    segmentation, transform = mrml.add_segmentation(volume, masks), make()
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    results = logic.reconstruct(volume, segmentation)
    scale = volume.GetSpacing()[2] / results.volume.GetSpacing()[2]
    for ijk in ((0, 0, 0), (29, 27, 12), (3.5, 9, 7)):
        assert np.allclose(mrml.world_of_voxel(volume, ijk),
                           mrml.world_of_voxel(results.volume, (ijk[0], ijk[1], ijk[2] * scale)), atol=1e-6)
    for node in (results.confidence, results.segmentation):
        assert node.GetTransformNodeID() == transform.GetID()


def test_hundred_runs_leave_nothing_behind(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    voxels, masks = moving((4, 6, 7))
    volume = mrml.add_volume(voxels)
    segmentation = mrml.add_segmentation(volume, {"core": masks["core"] | True})
    before = mrml.fingerprint(scene)
    for _ in range(100):
        logic.undo(logic.reconstruct(volume, segmentation, trustedSlices="every:2", keepModel=True))
    assert mrml.fingerprint(scene) == before and not temporary_files()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert hierarchy.GetNumberOfItems() == 2


def test_what_is_over_keeps_no_nodes(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(moving()[0])
    logic.undo(logic.reconstruct(volume))
    kept = weakref.ref(volume)
    scene.RemoveNode(volume)
    del volume
    gc.collect()
    assert kept() is None


def test_what_is_expected_follows_the_choices(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    voxels, masks = moving()
    volume = mrml.add_volume(voxels)
    segmentation = mrml.add_segmentation(volume, masks)
    everything, some = logic.expected(volume), logic.expected(volume, trustedSlices="every:4")
    assert 0 < some.seconds < everything.seconds and some.memory_bytes < everything.memory_bytes
    assert logic.expected(volume, preset="best").seconds > everything.seconds
    assert logic.expected(volume, slowness=Slowness(2.0, 2.0)).seconds == pytest.approx(2.0 * everything.seconds)
    assert logic.expected(volume, segmentation).seconds == everything.seconds  # thick slices train no network of labels
    thin = mrml.add_volume(voxels, mrml.ijk_to_ras((0.7, 0.7, 0.7)))
    labels, alone = (logic.expected(thin, *given, trustedSlices="every:4") for given in ((segmentation,), ()))
    assert labels.seconds > alone.seconds
    assert logic.expected(volume, device="cuda").gpu_memory_bytes > 0 == everything.gpu_memory_bytes
    assert logic.expected(volume, segmentation, trustedSlices="segmented") == logic.expected(volume, segmentation)
    with pytest.raises(InputError, match="Unknown preset"):
        logic.expected(volume, preset="quick")


def test_what_is_expected_follows_memory_and_threads(scene: Any, logic: TriplaneGaussianReconLogic,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "usable_threads", lambda: 4)
    large = mrml.add_volume(np.zeros((60, 300, 300), np.uint8))
    free, one = logic.expected(large), logic.expected(large, threads=1)
    assert one.seconds > 1.5 * free.seconds and logic.expected(large, threads=4) == free
    assert logic.expected(large, device="cuda", threads=1) == logic.expected(large, device="cuda")  # which has its own
    assert free.memory_bytes > 1.5e9 == logic.expected(large, memory=1.5).memory_bytes
    assert logic.expected(large, memory=100.0) == free


def test_memory_and_threads_reach_the_job_and_are_told(scene: Any, process: StandInWorkerProcess,
                                                       logic: TriplaneGaussianReconLogic) -> None:
    volume, jobs, start = mrml.add_volume(moving()[0]), list[Job](), process.start
    process.start = lambda folder: (jobs.append(Job.read(folder)), start(folder))  # type: ignore[method-assign]
    told = logic.reconstruct(volume, memory=1.5, threads=3).provenance.GetText()
    logic.reconstruct(volume)
    assert [(job.memory, job.threads) for job in jobs] == [(1_500_000_000, 3), (None, None)]
    assert '"memory": 1.5, "threads": 3' in told


def test_used_slices_stay_as_they_are_if_that_is_asked_for(scene: Any, process: StandInWorkerProcess,
                                                           logic: TriplaneGaussianReconLogic) -> None:
    volume, jobs, start = mrml.add_volume(moving()[0]), list[Job](), process.start
    process.start = lambda folder: (jobs.append(Job.read(folder)), start(folder))  # type: ignore[method-assign]
    kept = logic.reconstruct(volume, excludedSlices="4", keepUsedSlices=True)
    other = logic.reconstruct(volume, excludedSlices="4", keepUsedSlices=True, outputSpacing=1.0)
    logic.reconstruct(volume, excludedSlices="4")
    assert [job.keep_used for job in jobs] == [True, True, False]
    assert '"keepUsedSlices": true' in kept.provenance.GetText()
    assert not any("has other voxels than the input" in note for note in kept.notes)
    assert any("has other voxels than the input, so used slices are not left" in note for note in other.notes)


def test_labels_that_are_filled_count_in_what_is_expected(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    voxels, masks = moving()
    masks["core"][[n for n in range(SHAPE[0]) if n % 4]] = False
    volume = mrml.add_volume(voxels)
    segmentation = mrml.add_segmentation(volume, {"core": masks["core"]})
    known = logic.expected(volume, segmentation, labelsOn="all", outputSpacing=3.0)
    alone, fitted = logic.expected(volume, segmentation), logic.expected(volume, segmentation, keepModel=True)
    assert known.seconds < alone.seconds < fitted.seconds
    few = logic.expected(volume, segmentation, trustedSlices="segmented")
    assert few.seconds < logic.expected(volume, segmentation, trustedSlices="segmented", presence={}).seconds


@pytest.mark.slow
def test_the_real_worker_fills_labels(scene: Any) -> None:
    voxels, masks = moving()
    truth = masks["core"].copy()
    masks["core"][[n for n in range(SHAPE[0]) if n % 4]] = False
    volume = mrml.add_volume(voxels, mrml.ijk_to_ras(directions=mrml.rotation() @ np.diag([1.0, 1.0, -1.0])))
    segmentation = mrml.add_segmentation(volume, {"core": masks["core"]})
    before, progress = mrml.fingerprint(scene), []
    logic = TriplaneGaussianReconLogic(WorkerProcess(sys.executable))
    results = logic.reconstruct(volume, segmentation, device="cpu", progressCallback=progress.append)
    made = mrml.voxels_of_segment(results.segmentation, "core", volume)
    assert np.array_equal(made[::4], truth[::4]) and 2 * (made & truth).sum() / (made.sum() + truth.sum()) > 0.9
    certainty = slicer.util.arrayFromVolume(results.certainty)
    assert results.volume is None and certainty.shape == SHAPE and certainty[::4].min() == 1.0 > certainty.min() >= 0.0
    assert {message["stage"] for message in progress[1:]} == {"label completion"}
    report = reportIn(results.provenance.GetText())
    told = report and report.completion
    assert told is not None and told.slices.drawn == (0, 4, 8, 12) and told.next_slices
    assert set(told.next_slices) <= set(told.slices.filled)
    remove(results)
    assert mrml.fingerprint(scene) == before
    progress.clear()
    again = logic.reconstruct(volume, segmentation, device="cpu", progressCallback=progress.append)
    assert min(message["step"] for message in progress[1:] if message["step"]) >= 0.9 * progress[-1]["steps"]
    report = reportIn(again.provenance.GetText())
    told = report and report.completion
    assert told is not None and told.is_warm and not again.notes


def test_the_real_worker(scene: Any) -> None:
    voxels, masks = moving()
    volume = mrml.add_volume(voxels, mrml.ijk_to_ras(directions=mrml.rotation() @ np.diag([1.0, 1.0, -1.0])))
    segmentation = mrml.add_segmentation(volume, masks)
    before, progress = mrml.fingerprint(scene), []
    logic = TriplaneGaussianReconLogic(WorkerProcess(sys.executable))
    results = logic.reconstruct(volume, segmentation, trustedSlices="every:3", preset="paper-displaced", device="cpu",
                                keepModel=True, progressCallback=progress.append)
    after = mrml.fingerprint(scene)
    assert {name: after[name] for name in before} == before
    assert slicer.util.arrayFromVolume(results.volume).dtype == np.int16 and results.models[0].stat().st_size > 1000
    error = np.abs(slicer.util.arrayFromVolume(results.volume)[::3].astype(float) - voxels[::3])
    assert error.mean() < 100
    agree = mrml.voxels_of_segment(results.segmentation, "core", results.volume)[::3] == masks["core"][::3]
    assert agree.mean() > 0.95
    assert mrml.tags_of(results.segmentation, "rim") == mrml.tags_of(segmentation, "rim")
    assert progress[0]["event"] == "started" and progress[-1]["done"] > 0.3
    assert [path for path in temporary_files() if path != results.models[0].parent] == []
    _, _, told = results.provenance.GetText().partition("\n\n{")
    told_by_stand_in = reportOf("paper", 0, "k", [0, 3, 6, 9, 12], gridOf(volume))
    assert set(json.loads("{" + told)["reports"][0]) == {
        *told_by_stand_in.to_json(), "input_spacing_mm", "segments", "expected_error"}
    logic.undo(results)
    assert mrml.fingerprint(scene) == before
