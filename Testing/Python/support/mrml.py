"""A real MRML scene for tests, from PyPI's `slicer-core`, and volumes and segmentations in it.

Stand-ins: `slicer.app` (nothing but a folder for temporary files), the list `slicer.modules`, and what makes and
removes the items of the subject hierarchy.  All nodes, logics and `slicer.util` are Slicer's own.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
import slicer_stand_ins
import vtk

from TriplaneGaussianReconLib.data.images import Image, Segmentation

slicer_stand_ins.install()

_LOGICS = {"terminologies": "vtkSlicerTerminologiesModuleLogic", "segmentations": "vtkSlicerSegmentationsModuleLogic",
           "volumes": "vtkSlicerVolumesLogic", "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
           "tables": "vtkSlicerTablesLogic", "transforms": "vtkSlicerTransformLogic",
           "sequences": "vtkSlicerSequencesLogic"}
TERMINOLOGY = ("Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~"
               "SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^")


def new_scene() -> tuple[slicer.vtkMRMLScene, dict[str, Any]]:
    """Make a scene in which the nodes of all modules that matter here are known, and the logics that see to that."""
    scene, application = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    application.GetColorLogic().AddDefaultColorNodes()
    logics = {"application": application}
    for name, kind in _LOGICS.items():
        logics[name] = getattr(slicer, kind)()
        logics[name].SetMRMLApplicationLogic(application)  # before the scene, which registers the module's nodes
        logics[name].SetMRMLScene(scene)
    return scene, logics


class StandInSubjectHierarchyPluginLogic:
    """Makes an item of the subject hierarchy for each data node, and removes it with the node.

    Looked up in Slicer, Modules/Loadable/SubjectHierarchy/Widgets/qSlicerSubjectHierarchyPluginLogic.cxx, onNodeAdded
    and onNodeAboutToBeRemoved; there plugins say for which nodes, here it is a list.
    """

    WITH_ITEM = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTableNode", "vtkMRMLTextNode",
                 "vtkMRMLTransformNode")

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, self._onNodeAdded)
        scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAdded(self, scene: slicer.vtkMRMLScene, event: str, node: slicer.vtkMRMLNode) -> None:
        if not scene.IsImporting() and not node.GetHideFromEditors() and any(node.IsA(kind) for kind in self.WITH_ITEM):
            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, scene: slicer.vtkMRMLScene, event: str, node: slicer.vtkMRMLNode) -> None:
        if scene is not None and not scene.IsClosing() and not node.IsA("vtkMRMLSubjectHierarchyNode"):
            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
            item = hierarchy.GetItemByDataNode(node)
            if item:
                hierarchy.RemoveItem(item, False, False)


@contextmanager
def opened_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[slicer.vtkMRMLScene]:
    """A new scene as `slicer.mrmlScene`, with `slicer.modules` and a `slicer.app` that stand in for the application."""
    previous = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)  # colour and terminology files are not in the wheel
    scene, logics = new_scene()
    StandInSubjectHierarchyPluginLogic(scene)
    temporary = tmp_path / "temporary files"
    temporary.mkdir()
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    monkeypatch.setattr(slicer, "app", SimpleNamespace(temporaryPath=str(temporary)), raising=False)
    monkeypatch.setattr(slicer, "modules", SimpleNamespace(**{
        name: SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()}), raising=False)
    yield scene
    scene.Clear(True)
    vtk.vtkLogger.SetStderrVerbosity(previous)


def rotation(a: float = 25.0, b: float = -15.0) -> np.ndarray:
    """(3, 3) rotation about two axes, degrees."""
    a, b = np.deg2rad(a), np.deg2rad(b)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return about_z @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])


def ijk_to_ras(spacing: Sequence[float] = (0.7, 0.9, 3.0), origin: Sequence[float] = (-31.5, 12.25, 104.0),
               directions: np.ndarray | None = None) -> np.ndarray:
    """(4, 4) matrix of an oblique volume; mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = (rotation() if directions is None else directions) * spacing
    matrix[:3, 3] = origin
    return matrix


def add_volume(voxels: np.ndarray, matrix: np.ndarray | None = None, name: str = "Schädel γ 頭") -> Any:
    """Add a scalar volume of `voxels` [k, j, i]."""
    return slicer.util.addVolumeFromArray(voxels, ijk_to_ras() if matrix is None else matrix, name)


def add_segmentation(volume: Any, masks: Mapping[str, np.ndarray], name: str = "Органы") -> Any:
    """Add a segmentation with a segment for each of `masks` (id -> [k, j, i] bool) on the voxels of `volume`."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for number, (identifier, mask) in enumerate(masks.items()):
        segment = slicer.vtkSegment()
        segment.SetName(f"肝臓 é {identifier}")
        segment.SetColor(0.1 + 0.8 * number / len(masks), 0.5, 0.25)
        segment.SetTag("TerminologyEntry", TERMINOLOGY)
        segment.SetTag("custom", f"kept {number}")
        node.GetSegmentation().AddSegment(segment, identifier)
        if mask.any():
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, identifier, volume)
    remove_display_nodes_without_owner()
    return node


def drawn_on(shape: Sequence[int], slices: Sequence[int]) -> np.ndarray:
    """A box [k, j, i] of a mask of this shape, on some slices."""
    mask = np.zeros(tuple(shape), bool)
    mask[list(slices), 3:9, 4:12] = True
    return mask


def remove_display_nodes_without_owner() -> None:
    """`slicer.util` leaves the display nodes of its temporary label maps behind; do away with them."""
    for node in slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeDisplayNode"):
        slicer.mrmlScene.RemoveNode(node)


def voxels_of_segment(segmentation: Any, identifier: str, volume: Any) -> np.ndarray:
    """[k, j, i] bool on the voxels of `volume`, as Slicer itself exports a segment."""
    found = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identifier, volume) > 0
    remove_display_nodes_without_owner()
    return found


def tags_of(segmentation: Any, identifier: str) -> tuple[Any, ...]:
    """Name, colour, terminology and an own tag of a segment."""
    segment, tags = segmentation.GetSegmentation().GetSegment(identifier), []
    for tag in ("TerminologyEntry", "custom"):
        value = vtk.reference("")
        tags.append(str(value) if segment.GetTag(tag, value) else None)
    return segment.GetName(), tuple(np.round(segment.GetColor(), 6)), *tags


def node_ids(scene: Any) -> list[str]:
    """All nodes of a scene, in order."""
    return [scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())]


def fingerprint(scene: Any) -> dict[str, tuple[Any, ...]]:
    """What would tell that anything in a scene has changed: its nodes, when they were modified, and their data."""
    return {node.GetID(): (node.GetMTime(), _data_of(node)) for node in (
        scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes()))
        if not node.IsA("vtkMRMLSubjectHierarchyNode")}


def _data_of(node: Any) -> tuple[Any, ...]:
    if node.IsA("vtkMRMLVolumeNode") and node.GetImageData():
        voxels = slicer.util.arrayFromVolume(node)
        return node.GetImageData().GetMTime(), hashlib.sha256(voxels.tobytes()).hexdigest()
    if node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        segments = [segmentation.GetSegment(name) for name in segmentation.GetSegmentIDs()]
        kinds = [tuple(_names(segment)) for segment in segments]
        return (segmentation.GetMTime(), segmentation.GetSourceRepresentationName(), kinds,
                [segment.GetRepresentation(kind).GetMTime() for segment, names in zip(segments, kinds, strict=True)
                 for kind in names])
    return ()


def _names(segment: Any) -> list[str]:
    names: list[str] = []
    segment.GetContainedRepresentationNames(names)
    return names


def masks_of(segmentation: Segmentation) -> dict[str, np.ndarray]:
    """Segment id -> [k, j, i] bool."""
    return {segmentation.segments[number].identifier: mask for number, mask in segmentation.masks()}


def world_of_voxel(volume: Any, ijk: Sequence[float]) -> np.ndarray:
    """(3,) mm RAS, under the volume's parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    local, world = matrix.MultiplyPoint([*ijk, 1.0])[:3], [0.0] * 3
    volume.TransformPointToWorld(local, world)
    return np.array(world)


def add_linear_transform(matrix: np.ndarray) -> Any:
    """Add a linear transform node."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "linear")
    slicer.util.updateTransformMatrixFromArray(node, matrix)
    return node


def add_grid_transform(shift: float = 4.0) -> Any:
    """Add a grid transform whose displacement along x grows with z, as an acquisition transform's does."""
    image = vtk.vtkImageData()
    image.SetDimensions(3, 3, 9)
    image.SetOrigin(-200.0, -200.0, 0.0)
    image.SetSpacing(200.0, 200.0, 40.0)
    image.AllocateScalars(vtk.VTK_DOUBLE, 3)
    displacement = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(9, 3, 3, 3)
    displacement[:] = 0.0
    displacement[..., 0] = shift * (np.arange(9) % 3)[:, None, None]
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "acquisition")
    node.SetAndObserveTransformToParent(transform)
    return node


def same(first: Image, second: Image) -> bool:
    """Whether two images are equal, to the bit."""
    return first.array.dtype == second.array.dtype and np.array_equal(first.array, second.array) \
        and first.grid == second.grid
