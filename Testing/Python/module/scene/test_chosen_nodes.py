"""Results in nodes that the user has chosen: what they get, when, and what stays as it was."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from panel_case import shown_sequence
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
from TriplaneGaussianReconModule.scene import results as results_module
from TriplaneGaussianReconModule.scene.tidying import ROLE

from TriplaneGaussianReconLib.errors import InputError, ReconstructionError

SHAPE = (9, 14, 16)


@pytest.fixture
def given(scene: Any) -> tuple[Any, Any]:
    """A volume with its segmentation, under a transform."""
    volume = mrml.add_volume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), name="scan")
    segmentation = mrml.add_segmentation(volume, {"core": mrml.drawn_on(SHAPE, range(9))})
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevelMinMax(10.0, 900.0)
    matrix = np.eye(4)
    matrix[:3, 3] = 5.0, -7.0, 11.0
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(mrml.add_linear_transform(matrix).GetID())
    return volume, segmentation


@pytest.fixture
def chosen(given: tuple[Any, Any]) -> dict[str, Any]:
    """Nodes with another content, which lie elsewhere."""
    volume = mrml.add_volume(np.full((3, 4, 5), 7, np.uint8), np.eye(4), "mine")
    volume.CreateDefaultDisplayNodes()
    old = np.ones((3, 4, 5), bool)
    labels = mrml.add_segmentation(volume, {"old": old, "older": ~old}, "drawn")
    return {"outputVolume": volume, "outputSegmentation": labels}


def state(chosen: dict[str, Any]) -> list[Any]:
    """What the chosen nodes hold, how they are shown, and all nodes of the scene."""
    volume, labels = chosen.values()
    display, ids = volume.GetDisplayNode(), labels.GetSegmentation().GetSegmentIDs()
    return [slicer.util.arrayFromVolume(volume).tolist(), volume.GetOrigin(), volume.GetSpacing(),
            display.GetWindow(), display.GetLevel(), ids,
            [mrml.voxels_of_segment(labels, each, volume).tolist() for each in ids],
            [(node.GetName(), node.GetTransformNodeID(), node.GetDisplayNodeID()) for node in (volume, labels)],
            mrml.node_ids(slicer.mrmlScene)]


def test_they_get_what_new_nodes_would_get(given: tuple[Any, Any], logic: TriplaneGaussianReconLogic,
                                           chosen: dict[str, Any]) -> None:
    volume, labels = chosen.values()
    displays, heard = [node.GetDisplayNodeID() for node in (volume, labels)], []
    labels.AddObserver(slicer.vtkSegmentation.SegmentAdded, lambda caller, event: heard.append(event))
    new = logic.reconstruct(*given, trustedSlices="every:2", labelsOn="all")
    results = logic.reconstruct(*given, trustedSlices="every:2", labelsOn="all", **chosen)
    assert (results.volume, results.segmentation) == (volume, labels) == results.chosen
    assert np.array_equal(slicer.util.arrayFromVolume(volume), slicer.util.arrayFromVolume(new.volume))
    for get in ("GetOrigin", "GetSpacing", "GetTransformNodeID"):
        assert getattr(volume, get)() == getattr(new.volume, get)()
    assert labels.GetSegmentation().GetSegmentIDs() == ("core",) and len(heard) == 1
    assert np.array_equal(*(mrml.voxels_of_segment(node, "core", volume) for node in (labels, new.segmentation)))
    assert labels.GetTransformNodeID() == volume.GetTransformNodeID()
    assert (volume.GetName(), labels.GetName()) == ("mine", "drawn")
    assert [node.GetDisplayNodeID() for node in (volume, labels)] == displays
    assert volume.GetDisplayNode().GetWindow() == given[0].GetDisplayNode().GetWindow()
    assert labels.GetModifiedSinceRead() and volume.GetModifiedSinceRead()


def test_an_empty_new_node_is_shown_too(given: tuple[Any, Any], logic: TriplaneGaussianReconLogic) -> None:
    """As 'Create new ...' in a selector makes them."""
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "new")
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "new")
    logic.reconstruct(*given, outputVolume=volume, outputSegmentation=labels)
    assert volume.GetDisplayNode().GetWindow() == given[0].GetDisplayNode().GetWindow()
    assert labels.GetDisplayNode() is not None and labels.GetDisplayVisibility()


def test_one_of_them_may_be_new(given: tuple[Any, Any], logic: TriplaneGaussianReconLogic, chosen: dict[str, Any]
                                ) -> None:
    results = logic.reconstruct(*given, outputVolume=chosen["outputVolume"])
    assert results.volume is chosen["outputVolume"] and results.segmentation.GetName() == "Органы reconstructed"
    assert results.chosen == (results.volume,)


def cancelled(logic: TriplaneGaussianReconLogic, process: StandInWorkerProcess) -> dict[str, Any]:
    return {"progressCallback": lambda message: logic.cancel()}


def failed(logic: TriplaneGaussianReconLogic, process: StandInWorkerProcess) -> dict[str, Any]:
    process.failure = {"event": "failed", "kind": "memory", "message": "no more", "details": ""}
    return {}


@pytest.mark.parametrize("ends", [cancelled, failed])
def test_without_a_result_they_stay_as_they_were(given: tuple[Any, Any], logic: TriplaneGaussianReconLogic,
                                                 chosen: dict[str, Any], process: StandInWorkerProcess,
                                                 ends: Callable[..., dict[str, Any]]) -> None:
    before = state(chosen)
    try:
        assert logic.reconstruct(*given, **chosen, **ends(logic, process)) is None
    except ReconstructionError:
        assert ends is failed
    assert state(chosen) == before


@pytest.mark.parametrize("fails", ["_addSegmentation", "provenance", "_parentItem"])
def test_if_anything_fails_they_get_back_what_they_held(given: tuple[Any, Any], logic: TriplaneGaussianReconLogic,
                                                        chosen: dict[str, Any], fails: str,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(chosen)

    def fail(*arguments: Any) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(results_module, fails, fail)
    with pytest.raises(MemoryError):
        logic.reconstruct(*given, **chosen)
    assert state(chosen) == before


def test_a_node_that_is_removed_meanwhile_is_made_anew(given: tuple[Any, Any], logic: TriplaneGaussianReconLogic,
                                                       chosen: dict[str, Any]) -> None:
    def remove(message: Any) -> None:
        for node in chosen.values():
            slicer.mrmlScene.RemoveNode(node)

    results = logic.reconstruct(*given, **chosen, progressCallback=remove)
    assert results.volume.GetName() == "scan reconstructed" and not results.chosen
    assert results.segmentation.GetScene() is slicer.mrmlScene


@pytest.mark.parametrize("undone", ["folder", "logic"])
def test_they_stay_when_the_results_are_removed(given: tuple[Any, Any], logic: TriplaneGaussianReconLogic,
                                                chosen: dict[str, Any], undone: str) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parents = [hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in chosen.values()]
    before = mrml.node_ids(slicer.mrmlScene)
    results = logic.reconstruct(*given, **chosen)
    assert hierarchy.GetItemName(results.folderItemID).startswith("scan reconstructed, Fast, ")
    assert [hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in chosen.values()] == parents
    assert not any(node.GetAttribute(ROLE) for node in chosen.values())
    if undone == "folder":
        hierarchy.RemoveItem(results.folderItemID)
    else:
        logic.undo(results)
    assert mrml.node_ids(slicer.mrmlScene) == before
    assert all(node.GetDisplayNode() is not None for node in chosen.values())


def test_a_volume_that_is_chosen_gets_a_copy_where_labels_alone_are_filled(
        scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, mine = mrml.add_volume(np.ones(SHAPE, np.int16)), mrml.add_volume(np.zeros((2, 2, 2), np.int16))
    labels = mrml.add_segmentation(volume, {"core": mrml.drawn_on(SHAPE, (0, 4, 8))})
    assert logic.reconstruct(volume, labels).volume is None
    assert logic.reconstruct(volume, labels, outputVolume=mine).volume is mine
    assert slicer.util.arrayFromVolume(mine).shape == SHAPE


@pytest.mark.parametrize(("choices", "reason"), [
    (lambda volume, labels, mine: {"outputVolume": volume}, "'scan' is an input, which is never changed"),
    (lambda volume, labels, mine: {"outputSegmentation": labels}, "is an input, which is never changed"),
    (lambda volume, labels, mine: {"outputVolume": mine, "furtherVolumes": [mine]}, "'mine' is an input"),
    (lambda volume, labels, mine: {"outputSegmentation": mine}, "'mine' cannot take the output: it is a Volume."),
])
def test_what_cannot_take_them_is_refused(given: tuple[Any, Any], logic: TriplaneGaussianReconLogic,
                                          chosen: dict[str, Any], choices: Callable[..., dict[str, Any]], reason: str
                                          ) -> None:
    before = state(chosen)
    with pytest.raises(InputError, match=reason):
        logic.reconstruct(*given, **choices(*given, chosen["outputVolume"]))
    assert state(chosen) == before


def test_without_a_segmentation_none_is_taken(given: tuple[Any, Any], logic: TriplaneGaussianReconLogic,
                                              chosen: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="nothing would come into 'drawn'"):
        logic.reconstruct(given[0], **chosen)


def test_all_frames_of_a_sequence_become_new_nodes(scene: Any, logic: TriplaneGaussianReconLogic,
                                                   chosen: dict[str, Any]) -> None:
    volume, mine = shown_sequence(), chosen["outputVolume"]
    with pytest.raises(InputError, match="All frames of a sequence become a new sequence"):
        logic.reconstruct(volume, outputVolume=mine)
    assert logic.reconstruct(volume, outputVolume=mine, allFrames=False).volume is mine
