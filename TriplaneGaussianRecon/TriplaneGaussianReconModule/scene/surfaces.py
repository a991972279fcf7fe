"""Surfaces of segments, which `run/surface_worker.py` makes in a process: what it is given, and what it gives back.

Slicer itself makes them in the thread of the user interface, all at once.  The process uses the same class of Slicer's
with the conversion parameters of the segmentation, and looks at the voxels about each segment alone: points, normals
and triangles are those that Slicer would make, to the bit.  They lie where Slicer puts its own, so that it does with
them what it does with those: when labels are edited, they go, or are made anew.
"""
from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path

import numpy as np
import slicer
import vtk
import vtk.util.numpy_support

from TriplaneGaussianReconLib.io.atomic import array_parts, write_json

from .nodes import BINARY_LABELMAP

CLOSED_SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
_BYTES_AT_A_TIME = 2 ** 22  # copied before the user interface has its turn


def hasSurfaces(segmentation: slicer.vtkSegmentation) -> bool:
    """Whether the segments are there as surfaces."""
    return bool(segmentation.ContainsRepresentation(CLOSED_SURFACE))


def canBeMadeElsewhere(segmentation: slicer.vtkSegmentation) -> bool:
    """Whether the process can make them: each by itself, from labels."""
    joint = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule.GetJointSmoothingParameterName()
    return (segmentation.GetSourceRepresentationName() == BINARY_LABELMAP
            and segmentation.GetConversionParameter(joint) in ("", "0"))


def stateOf(segmentation: slicer.vtkSegmentation) -> tuple[object, ...]:
    """A state that differs from a former one if surfaces that were made for that one are not right any more."""
    names = segmentation.GetSegmentIDs()
    segments = [segmentation.GetSegment(name) for name in names]
    labelmaps = [segment.GetRepresentation(BINARY_LABELMAP) for segment in segments]
    return (names, segmentation.SerializeAllConversionParameters(), *(segment.GetLabelValue() for segment in segments),
            *(each and each.GetMTime() for each in labelmaps))


def labelsOf(segmentation: slicer.vtkSegmentation, folder: Path) -> Generator[None, None, None]:
    """Write what the process needs into a folder, a piece at a time: label maps, and which segment is which label."""
    layers, matrix = [], vtk.vtkMatrix4x4()
    numbers = {name: number for number, name in enumerate(segmentation.GetSegmentIDs())}
    for layer in range(segmentation.GetNumberOfLayers(BINARY_LABELMAP)):
        labelmap = segmentation.GetLayerDataObject(layer, BINARY_LABELMAP)
        labelmap.GetImageToWorldMatrix(matrix)
        segments = {numbers[name]: segmentation.GetSegment(name).GetLabelValue()
                    for name in segmentation.GetSegmentIDsForLayer(layer, BINARY_LABELMAP)}
        layers.append({"extent": labelmap.GetExtent(), "segments": segments,
                       "matrix": slicer.util.arrayFromVTKMatrix(matrix).tolist()})
        scalars = labelmap.GetPointData().GetScalars()
        voxels = np.zeros(0, np.uint8) if scalars is None else vtk.util.numpy_support.vtk_to_numpy(scalars)
        yield from array_parts(folder / f"layer_{layer}.npy", voxels)
    write_json(folder / "layers.json", {"parameters": segmentation.SerializeAllConversionParameters(),
                                        "layers": layers}, durable=False)


def surfaceFrom(folder: Path, number: int) -> Generator[None, None, vtk.vtkPolyData]:
    """Read the surface of the segment with this number that the process has written, a piece at a time."""
    arrays = {name: np.load(path, mmap_mode="r", allow_pickle=False)
              for name in ("points", "normals", "offsets", "connectivity")
              if (path := folder / f"surface_{number}_{name}.npy").is_file()}
    surface, points, cells = vtk.vtkPolyData(), vtk.vtkPoints(), vtk.vtkCellArray()
    points.SetData((yield from _copied(arrays["points"], vtk.vtkFloatArray())))
    offsets = yield from _copied(arrays["offsets"], vtk.vtkTypeInt64Array())
    cells.SetData(offsets, (yield from _copied(arrays["connectivity"], vtk.vtkTypeInt64Array())))
    surface.SetPoints(points)
    surface.SetPolys(cells)
    if "normals" in arrays:
        normals = yield from _copied(arrays["normals"], vtk.vtkFloatArray())
        normals.SetName("Normals")
        surface.GetPointData().SetNormals(normals)
    return surface


def giveSurfaces(node: slicer.vtkMRMLSegmentationNode, surfaces: Mapping[str, vtk.vtkPolyData]) -> None:
    """Give all segments, by their identifiers, their surfaces.

    At once, and told at once: as soon as Slicer sees that one segment has a surface, it makes all that are missing.
    """
    segmentation = node.GetSegmentation()
    with slicer.util.NodeModify(node):
        for name, surface in surfaces.items():
            segmentation.GetSegment(name).AddRepresentation(CLOSED_SURFACE, surface)
        segmentation.InvokeEvent(slicer.vtkSegmentation.ContainedRepresentationNamesModified)


def _copied(values: np.ndarray, array: vtk.vtkDataArray) -> Generator[None, None, vtk.vtkDataArray]:
    """Copy values, (tuples, components) or (tuples,), into an array of VTK's."""
    array.SetNumberOfComponents(values.shape[1] if values.ndim > 1 else 1)
    array.SetNumberOfTuples(len(values))
    if len(values):
        target = vtk.util.numpy_support.vtk_to_numpy(array)
        pace = max(1, _BYTES_AT_A_TIME // values[0].nbytes)
        for first in range(0, len(values), pace):
            target[first:first + pace] = values[first:first + pace]
            yield
    return array
