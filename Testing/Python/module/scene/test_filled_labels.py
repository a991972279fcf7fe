"""What a run leaves where labels were drawn on some slices of a volume that is known on all."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
import stand_in_worker
import vtk
from stand_in_worker import outcome_of
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
from TriplaneGaussianReconModule.scene.report import reportIn
from TriplaneGaussianReconModule.scene.results import Results

from TriplaneGaussianReconLib.jobs.protocol import Job, Outcome

SHAPE = (13, 14, 16)


def drawn(*slices: int) -> np.ndarray:
    return mrml.drawn_on(SHAPE, slices)


def voxels() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def names_in_folder(results: Results) -> list[str]:
    """Of the nodes that lie in the folder of the results, in order."""
    hierarchy, children = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene), vtk.vtkIdList()
    hierarchy.GetItemChildren(results.folderItemID, children)
    return [hierarchy.GetItemDataNode(children.GetId(n)).GetName() for n in range(children.GetNumberOfIds())]


def test_where_labels_alone_are_filled_the_volume_is_not_copied(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(voxels(), name="CT")
    segmentation = mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8)}, "organs")
    before = mrml.fingerprint(scene)
    results = logic.reconstruct(volume, segmentation)
    after = mrml.fingerprint(scene)
    assert {name: after[name] for name in before} == before
    assert results.volume is None and results.confidence is None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert hierarchy.GetItemName(results.folderItemID).startswith("organs filled, Fast, ")
    assert names_in_folder(results) == ["organs filled", "CT reconstructed label certainty",
                                        "CT reconstructed slices", "CT reconstructed provenance"]
    assert np.array_equal(mrml.voxels_of_segment(results.segmentation, "liver", volume), drawn(*range(11)))
    logic.undo(results)
    assert mrml.fingerprint(scene) == before


def test_filled_labels_lie_where_the_volume_lies(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, transform = mrml.add_volume(voxels()), mrml.add_linear_transform(mrml.ijk_to_ras((1, 1, 1)))
    segmentation = mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8)})
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    results = logic.reconstruct(volume, segmentation)
    assert np.array_equal(mrml.voxels_of_segment(results.segmentation, "liver", volume), drawn(*range(11)))
    for corner in ((0, 0, 0), (15, 13, 12)):
        assert np.allclose(mrml.world_of_voxel(results.certainty, corner), mrml.world_of_voxel(volume, corner))


def test_a_copy_of_the_volume_is_made_if_it_is_wanted(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(voxels(), name="CT")
    segmentation = mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8)}, "organs")
    results = logic.reconstruct(volume, segmentation, copyVolume=True)
    assert np.array_equal(slicer.util.arrayFromVolume(results.volume), voxels())
    assert names_in_folder(results)[:4] == ["CT reconstructed", "CT reconstructed expected error",
                                            "organs reconstructed", "CT reconstructed label certainty"]


@pytest.mark.parametrize("arguments", [{"trustedSlices": "every:2"}, {"outputSpacing": 1.5}, {"keepModel": True}])
def test_an_image_that_is_filled_or_fitted_too_is_added(scene: Any, logic: TriplaneGaussianReconLogic,
                                                        arguments: dict[str, Any]) -> None:
    volume = mrml.add_volume(voxels())
    results = logic.reconstruct(volume, mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8)}), **arguments)
    assert results.volume is not None and results.certainty is not None
    assert results.certainty.GetSpacing() == results.volume.GetSpacing()


def test_certainty_is_shown_where_labels_are_in_doubt(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(voxels())
    certainty = logic.reconstruct(volume, mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8)})).certainty
    found, display = slicer.util.arrayFromVolume(certainty), certainty.GetDisplayNode()
    assert found.dtype == np.float32 and found[[0, 4, 8]].min() == 1.0 and found[2].max() < 1.0
    assert "Probability of the label of each voxel" in certainty.GetDescription()
    assert display.GetColorNode().GetName() == "Iron"
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.5, 1.0)
    assert (display.GetLowerThreshold(), display.GetUpperThreshold(), display.GetApplyThreshold()) == (0.0, 0.95, 1)


@pytest.mark.parametrize(("given", "filled"), [("drawn", (1, 2, 3, 5, 6, 7, 9, 10, 11)), ("drawn,2", (
    1, 3, 5, 6, 7, 9, 10, 11)), ([0, 8], (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12)), ("all", None)])
def test_which_slices_carry_labels_can_be_said(scene: Any, logic: TriplaneGaussianReconLogic, given: Any,
                                               filled: tuple[int, ...] | None) -> None:
    volume = mrml.add_volume(voxels())
    segmentation = mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8)})
    text = logic.reconstruct(volume, segmentation, labelsOn=given, copyVolume=True).provenance.GetText()
    report = reportIn(text)
    assert report is not None
    told = report.completion
    assert (told and told.slices.filled) == filled
    choices = json.loads("{" + text.partition("\n\n{")[2])["choices"]
    assert choices["labelsOn"] == ("0,8" if isinstance(given, list) else given) and choices["copyVolume"]
    assert ("Drawn slices that were hidden and filled: mean Dice 0.870" in text) == (filled is not None)


def test_notes_of_the_library_are_told_but_not_twice(scene: Any, logic: TriplaneGaussianReconLogic,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(job: Job, folder: Path) -> Outcome:
        outcome = outcome_of(job, folder)
        assert outcome.report.completion is not None
        notes = str(outcome.report.completion.slices), "The labels are learnt anew."
        return replace(outcome, report=replace(outcome.report, notes=notes))

    monkeypatch.setattr(stand_in_worker, "outcome_of", noted)
    volume = mrml.add_volume(voxels())
    results = logic.reconstruct(volume, mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8)}))
    assert results.notes == ("The labels are learnt anew.",)
    assert results.provenance.GetText().count("Labels are taken from 3 slices") == 2  # in words, and in the report


def test_a_text_that_somebody_has_edited_tells_nothing() -> None:
    for text in ("", "notes", "a\n\n{", 'a\n\n{"reports": []}', 'a\n\n{"reports": [7]}', 'a\n\n{"reports": [{}]}'):
        assert reportIn(text) is None


def test_table_tells_how_many_labels_are_in_doubt(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(voxels())
    table = logic.reconstruct(volume, mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8)})).scores
    names = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    assert names == ["Slice", "Position", "Used", "Labels in doubt"]  # of the image nothing was predicted
    assert table.GetColumnUnitLabel("Labels in doubt") == "voxels"
    doubt = slicer.util.arrayFromTableColumn(table, "Labels in doubt")
    assert doubt[[0, 4, 8, 12]].tolist() == [0, 0, 0, 0] and doubt[2] == pytest.approx(2 / 3 * 14 * 16, abs=0.05)
    assert "sum of 1 - certainty" in table.GetColumnDescription("Labels in doubt")


def test_table_tells_of_an_image_that_was_made_too(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(voxels())
    segmentation = mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8)})
    results = logic.reconstruct(volume, segmentation, trustedSlices="every:2")
    table = results.scores
    assert [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())][3:] == [
        "PSNR when hidden", "Expected error", "Labels in doubt"]
    assert "Expected error: " in results.provenance.GetText()


def test_nothing_is_told_of_the_error_of_an_image_that_is_known(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(voxels())
    results = logic.reconstruct(volume, mrml.add_segmentation(volume, {"liver": drawn(0, 4, 8)}), copyVolume=True)
    assert results.scores.GetColumnIndex("Expected error") < 0
    assert "Expected error: " not in results.provenance.GetText()


@pytest.mark.parametrize("shown", [0, 1])
def test_frames_that_were_drawn_wholly_have_certainty_too(scene: Any, logic: TriplaneGaussianReconLogic, shown: int
                                                          ) -> None:
    volume = mrml.add_volume(voxels(), name="heart")
    segmentation = mrml.add_segmentation(volume, {"a": drawn(0, 4, 8)}, "ventricle")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    for proxy, masks in ((volume, (None, None)), (segmentation, (drawn(0, 4, 8), drawn(*range(13))))):
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{proxy.GetName()} sequence")
        for number, mask in enumerate(masks):
            if mask is not None:
                slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), proxy, "a", volume)
            sequence.SetDataNodeAtValue(proxy, str(number))
        browser.AddProxyNode(proxy, sequence, False)
    browser.SetSelectedItemNumber(shown)
    mrml.remove_display_nodes_without_owner()
    results = logic.reconstruct(volume, segmentation)
    sequences = slicer.modules.sequences.logic()
    made = sequences.GetFirstBrowserNodeForProxyNode(results.certainty)
    for number, lowest in ((0, 1 / 3), (1, 1.0)):
        made.SetSelectedItemNumber(number)
        sequences.UpdateProxyNodesFromSequences(made)
        assert slicer.util.arrayFromVolume(results.certainty).min() == pytest.approx(lowest, rel=1e-5)
    assert results.volume is not None
    wholly = logic.reconstruct(volume, segmentation, labelsOn="all")
    assert wholly.certainty is None and len(wholly.sequences) == 4
