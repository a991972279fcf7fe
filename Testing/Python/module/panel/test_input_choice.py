"""Another volume: what was chosen for the former one is not meant for it."""
from __future__ import annotations

from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from panel_case import moving, read, wait_until
from TriplaneGaussianReconModule.run.parameters import LabelsOn, Trust
from TriplaneGaussianReconModule.scene.tidying import ROLE

FORMER = {"excludedSlices": "4", "emptySlices": "5", "sliceList": "0,4,8", "labelledSlices": "0,8",
          "trust": Trust.LIST, "labelsOn": LabelsOn.LIST, "omittedSegmentIDs": ["core"]}


def scan(name: str, shift: float = 0.0) -> tuple[Any, Any]:
    """A volume and its segmentation; shift: of both along x, mm."""
    matrix = mrml.ijk_to_ras()
    matrix[0, 3] += shift
    volume = mrml.add_volume(moving()[0], matrix, name)
    return volume, mrml.add_segmentation(volume, {"core": moving()[1]}, f"{name} drawn")


@pytest.fixture
def scans(widget: Any) -> tuple[Any, Any]:
    """Two scans elsewhere, the first chosen with everything that can be."""
    first, second = scan("first"), scan("second", 500.0)
    ui, parameters = widget.ui, widget.logic.getParameterNode()
    ui.inputVolume.setCurrentNode(first[0])
    for name, value in FORMER.items():
        setattr(parameters, name, value)
    for selector in (ui.region, ui.outputVolume, ui.outputSegmentation):
        selector.addNode()
    parameters.furtherVolumes = [mrml.add_volume(moving()[0], name="other")]
    return first, second


def test_the_next_scan_begins_anew_with_the_segmentation_that_was_drawn_on_it(widget: Any, scans: Any) -> None:
    (first, drawn), (second, drawn_on_second) = scans
    parameters = widget.logic.getParameterNode()
    assert (parameters.inputVolume, parameters.segmentation) == (first, drawn)
    widget.ui.inputVolume.setCurrentNode(second)
    assert (parameters.inputVolume, parameters.segmentation) == (second, drawn_on_second)
    assert [getattr(parameters, name) for name in FORMER] == ["", "", "", "", Trust.ALL, LabelsOn.DRAWN, []]
    assert [parameters.region, parameters.outputVolume, parameters.outputSegmentation] == [None, None, None]
    assert parameters.furtherVolumes == [] and widget.ui.excludedSlices.text == ""
    assert widget.ui.segmentation.currentNode() is drawn_on_second and not widget.ui.segmentationNote.visible


def test_what_a_script_chooses_stays(widget: Any, scans: Any) -> None:
    parameters, second = widget.logic.getParameterNode(), scans[1][0]
    parameters.inputVolume = second
    parameters.Modified()  # a value that another wrapper of the node has set may reach the widgets one step later
    assert widget.ui.inputVolume.currentNode() is second
    assert parameters.excludedSlices == "4" and parameters.outputVolume is not None


def test_volumes_of_the_same_body_stay_together(widget: Any, scans: Any) -> None:
    parameters, (first, _), (second, _) = widget.logic.getParameterNode(), *scans
    parameters.furtherVolumes = [second, first]
    widget.ui.inputVolume.setCurrentNode(second)
    assert parameters.furtherVolumes == [second, first]


def test_without_a_segmentation_of_its_own_it_has_none(widget: Any, scans: Any) -> None:
    bare = mrml.add_volume(moving()[0], name="bare")
    result = scan("result")[1]
    result.SetNodeReferenceID(result.GetReferenceImageGeometryReferenceRole(), bare.GetID())
    result.SetAttribute(ROLE, "segmentation")  # as a run leaves it
    widget.ui.inputVolume.setCurrentNode(bare)
    assert widget.logic.getParameterNode().segmentation is None


def test_one_beside_it_belongs_to_it_where_nothing_tells_more(widget: Any, scans: Any) -> None:
    volume, drawn = scan("loaded")
    drawn.SetNodeReferenceID(drawn.GetReferenceImageGeometryReferenceRole(), None)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    widget.ui.inputVolume.setCurrentNode(volume)
    assert widget.logic.getParameterNode().segmentation is None
    for node in (volume, drawn):
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)
    widget.ui.inputVolume.setCurrentNode(scans[0][0])
    widget.ui.inputVolume.setCurrentNode(volume)
    assert widget.logic.getParameterNode().segmentation is drawn


def test_of_several_that_were_drawn_on_it_the_chosen_one_stays(widget: Any) -> None:
    volume, _ = scan("first")
    chosen = mrml.add_segmentation(volume, {"core": moving()[1]}, "another")
    widget.ui.segmentation.setCurrentNode(chosen)
    widget.ui.inputVolume.setCurrentNode(volume)
    assert widget.logic.getParameterNode().segmentation is chosen


def test_a_segmentation_on_other_voxels_is_pointed_out(widget: Any) -> None:
    volume = mrml.add_volume(moving()[0], name="thick")
    matrix = mrml.ijk_to_ras((0.7, 0.9, 1.5))
    thin = mrml.add_volume(np.repeat(moving()[0], 2, axis=0), matrix, "thin")
    drawn = mrml.add_segmentation(thin, {"core": np.repeat(moving()[1], 2, axis=0)})
    widget.ui.inputVolume.setCurrentNode(volume)
    assert not widget.ui.segmentationNote.visible
    widget.ui.segmentation.setCurrentNode(drawn)
    note = widget.ui.segmentationNote
    assert note.visible and note.text == "Drawn on 'thin', not on this volume: it is resampled."
    drawn.SetNodeReferenceID(drawn.GetReferenceImageGeometryReferenceRole(), None)
    widget.panel.update()
    assert note.text == "Lies on other voxels than this volume: it is resampled."
    assert widget.ui.reconstructButton.enabled


def test_a_segmentation_elsewhere_is_refused_before_the_run(widget: Any, scans: Any) -> None:
    parameters = widget.logic.getParameterNode()
    widget.ui.inputVolume.setCurrentNode(scans[0][0])
    parameters.outputVolume = parameters.outputSegmentation = parameters.region = None
    parameters.furtherVolumes, parameters.omittedSegmentIDs = [], []
    parameters.trust, parameters.labelsOn = Trust.ALL, LabelsOn.DRAWN
    widget.ui.segmentation.setCurrentNode(scans[1][1])
    wait_until(lambda: not widget.ui.reconstructButton.enabled, 10.0)
    told = "None of the chosen segments of 'second drawn' has a voxel in the volume."
    assert read(widget.ui.segmentationNote).startswith(told)
    assert widget.ui.reconstructButton.toolTip.startswith(told)
