"""What a run leaves in the scene: nodes, how they look, where they lie, and that they go away as one."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import qt
import slicer
import vtk
from repository import ROOT
from result_case import SHAPE, boxes, ramp, sequence_of
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
from TriplaneGaussianReconModule.scene import results as results_module
from TriplaneGaussianReconModule.scene.nodes import imageOf
from TriplaneGaussianReconModule.scene.surfaces import CLOSED_SURFACE
from TriplaneGaussianReconModule.scene.tidying import ROLE


def hierarchy_of(scene: Any) -> Any:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


@pytest.mark.parametrize("scalars", [vtk.VTK_CHAR, vtk.VTK_SIGNED_CHAR, vtk.VTK_UNSIGNED_CHAR, vtk.VTK_SHORT,
                                     vtk.VTK_UNSIGNED_SHORT, vtk.VTK_INT, vtk.VTK_LONG, vtk.VTK_LONG_LONG,
                                     vtk.VTK_FLOAT, vtk.VTK_DOUBLE])
def test_scalar_type_is_that_of_the_input(scene: Any, logic: TriplaneGaussianReconLogic, scalars: int) -> None:
    image = vtk.vtkImageData()
    image.SetDimensions(SHAPE[::-1])
    image.AllocateScalars(scalars, 1)
    vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(SHAPE)[:] = ramp()
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    volume.SetAndObserveImageData(image)
    results = logic.reconstruct(volume, trustedSlices="every:2")
    assert results.volume.GetImageData().GetScalarType() == scalars
    assert results.confidence.GetImageData().GetScalarType() == vtk.VTK_FLOAT
    assert np.array_equal(slicer.util.arrayFromVolume(results.volume), ramp())


def test_volume_looks_as_the_input_does(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(ramp())
    shown = volume.GetDisplayNode()
    shown.SetAutoWindowLevel(False)
    shown.SetWindowLevel(17.0, 5.0)
    shown.SetAndObserveColorNodeID("vtkMRMLColorTableNodeRainbow")
    shown.SetThreshold(3.0, 40.0)
    shown.SetApplyThreshold(True)
    shown.SetInterpolate(False)
    display = logic.reconstruct(volume).volume.GetDisplayNode()
    assert display is not shown and not display.GetAutoWindowLevel()
    assert (display.GetWindow(), display.GetLevel()) == (17.0, 5.0)
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeRainbow"
    assert (display.GetLowerThreshold(), display.GetApplyThreshold(), display.GetInterpolate()) == (3.0, 1, 0)


def test_an_input_that_was_never_shown_gives_results_that_can_be(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, segmentation = mrml.add_volume(ramp()), None
    scene.RemoveNode(volume.GetDisplayNode())
    segmentation = mrml.add_segmentation(volume, boxes())
    scene.RemoveNode(segmentation.GetDisplayNode())
    results = logic.reconstruct(volume, segmentation)
    assert results.volume.GetDisplayNode() is not None and results.segmentation.GetDisplayNode() is not None


def test_expected_error_is_in_colour_and_says_its_unit(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, unit = mrml.add_volume(ramp(), name="CT"), slicer.vtkCodedEntry()
    unit.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    volume.SetVoxelValueUnits(unit)
    assert imageOf(volume).unit == "HU" and not imageOf(mrml.add_volume(ramp())).unit
    results = logic.reconstruct(volume, trustedSlices="every:4")
    assert results.confidence.GetDescription() == ("Expected absolute error of each voxel, in the units of 'CT' "
                                                   "(Hounsfield unit).")
    for node in (results.volume, results.confidence):
        assert node.GetVoxelValueUnits().GetCodeValue() == "[hnsf'U]"
    display = results.confidence.GetDisplayNode()
    assert display.GetColorNode().GetName() == "Yellow"
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 5.0)


def test_figures_of_voxels_are_those_that_the_worker_found(scene: Any) -> None:
    """Nobody looks at all voxels in the application: neither for the table, nor for colours, nor for their range."""
    class Telling(StandInWorkerProcess):
        def _tell(self, receiver: Any, message: Any) -> None:
            path = self.folders[-1] / "outcome.json"
            told = json.loads(path.read_text())
            told["statistics"]["confidence"] = {"high": 7.5, "means": [[each + 0.25 for each in range(size)]
                                                                       for size in SHAPE]}
            path.write_text(json.dumps(told))
            super()._tell(receiver, message)

    volume = mrml.add_volume(ramp(), mrml.ijk_to_ras((1.0, 1.0, 3.0)))
    results = TriplaneGaussianReconLogic(Telling()).reconstruct(volume, trustedSlices="every:2")
    assert slicer.util.arrayFromTableColumn(results.scores, "Expected error").tolist() == [n + 0.25 for n in range(9)]
    assert results.confidence.GetDisplayNode().GetWindowLevelMax() == 7.5
    for node in (results.volume, results.confidence):
        scalars = node.GetImageData().GetPointData().GetScalars()
        assert not scalars.GetInformation().Has(vtk.vtkAbstractArray.PER_COMPONENT())


def test_segments_keep_all_that_describes_them(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(ramp())
    segmentation = mrml.add_segmentation(volume, boxes())
    shown = segmentation.GetDisplayNode()
    shown.SetSegmentVisibility("liver", False)
    shown.SetSegmentOpacity3D("vessel", 0.3)
    shown.SetSegmentOpacity2DFill("vessel", 0.2)
    shown.SetOpacity(0.7)
    segmentation.GetSegmentation().SetConversionParameter("Smoothing factor", "0.25")
    results = logic.reconstruct(volume, segmentation)
    found, display = results.segmentation, results.segmentation.GetDisplayNode()
    assert found.GetSegmentation().GetSegmentIDs() == ("liver", "vessel")
    for name in boxes():
        assert mrml.tags_of(found, name) == mrml.tags_of(segmentation, name)
    assert not display.GetSegmentVisibility("liver") and display.GetSegmentVisibility("vessel")
    assert display.GetSegmentOpacity3D("vessel") == 0.3 and display.GetSegmentOpacity2DFill("vessel") == 0.2
    assert display.GetOpacity() == 0.7
    assert found.GetSegmentation().GetConversionParameter("Smoothing factor") == "0.25"


def test_surfaces_are_made_when_asked_for(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(ramp(), mrml.ijk_to_ras((1, 1, 2)))
    found = logic.reconstruct(volume, mrml.add_segmentation(volume, boxes())).segmentation
    assert not found.GetSegmentation().ContainsRepresentation(CLOSED_SURFACE)
    assert found.GetDisplayNode().GetPreferredDisplayRepresentationName3D() == CLOSED_SURFACE
    assert found.CreateClosedSurfaceRepresentation()
    surface, mass, triangles = vtk.vtkPolyData(), vtk.vtkMassProperties(), vtk.vtkTriangleFilter()
    found.GetClosedSurfaceRepresentation("liver", surface)
    triangles.SetInputData(surface)
    mass.SetInputConnection(triangles.GetOutputPort())
    assert mass.GetVolume() == pytest.approx(17 * 6 * 8, rel=0.25)


def test_segments_can_be_edited_one_by_one_although_they_share_a_label_map(scene: Any,
                                                                          logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(ramp())
    masks = {"a": boxes()["liver"], "b": ~boxes()["liver"]}
    results = logic.reconstruct(volume, mrml.add_segmentation(volume, masks), trustedSlices="every:2")
    assert results.segmentation.GetSegmentation().GetNumberOfLayers() == 1
    smaller = masks["a"].copy()
    smaller[4:] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(smaller.view(np.uint8), results.segmentation, "a", results.volume)
    for name, mask in (("a", smaller), ("b", masks["b"])):
        assert np.array_equal(mrml.voxels_of_segment(results.segmentation, name, results.volume), mask)


def test_three_hundred_segments_do_not_wrap_around(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, masks = mrml.add_volume(np.zeros((3, 20, 20), np.int16) + np.arange(20, dtype=np.int16)), {}
    node = mrml.add_segmentation(volume, {})
    labels = np.broadcast_to(np.arange(1, 301).reshape(15, 20), (3, 15, 20))
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(20, 15, 3)
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())[:] = labels.ravel()
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    for value in range(1, 301):
        segment = slicer.vtkSegment()
        segment.SetName(f"segment {value}")
        segment.SetLabelValue(value)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment, f"s{value}")
        masks[f"s{value}"] = np.pad(labels == value, ((0, 0), (0, 5), (0, 0)))
    found = logic.reconstruct(volume, node, trustedSlices="0,2").segmentation
    assert found.GetSegmentation().GetNumberOfSegments() == 300
    for name in ("s1", "s255", "s256", "s257", "s300"):
        assert np.array_equal(mrml.voxels_of_segment(found, name, volume), masks[name])


def test_all_lies_in_one_folder_beside_the_input(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume, hierarchy = mrml.add_volume(ramp(), name="CT"), hierarchy_of(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    results = logic.reconstruct(volume, mrml.add_segmentation(volume, boxes(), "organs"))
    assert hierarchy.GetItemParent(results.folderItemID) == study
    children = vtk.vtkIdList()
    hierarchy.GetItemChildren(results.folderItemID, children)
    nodes = [hierarchy.GetItemDataNode(children.GetId(n)) for n in range(children.GetNumberOfIds())]
    assert nodes == [results.volume, results.confidence, results.segmentation, results.scores, results.provenance]
    assert [node.GetName() for node in nodes] == [
        "CT reconstructed", "CT reconstructed expected error", "organs reconstructed", "CT reconstructed slices",
        "CT reconstructed provenance"]


@pytest.mark.parametrize(("preset", "quality"), [("fast", "Fast"), ("balanced", "Better"), ("best", "Best"),
                                                 ("paper", "paper")])
def test_the_folder_says_what_was_done_how_well_and_when(scene: Any, logic: TriplaneGaussianReconLogic, preset: str,
                                                         quality: str) -> None:
    before = datetime.now().replace(microsecond=0)
    results = logic.reconstruct(mrml.add_volume(ramp(), name="CT"), preset=preset)
    name = hierarchy_of(scene).GetItemName(results.folderItemID)
    told = re.fullmatch(rf"CT reconstructed, {quality}, (\d\d:\d\d:\d\d)", name)
    assert told is not None
    passed = datetime.strptime(told[1], "%H:%M:%S") - datetime.strptime(f"{before:%H:%M:%S}", "%H:%M:%S")
    assert passed % timedelta(days=1) < timedelta(minutes=1)


def test_names_are_unique_and_letters_of_all_scripts_are_kept(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(ramp(), name="Schädel γ 頭")
    names = [node.GetName() for _ in range(3) for node in (logic.reconstruct(volume),) for node in (
        node.volume, node.confidence, node.scores, node.provenance)]
    assert len(set(names)) == 12 and names[0] == "Schädel γ 頭 reconstructed"
    assert all(name.startswith("Schädel γ 頭 reconstructed") for name in names)


def test_deleting_the_folder_removes_everything(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(ramp())
    segmentation = mrml.add_segmentation(volume, boxes())
    before = mrml.fingerprint(scene)
    results = logic.reconstruct(volume, segmentation)
    for node in (results.volume, results.segmentation):
        node.AddDefaultStorageNode()
    hierarchy_of(scene).RemoveItem(results.folderItemID)  # as the Data module does
    assert mrml.fingerprint(scene) == before and hierarchy_of(scene).GetNumberOfItems() == 2


@pytest.mark.parametrize("what", ["folder", "node"])
@pytest.mark.parametrize("state", ["saved", "reloaded"])
def test_a_saved_result_is_deleted_while_a_view_shows_its_segmentation(state: str, what: str) -> None:
    """In a program of its own, since what is wrong here crashes Slicer; see `deleted_result`."""
    program = ROOT / "Testing" / "Python" / "support" / "deleted_result.py"
    done = subprocess.run([sys.executable, str(program), state, what], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'TriplaneGaussianRecon'}"})
    assert done.returncode == 0, done.stderr[:2000]


def test_a_segment_that_is_removed_meanwhile_keeps_name_and_colour(scene: Any, logic: TriplaneGaussianReconLogic
                                                                   ) -> None:
    volume = mrml.add_volume(ramp())
    segmentation = mrml.add_segmentation(volume, boxes())
    given = segmentation.GetSegmentation().GetSegment("liver")
    name, colour = given.GetName(), given.GetColor()
    results = logic.reconstruct(volume, segmentation, progressCallback=lambda message: (
        segmentation.GetSegmentation().RemoveSegment("liver")))
    found = results.segmentation.GetSegmentation().GetSegment("liver")
    assert (found.GetName(), found.GetColor()) == (name, pytest.approx(colour)) and name
    assert "modified while it was being reconstructed" in results.notes[0]


def test_one_of_two_results_can_be_taken_back(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    volume = mrml.add_volume(ramp())
    first, second = logic.reconstruct(volume), logic.reconstruct(volume)
    logic.undo(first)
    assert second.volume.GetScene() is scene and first.volume.GetScene() is None
    assert np.array_equal(slicer.util.arrayFromVolume(second.volume)[0], ramp()[0])


@pytest.mark.parametrize("isThere", [True, False])
@pytest.mark.parametrize("frames", [1, 2])
def test_what_was_moved_out_of_the_folder_is_taken_back_too(scene: Any, logic: TriplaneGaussianReconLogic,
                                                            frames: int, isThere: bool,
                                                            capfd: pytest.CaptureFixture[str]) -> None:
    """Whether the folder is still there or not."""
    volume = sequence_of([ramp() + n for n in range(frames)])[0] if frames > 1 else mrml.add_volume(ramp())
    segmentation, hierarchy = mrml.add_segmentation(volume, boxes()), hierarchy_of(scene)
    before, items = mrml.fingerprint(scene), hierarchy.GetNumberOfItems()
    results = logic.reconstruct(volume, segmentation)
    moved = [results.confidence, results.segmentation]
    if not isThere:
        moved += [*results.sequences, results.volume, results.scores, results.provenance]
    for node in moved:
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), hierarchy.GetSceneItemID())
    if not isThere:
        hierarchy.RemoveItem(results.folderItemID)
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_WARNING)
    logic.undo(results)
    assert mrml.fingerprint(scene) == before and hierarchy.GetNumberOfItems() == items
    assert "ERR|" not in capfd.readouterr().err


@pytest.mark.parametrize("fails", ["_addVolume", "_showInColour", "_addSegmentation", "provenance", "_parentItem"])
def test_if_anything_fails_nothing_is_left(scene: Any, logic: TriplaneGaussianReconLogic, fails: str,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    volume = mrml.add_volume(ramp())
    segmentation = mrml.add_segmentation(volume, boxes())
    before = mrml.fingerprint(scene)

    def fail(*arguments: Any) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(results_module, fails, fail)
    with pytest.raises(MemoryError):
        logic.reconstruct(volume, segmentation, keepModel=True)
    assert mrml.fingerprint(scene) == before and hierarchy_of(scene).GetNumberOfItems() == 2
    assert not list(Path(slicer.app.temporaryPath).iterdir())


def test_results_survive_saving_and_loading_the_scene(scene: Any, logic: TriplaneGaussianReconLogic, tmp_path: Path
                                                      ) -> None:
    volume = mrml.add_volume(ramp())
    transform = mrml.add_linear_transform(mrml.ijk_to_ras((1, 1, 1)))
    segmentation = mrml.add_segmentation(volume, boxes())
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    results = logic.reconstruct(volume, segmentation)
    for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
        if node.GetStorageNode() is None and not node.GetHideFromEditors():
            node.AddDefaultStorageNode()
    path = tmp_path / "scene.mrb"
    scene.SetRootDirectory(str(tmp_path))
    assert scene.WriteToMRB(str(path))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    loaded, logics = mrml.new_scene()
    loaded.SetURL(str(next((tmp_path / "unpacked").rglob("*.mrml"))))
    assert loaded.Import(None) and logics
    by_role = {node.GetAttribute(ROLE): node for node in (
        loaded.GetNthNode(n) for n in range(loaded.GetNumberOfNodes())) if node.GetAttribute(ROLE)}
    assert set(by_role) == {"volume", "confidence", "segmentation", "scores", "provenance"}
    given, got = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    results.volume.GetIJKToRASMatrix(given)
    by_role["volume"].GetIJKToRASMatrix(got)
    assert np.allclose(slicer.util.arrayFromVTKMatrix(got), slicer.util.arrayFromVTKMatrix(given), rtol=0, atol=1e-9)
    assert np.array_equal(slicer.util.arrayFromVolume(by_role["volume"]), slicer.util.arrayFromVolume(results.volume))
    assert by_role["volume"].GetParentTransformNode().GetName() == "linear"
    assert by_role["volume"].GetName() == results.volume.GetName()
    assert by_role["confidence"].GetDescription() == results.confidence.GetDescription()
    assert by_role["provenance"].GetText() == results.provenance.GetText()
    assert by_role["scores"].GetNumberOfRows() == results.scores.GetNumberOfRows()
    for name in boxes():
        assert mrml.tags_of(by_role["segmentation"], name) == mrml.tags_of(segmentation, name)
        assert np.array_equal(mrml.voxels_of_segment(results.segmentation, name, results.volume), voxels_in(
            loaded, logics, by_role["segmentation"], name, by_role["volume"]))
    hierarchy = hierarchy_of(loaded)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(by_role["volume"]))
    assert hierarchy.GetItemName(folder).startswith(f"{results.volume.GetName()}, Fast, ")


def voxels_in(scene: Any, logics: dict[str, Any], segmentation: Any, name: str, volume: Any) -> np.ndarray:
    """[k, j, i] bool of a segment in another scene than the application's."""
    ids, labels = vtk.vtkStringArray(), scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    ids.InsertNextValue(name)
    assert logics["segmentations"].ExportSegmentsToLabelmapNode(segmentation, ids, labels, volume)
    return slicer.util.arrayFromVolume(labels) > 0


def test_the_scene_can_be_drawn_in_while_results_are_prepared(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    """Nothing is in the scene before all is, and what others add meanwhile stays."""
    volume, done, seen = mrml.add_volume(ramp()), [], []
    segmentation = mrml.add_segmentation(volume, boxes())
    logic.reconstruct(volume, segmentation, waitForCompletion=False,
                      completedCallback=lambda *ended: done.append(ended))
    while not done:
        seen.append(scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode"))
        qt.QCoreApplication.processEvents()
        if len(seen) == 2:
            mrml.add_volume(ramp(), name="mine")
    assert seen[:2] == [1, 1] and set(seen[2:]) == {2}
    logic.undo(done[0][0])
    assert slicer.util.getNode("mine").GetScene() is scene
