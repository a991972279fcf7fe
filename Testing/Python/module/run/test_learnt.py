"""A run goes on from what the last one on the same input learnt about labels, and from nothing else."""
from __future__ import annotations

import json
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic

SHAPE = (9, 14, 16)


def drawn(*slices: int) -> np.ndarray:
    return mrml.drawn_on(SHAPE, slices)


def add_input(first: int = 0) -> tuple[Any, Any]:
    """A volume whose voxels count from `first`, and a segmentation with two segments on some of its slices."""
    volume = mrml.add_volume(np.arange(first, first + np.prod(SHAPE), dtype=np.int16).reshape(SHAPE))
    return volume, mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8), "cyst": drawn(4)})


def went_on(logic: TriplaneGaussianReconLogic, volume: Any, segmentation: Any, **arguments: Any) -> list[bool]:
    """Reconstruct; returns for each frame whether its labels went on from what was learnt before."""
    text = logic.reconstruct(volume, segmentation, **arguments).provenance.GetText()
    reports = json.loads("{" + text.partition("\n\n{")[2])["reports"]
    found = [report["label_completion"]["started_from_earlier_run"] for report in reports]
    assert ("Labels started from what the last run learnt" in text) == found[0]
    return found


def test_the_second_run_goes_on_from_the_first(logic: TriplaneGaussianReconLogic) -> None:
    volume, segmentation = add_input()
    cold = logic.expected(volume, segmentation).seconds
    assert went_on(logic, volume, segmentation) == [False]
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn(0, 2, 4, 8).astype(np.uint8), segmentation, "liver", volume)
    assert logic.expected(volume, segmentation).seconds < cold
    assert went_on(logic, volume, segmentation) == [True]


def test_deleting_the_results_does_not_matter(logic: TriplaneGaussianReconLogic) -> None:
    volume, segmentation = add_input()
    logic.undo(logic.reconstruct(volume, segmentation))
    assert went_on(logic, volume, segmentation) == [True]


@pytest.mark.parametrize("choices", [{"preset": "balanced"}, {"seed": 1}, {"segmentIDs": ["liver"]}])
def test_other_choices_start_anew(logic: TriplaneGaussianReconLogic, choices: dict[str, Any]) -> None:
    volume, segmentation = add_input()
    cold = logic.expected(volume, segmentation, **choices)
    logic.reconstruct(volume, segmentation)
    assert logic.expected(volume, segmentation, **choices) == cold
    assert went_on(logic, volume, segmentation, **choices) == [False]
    assert went_on(logic, volume, segmentation, **choices) == [True]
    assert went_on(logic, volume, segmentation) == [False]  # one is kept: that of the last run


def test_another_input_starts_anew_and_harms_nothing(logic: TriplaneGaussianReconLogic) -> None:
    one, other = add_input(), add_input(7)
    for expected in (False, True):
        assert [went_on(logic, *each) for each in (one, other, (one[0], other[1]))] == [[expected]] * 3


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_removed_takes_along_what_was_learnt(scene: Any, logic: TriplaneGaussianReconLogic, which: int) -> None:
    nodes = add_input()
    logic.reconstruct(*nodes)
    scene.RemoveNode(nodes[which])
    scene.AddNode(nodes[which])  # with the identifier that it had
    assert went_on(logic, *nodes) == [False]


def test_a_closed_scene_takes_along_what_was_learnt(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    nodes = add_input()
    identifiers = [node.GetID() for node in nodes]
    logic.reconstruct(*nodes)
    scene.Clear(False)
    nodes = add_input()
    assert [node.GetID() for node in nodes] == identifiers
    assert went_on(logic, *nodes) == [False]


def test_a_closed_module_knows_nothing_any_more(logic: TriplaneGaussianReconLogic) -> None:
    nodes = add_input()
    logic.reconstruct(*nodes)
    logic.cleanup()
    assert [went_on(logic, *nodes) for _ in range(2)] == [[False], [True]]


def test_each_frame_goes_on_from_itself(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, segmentation = add_input()
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "heart")
    for number in range(3):
        slicer.util.updateVolumeFromArray(volume, np.full(SHAPE, number, np.int16))
        sequence.SetDataNodeAtValue(volume, str(number))
    browser.AddProxyNode(volume, sequence, False)
    assert [went_on(logic, volume, segmentation) for _ in range(2)] == [[False] * 3, [True] * 3]
