"""Sequences: what becomes of their frames, together or one alone."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from result_case import boxes, ramp, sequence_of
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic

from TriplaneGaussianReconLib.errors import InputError


def test_a_frame_can_be_reconstructed_alone(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    frames = [ramp() + 100 * n for n in range(3)]
    volume, _ = sequence_of(frames)
    shown = slicer.util.arrayFromVolume(volume).copy()
    results = logic.reconstruct(volume, trustedSlices="every:4", allFrames=False)
    assert results.sequences == () and results.scores.GetColumnIndex("Frame") < 0
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(results.volume)[::4], shown[::4])
    one, all_of_them = (logic.expected(volume, allFrames=which).seconds for which in (False, True))
    assert all_of_them == pytest.approx(3 * one)


def test_a_sequence_is_reconstructed_frame_by_frame(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    frames = [ramp() + 100 * n for n in range(3)]
    masks = [{"liver": np.roll(boxes()["liver"], n, axis=2)} for n in range(3)]
    volume, segmentation = sequence_of(frames, masks)
    before, progress = mrml.fingerprint(scene), []
    results = logic.reconstruct(volume, segmentation, trustedSlices="every:2", keepModel=True,
                                progressCallback=progress.append)
    after = mrml.fingerprint(scene)
    assert {name: after[name] for name in before} == before
    sequences = slicer.modules.sequences.logic()
    browser = sequences.GetFirstBrowserNodeForProxyNode(results.volume)
    for number, frame in enumerate(frames):
        browser.SetSelectedItemNumber(number)
        sequences.UpdateProxyNodesFromSequences(browser)
        assert np.array_equal(slicer.util.arrayFromVolume(results.volume)[::2], frame[::2])
        assert np.array_equal(mrml.voxels_of_segment(results.segmentation, "liver", results.volume),
                              masks[number]["liver"])
        assert slicer.util.arrayFromVolume(results.confidence).max() == 5.0
    assert browser.GetPlaybackRateFps() == 7.0 and browser.GetNumberOfItems() == 3
    source = browser.GetSequenceNode(results.volume)
    assert [source.GetNthIndexValue(n) for n in range(3)] == ["0", "40", "80"]
    assert (source.GetIndexName(), source.GetIndexUnit()) == ("time", "ms")
    assert results.volume.GetName() == "heart reconstructed" and len(results.models) == 3
    assert mrml.tags_of(results.segmentation, "liver") == mrml.tags_of(segmentation, "liver")
    assert results.segmentation.GetDisplayNode() is not None
    assert slicer.util.arrayFromTableColumn(results.scores, "Frame").tolist() == [n for n in range(3) for _ in range(9)]
    done = [message["done"] for message in progress if message["event"] == "progress"]
    assert np.allclose(done, [(n + 0.5) / 3 for n in range(3)]) and progress[-1]["frames"] == 3
    logic.undo(results)
    assert mrml.fingerprint(scene) == before and not list(Path(slicer.app.temporaryPath).iterdir())


def test_a_sequence_gives_all_frames_though_its_browser_was_removed(scene: Any,
                                                                    logic: TriplaneGaussianReconLogic) -> None:
    frames = [ramp() + 100 * n for n in range(3)]
    volume, _ = sequence_of(frames)
    sequences, left = slicer.modules.sequences.logic(), []
    given = sequences.GetFirstBrowserNodeForProxyNode(volume)
    left = [given, given.GetSequenceNode(volume)]

    def remove(message: dict[str, Any]) -> None:
        while left:
            scene.RemoveNode(left.pop(0))

    results = logic.reconstruct(volume, trustedSlices="every:2", progressCallback=remove)
    assert given.GetScene() is None and volume.GetScene() is scene
    browser = sequences.GetFirstBrowserNodeForProxyNode(results.volume)
    assert browser.GetNumberOfItems() == 3 and browser.GetPlaybackRateFps() == 7.0
    for number, frame in enumerate(frames):
        browser.SetSelectedItemNumber(number)
        sequences.UpdateProxyNodesFromSequences(browser)
        assert np.array_equal(slicer.util.arrayFromVolume(results.volume)[::2], frame[::2])


def test_one_segmentation_may_count_for_all_frames(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, _ = sequence_of([ramp(), ramp() + 5])
    segmentation = mrml.add_segmentation(volume, boxes())
    results = logic.reconstruct(volume, segmentation, trustedSlices="every:2")
    browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(results.segmentation)
    assert browser.GetSequenceNode(results.segmentation).GetNumberOfDataNodes() == 2


def test_a_cancelled_sequence_leaves_nothing(scene: Any) -> None:
    process = StandInWorkerProcess()
    logic = TriplaneGaussianReconLogic(process)
    volume, _ = sequence_of([ramp() + n for n in range(4)])
    before = mrml.fingerprint(scene)
    assert logic.reconstruct(volume, keepModel=True, progressCallback=lambda message: (
        logic.cancel() if message.get("frame") == 2 else None)) is None
    assert len(process.folders) == 3
    assert mrml.fingerprint(scene) == before and not list(Path(slicer.app.temporaryPath).iterdir())


def test_a_frame_that_cannot_be_reconstructed_is_named(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, segmentation = sequence_of([ramp(), ramp()], [{"a": boxes()["liver"]}, {"a": boxes()["liver"]}])
    browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(volume)
    browser.GetSequenceNode(segmentation).GetNthDataNode(1).GetSegmentation().RemoveSegment("a")
    before = mrml.fingerprint(scene)
    with pytest.raises(InputError, match=r"Frame 1 .*None of the chosen segments"):
        logic.reconstruct(volume, segmentation)
    assert mrml.fingerprint(scene) == before


def test_a_sequence_with_one_item_is_a_volume(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, _ = sequence_of([ramp()])
    results = logic.reconstruct(volume)
    assert slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(results.volume) is None
