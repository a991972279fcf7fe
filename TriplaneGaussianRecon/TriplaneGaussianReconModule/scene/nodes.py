"""MRML nodes as the library's images and segmentations.  Nothing here changes an input node.

Everything is in the volume node's own coordinates, without its parent transform; results are put under the same
transform.  So a linear transform is carried over exactly, and so is a non-linear one, such as the acquisition transform
of a DICOM series with irregular slices: no voxel is resampled, and between slices the result follows the lines along
which Slicer itself interpolates.  The distance between slices is then the spacing of the volume node.
"""
from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence

import numpy as np
import slicer
import vtk
import vtk.util.numpy_support
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.alignment import voxel_offset
from TriplaneGaussianReconLib.data.geometry import RAS_TO_LPS, Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.units import HOUNSFIELD
from TriplaneGaussianReconLib.errors import InputError

BINARY_LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
Box = tuple[slice, ...]  # a part of an array
_VOXELS_AT_A_TIME = 2 ** 20  # looked at before the user interface has its turn
_HOUNSFIELD = "[hnsf'U]"  # what UCUM, and so DICOM, calls them
TO_LPS = RAS_TO_LPS[:3, :3]  # of points; and back


def gridOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Grid:
    """The voxel grid of a volume node, in LPS mm; raises InputError for a node that is no scalar volume with voxels."""
    image = _voxelsOf(volumeNode)
    directions = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASDirectionMatrix(directions)
    return Grid(image.GetDimensions()[::-1], TO_LPS @ volumeNode.GetOrigin(), volumeNode.GetSpacing(),
                TO_LPS @ slicer.util.arrayFromVTKMatrix(directions)[:3, :3])


def imageOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Image:
    """The voxels of a volume node, not copied, on its grid; raises InputError as `gridOf` does."""
    grid = gridOf(volumeNode)
    unit = volumeNode.GetVoxelValueUnits()
    isHounsfield = unit is not None and unit.GetCodeValue() == _HOUNSFIELD
    return Image(slicer.util.arrayFromVolume(volumeNode).reshape(grid.shape), grid,
                 unit=HOUNSFIELD if isHounsfield else "")


def place(volumeNode: slicer.vtkMRMLVolumeNode, grid: Grid) -> None:
    """Give a volume node the geometry of `grid`."""
    directions = np.eye(4)
    directions[:3, :3] = TO_LPS @ np.array(grid.direction)
    volumeNode.SetOrigin(TO_LPS @ grid.origin)
    volumeNode.SetSpacing(grid.spacing)
    volumeNode.SetIJKToRASDirectionMatrix(slicer.util.vtkMatrixFromArray(directions))


def segmentIDsOf(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: Sequence[str] | None = None
                 ) -> tuple[str, ...]:
    """Return the ids of the chosen segments, all of them by default, in the order of the node.

    Raises:
        InputError: The node is no segmentation, an id does not exist, or nothing is chosen.
    """
    if not segmentationNode.IsA("vtkMRMLSegmentationNode"):
        raise InputError(_("'{name}' is not a segmentation. Convert it to one: right-click it in the Data module, for "
                           "a label map 'Convert labelmap to segmentation node'."
                           ).format(name=segmentationNode.GetName()))
    present = segmentationNode.GetSegmentation().GetSegmentIDs()
    chosen = present if segmentIDs is None else tuple(segmentIDs)
    unknown = [name for name in chosen if name not in present]
    if unknown:
        raise InputError(_("The segmentation '{name}' has no segment with the id '{segment}'. Its segments are {known}."
                           ).format(name=segmentationNode.GetName(), segment=unknown[0],
                                    known=", ".join(present) or _("none")))
    if not chosen:
        raise InputError(_("No segment of '{name}' is chosen. Choose at least one, or leave the segmentation out."
                           ).format(name=segmentationNode.GetName()))
    return tuple(name for name in present if name in chosen)


def transformBetween(source: slicer.vtkMRMLTransformableNode, target: slicer.vtkMRMLTransformableNode
                     ) -> vtk.vtkAbstractTransform | None:
    """The transform from the coordinates of one node to those of another; None if they are the same."""
    if source.GetTransformNodeID() == target.GetTransformNodeID():
        return None
    transform, linear = vtk.vtkGeneralTransform(), vtk.vtkTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source.GetParentTransformNode(),
                                                         target.GetParentTransformNode(), transform)
    if not slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(transform, linear):
        return transform
    return None if np.allclose(slicer.util.arrayFromVTKMatrix(linear.GetMatrix()), np.eye(4), atol=1e-9) else linear


def readSegmentation(grid: Grid, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: Sequence[str],
                     transform: vtk.vtkAbstractTransform | None
                     ) -> Generator[None, None, tuple[Segmentation, list[str]]]:
    """Bring segments onto the voxels of a volume, a piece at a time.

    Args:
        grid: Of the volume.
        segmentationNode: Holds the segments.
        segmentIDs: Which segments.
        transform: From the segmentation's coordinates to the volume's, see `transformBetween`.

    Returns:
        The segmentation, in as few layers as do not make segments overlap and without segments that have no voxel; and
        what the user should know.

    Raises:
        InputError: No segment has a voxel in the volume.
    """
    segmentIDs = [name for name in segmentIDs if segmentationNode.GetSegmentation().GetSegment(name) is not None]
    packed, resampled = _Packed(grid, segmentationNode.GetSegmentation(), segmentIDs), False
    for labelmap, names in _labelmaps(grid, segmentationNode, segmentIDs, transform):
        yield
        if _isEmpty(labelmap):
            continue
        offset = _offset(labelmap, grid) if transform is None else None
        if offset is None:
            labelmap, offset, resampled = _resampled(labelmap, grid, transform), (0, 0, 0), True
            yield
        overlap = _overlap(offset, _voxels(labelmap).shape, grid.shape)
        if overlap is not None:
            yield from packed.add(_voxels(labelmap)[overlap[0]], overlap[1], names)
    segmentation, remarks = packed.segmentation(), []
    if not segmentation.segments:
        raise InputError(_("None of the chosen segments of '{name}' has a voxel in the volume. Choose the segmentation "
                           "that belongs to it, or segment at least two slices."
                           ).format(name=segmentationNode.GetName()))
    if resampled:
        remarks.append(_("The segmentation lies on other voxels than the volume and was resampled to them."))
    empty = packed.missing()
    if empty:
        remarks.append(_("Without a voxel in the volume, and so left out: {segments}.").format(
            segments=", ".join(empty)))
    return segmentation, remarks


def isOnVoxels(grid: Grid, segmentationNode: slicer.vtkMRMLSegmentationNode,
               transform: vtk.vtkAbstractTransform | None) -> bool:
    """Whether all that is drawn lies on the voxels of a volume, or on more of the same; see `readSegmentation`."""
    segmentation = segmentationNode.GetSegmentation()
    if not segmentation.ContainsRepresentation(BINARY_LABELMAP):  # surfaces lie on no voxels
        return True
    labelmaps = [segmentation.GetLayerDataObject(layer, BINARY_LABELMAP)
                 for layer in range(segmentation.GetNumberOfLayers(BINARY_LABELMAP))]
    drawn = [labelmap for labelmap in labelmaps if not _isEmpty(labelmap)]
    return not drawn or transform is None and all(_offset(labelmap, grid) is not None for labelmap in drawn)


def stateOf(volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode | None
            ) -> tuple[object, ...]:
    """A state that differs from a former one if voxels, geometry or segments have been changed since."""
    matrix, image = vtk.vtkMatrix4x4(), volumeNode.GetImageData()
    volumeNode.GetIJKToRASMatrix(matrix)
    state: list[object] = [image and image.GetMTime(), volumeNode.GetTransformNodeID(),
                           slicer.util.arrayFromVTKMatrix(matrix).tobytes()]
    if segmentationNode is not None:
        segmentation = segmentationNode.GetSegmentation()
        source, names = segmentation.GetSourceRepresentationName(), segmentation.GetSegmentIDs()
        voxels = [segmentation.GetSegmentRepresentation(name, source) for name in names]
        state += [segmentationNode.GetTransformNodeID(), names, *(each and each.GetMTime() for each in voxels)]
    return tuple(state)


def _voxelsOf(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> vtk.vtkImageData:
    if volumeNode is None:
        raise InputError(_("There is no volume. Choose one."))
    name = volumeNode.GetName()
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(_("'{name}' is a label map, not an image. Choose an image as the volume; give the labels as a "
                           "segmentation: in the Data module, right-click and 'Convert labelmap to segmentation node'."
                           ).format(name=name))
    if not volumeNode.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(_("'{name}' is not a scalar volume. Choose a volume with one value a voxel."
                           ).format(name=name))
    image = volumeNode.GetImageData()
    if _isEmpty(image):
        raise InputError(_("The volume '{name}' has no voxels. Load its image, or choose another volume."
                           ).format(name=name))
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError(_("The volume '{name}' has {number} values a voxel: it is in colour, or holds vectors or "
                           "several frames. Make a scalar volume of it with the module 'Vector to Scalar Volume', or "
                           "load its frames as a sequence."
                           ).format(name=name, number=image.GetNumberOfScalarComponents()))
    return image


class _Packed:
    """Segments in as few layers as do not make them overlap, numbered from 1."""

    def __init__(self, grid: Grid, segmentation: slicer.vtkSegmentation, names: Sequence[str]) -> None:
        self._grid, self._segmentation, self._names = grid, segmentation, names
        self._numbers = {name: number for number, name in enumerate(names, start=1)}
        self._kind = np.min_scalar_type(len(names))
        self._layers: list[np.ndarray] = []
        self._found: dict[str, int] = {}

    def add(self, labels: np.ndarray, where: Box, names: Mapping[int, str]) -> Generator[None, None, None]:
        """Add labels [k, j, i] that cover the part `where` of the volume; names: label value -> id of the segment."""
        table = np.zeros(max(names) + 2, self._kind)  # what is beyond is 0
        for value, name in names.items():
            table[value] = self._numbers[name]
        numbers, present = np.zeros(labels.shape, self._kind), np.zeros(len(self._names) + 1, bool)
        fits = [True] * len(self._layers)
        for part in _parts(labels):
            table.take(labels[part], out=numbers[part], mode="clip")
            if numbers[part].any():
                present[numbers[part]] = True
                fits = [soFar and not np.logical_and(layer[where][part], numbers[part]).any()
                        for soFar, layer in zip(fits, self._layers, strict=True)]
            yield
        found = [self._names[number - 1] for number in np.flatnonzero(present).tolist() if number]
        if not found:
            return
        if not any(fits):
            fits.append(True)
            self._layers.append(np.zeros(self._grid.shape, self._kind))
        place = fits.index(True)
        self._found |= dict.fromkeys(found, place)
        for part in _parts(labels):
            self._layers[place][where][part] |= numbers[part]
            yield

    def segmentation(self) -> Segmentation:
        """All that was added, in the order of the names."""
        layers = np.stack(self._layers) if self._layers else np.zeros((0, *self._grid.shape), np.uint8)
        return Segmentation(layers, tuple(self._segment(name) for name in self._names if name in self._found),
                            self._grid)

    def missing(self) -> list[str]:
        """Names of the segments without a voxel."""
        return [self._segmentation.GetSegment(name).GetName() for name in self._names if name not in self._found]

    def _segment(self, name: str) -> Segment:
        segment = self._segmentation.GetSegment(name)
        return Segment(segment.GetName(), self._numbers[name], self._found[name], name, tuple(segment.GetColor()))


def _parts(array: np.ndarray) -> Iterator[slice]:
    """Parts of an array along its first axis, each quick to work on."""
    pace = max(1, _VOXELS_AT_A_TIME // array[0].size)
    for first in range(0, len(array), pace):
        yield slice(first, first + pace)


def _labelmaps(grid: Grid, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIDs: Sequence[str],
               transform: vtk.vtkAbstractTransform | None) -> Iterator[tuple[vtk.vtkImageData, dict[int, str]]]:
    """Label maps that hold the segments, and which value in each is which segment; they may be the node's own."""
    segmentation = segmentationNode.GetSegmentation()
    if not segmentation.ContainsRepresentation(BINARY_LABELMAP):
        for name in segmentIDs:
            yield _converted(segmentation, name, grid, transform), {1: name}
        return
    for layer in range(segmentation.GetNumberOfLayers(BINARY_LABELMAP)):
        here = [name for name in segmentation.GetSegmentIDsForLayer(layer, BINARY_LABELMAP) if name in segmentIDs]
        if here:
            yield (segmentation.GetLayerDataObject(layer, BINARY_LABELMAP),
                   {segmentation.GetSegment(name).GetLabelValue(): name for name in here})


def _converted(segmentation: slicer.vtkSegmentation, name: str, grid: Grid, transform: vtk.vtkAbstractTransform | None
               ) -> vtk.vtkImageData | None:
    """A segment of another representation, such as a surface, as a label map; the node itself gets none."""
    alone = slicer.vtkSegmentation()
    alone.SetSourceRepresentationName(segmentation.GetSourceRepresentationName())
    alone.CopyConversionParameters(segmentation)
    if transform is None or transform.IsA("vtkLinearTransform"):
        matrix = _ijkToRAS(grid)
        if transform is not None:
            matrix = np.linalg.inv(slicer.util.arrayFromVTKMatrix(transform.GetMatrix())) @ matrix
        converter = slicer.vtkSegmentationConverter
        alone.SetConversionParameter(converter.GetReferenceImageGeometryParameterName(),
                                     converter.SerializeImageGeometry(_oriented(matrix, grid.shape)))
    alone.CopySegmentFromSegmentation(segmentation, name)
    alone.CreateRepresentation(BINARY_LABELMAP)
    return alone.GetSegmentRepresentation(name, BINARY_LABELMAP)


def _resampled(labelmap: vtk.vtkImageData, grid: Grid, transform: vtk.vtkAbstractTransform | None) -> vtk.vtkImageData:
    """A label map on the voxels of `grid`: each gets the label that is nearest to its centre."""
    found = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        labelmap, _oriented(_ijkToRAS(grid), grid.shape), found, False, False, transform, 0)
    return found


def _isEmpty(image: vtk.vtkImageData | None) -> bool:
    return image is None or not image.GetNumberOfPoints() or image.GetPointData().GetScalars() is None


def _offset(labelmap: vtk.vtkImageData, grid: Grid) -> tuple[int, int, int] | None:
    """The index (i, j, k) in `grid` of the first voxel of a label map; None if it lies on another lattice."""
    matrix, extent = vtk.vtkMatrix4x4(), labelmap.GetExtent()
    labelmap.GetImageToWorldMatrix(matrix)
    toRAS = slicer.util.arrayFromVTKMatrix(matrix)
    spacing = np.linalg.norm(toRAS[:3, :3], axis=0)
    first = toRAS[:3, :3] @ extent[::2] + toRAS[:3, 3]
    return voxel_offset(grid, Grid(labelmap.GetDimensions()[::-1], TO_LPS @ first, spacing,
                                   TO_LPS @ (toRAS[:3, :3] / spacing)))


def _overlap(offset: tuple[int, int, int], have: tuple[int, ...], want: tuple[int, ...]) -> tuple[Box, Box] | None:
    """Which part of `have` voxels [k, j, i] covers which of `want` voxels, of which `offset` (i, j, k) is the first."""
    first = [max(start, 0) for start in offset[::-1]]
    stop = [min(start + size, limit) for start, size, limit in zip(offset[::-1], have, want, strict=True)]
    if any(low >= high for low, high in zip(first, stop, strict=True)):
        return None
    return (tuple(slice(low - start, high - start) for low, high, start in zip(first, stop, offset[::-1], strict=True)),
            tuple(slice(low, high) for low, high in zip(first, stop, strict=True)))


def _voxels(labelmap: vtk.vtkImageData) -> np.ndarray:
    """The values of a label map [k, j, i], not copied."""
    values = vtk.util.numpy_support.vtk_to_numpy(labelmap.GetPointData().GetScalars())
    values = values.reshape(labelmap.GetDimensions()[::-1])
    return values if np.issubdtype(values.dtype, np.integer) else values.astype(np.int32)


def _ijkToRAS(grid: Grid) -> np.ndarray:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.ijk_to_lps


def _oriented(ijkToRAS: np.ndarray, shape: tuple[int, int, int]) -> vtk.vtkImageData:
    """The geometry of a label map, without voxels."""
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijkToRAS))
    image.SetExtent(0, shape[2] - 1, 0, shape[1] - 1, 0, shape[0] - 1)
    return image
