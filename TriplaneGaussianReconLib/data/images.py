"""Images and segmentations in memory, with their place in physical space."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..errors import InputError
from . import conversions
from .geometry import Grid, by
from .json_fields import text, triple, whole
from .label_map import LabelMap
from .voxel_types import check_labels, whole_labels

_LABELS, _MOST_LAYERS = (-2 ** 31, 2 ** 32 - 1), 4096
_NAMES_SHOWN = 4  # segments that the short text of a segmentation names


@dataclass(frozen=True, eq=False)  # arrays cannot be compared to one yes or no
class Image:
    """A scalar volume and its place in space.

    `numpy.asarray(image)` is `array`.  The short text has the size as i x j x k, the voxel type, and the place as
    `Grid` has it.

    Attributes:
        array: [k, j, i], any real type, in units of the input.
        grid: where the voxels lie.
        padding: the value of voxels that hold no data, None where there is none.  NaN never holds data.
        unit: of the values, HU where a DICOM header says that they are Hounsfield units; empty where it is not known.

    Raises:
        InputError: the array does not have three dimensions, or not the shape of the grid.

    Example:
        >>> import numpy as np
        >>> from TriplaneGaussianReconLib import Grid, Image
        >>> array = np.zeros((8, 24, 20), np.int16)
        >>> Image(array, Grid(array.shape, spacing=(1, 1, 4)))
        Image(20 x 24 x 8 int16, 1 x 1 x 4 mm, LPS from (0, 0, 0))
    """

    array: np.ndarray
    grid: Grid
    padding: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise InputError(f"Expected a volume of three dimensions, not {self.array.ndim}. Select one frame or one "
                             "component of a 4D or colour image first.")
        if self.array.shape != self.grid.shape:
            raise InputError(f"The voxels {self.array.shape} do not fit the grid {self.grid.shape}.")

    def __repr__(self) -> str:
        return f"Image({by(self.grid.size)} {self.array.dtype}, {self.grid.place})"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return _as_asked(self.array, dtype, copy)

    @classmethod
    def from_sitk(cls, image: Any) -> Image:
        """Return an image with a copy of the voxels of a `SimpleITK.Image`.

        Raises:
            InputError: it is no volume of three dimensions, has several values per voxel, is complex, or sheared.

        Example:
            >>> import SimpleITK as sitk
            >>> from TriplaneGaussianReconLib import Image
            >>> Image.from_sitk(sitk.Image(20, 24, 8, sitk.sitkInt16))
            Image(20 x 24 x 8 int16, 1 x 1 x 1 mm, LPS from (0, 0, 0))
        """
        return cls(*conversions.from_sitk(image))

    def to_sitk(self) -> Any:
        """Return a `SimpleITK.Image` with a copy of the voxels; bool and float16 become uint8 and float32.

        Raises:
            MissingPackageError: SimpleITK is not installed.
        """
        return conversions.to_sitk(self.array, self.grid)

    @classmethod
    def from_nibabel(cls, image: Any) -> Image:
        """Return the image of a nibabel image, such as `nibabel.load` returns.

        Axes are reversed to [k, j, i] and the place is turned from RAS to LPS.  The voxels may be shared with `image`.

        Raises:
            InputError: it is no volume of three dimensions, is in colour, or sheared.

        Example:
            >>> import nibabel, numpy as np
            >>> from TriplaneGaussianReconLib import Image
            >>> Image.from_nibabel(nibabel.Nifti1Image(np.zeros((20, 24, 8), np.int16), np.diag([1, 1, 4, 1])))
            Image(20 x 24 x 8 int16, 1 x 1 x 4 mm, RAS from (0, 0, 0))
        """
        return cls(*conversions.from_nibabel(image))

    def to_nibabel(self) -> Any:
        """Return a `nibabel.Nifti1Image` that shares the voxels; bool and float16 become uint8 and float32.

        Raises:
            MissingPackageError: nibabel is not installed.
        """
        return conversions.to_nibabel(self.array, self.grid)


@dataclass(frozen=True)
class Segment:
    """One segment: the voxels of layer `layer` that equal `value`.

    Attributes:
        name: what users see.
        value: its label value, other than 0.
        layer: in which layer of a `Segmentation` it lies.
        identifier: what 3D Slicer knows it by; empty where it has none yet.
        color: red, green, blue in [0, 1]; None where it has none of its own.
    """

    name: str
    value: int
    layer: int = 0
    identifier: str = ""
    color: tuple[float, float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return its fields as JSON can hold them."""
        return {"name": self.name, "value": int(self.value), "layer": int(self.layer), "identifier": self.identifier,
                "color": self.color and [float(part) for part in self.color]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Segment:
        """Return what `to_json` wrote.  Raises KeyError, TypeError or ValueError where that is damaged."""
        value = whole(content, "value", *_LABELS)
        if value == 0:
            raise ValueError("value is 0, which is background")
        color = None if content["color"] is None else triple(content, "color")
        return cls(text(content, "name"), value, whole(content, "layer", 0, _MOST_LAYERS - 1),
                   text(content, "identifier"), color)


@dataclass(frozen=True, eq=False)  # arrays cannot be compared to one yes or no
class Segmentation:
    """Segments that may overlap, stored as few layers of label values, as in a `.seg.nrrd`.

    `numpy.asarray(segmentation)` is its label map, see `to_labelmap`.

    Attributes:
        layers: [layer, k, j, i], integer.  0 is background.  A plain label map has one layer.
        segments: which value in which layer is which segment.
        grid: where the voxels lie.
        metadata: further header fields of the file, kept as they are.

    Raises:
        InputError: the layers are not integers, or do not have the shape of the grid.

    Example:
        >>> import numpy as np
        >>> from TriplaneGaussianReconLib import Grid, Segmentation
        >>> labels = np.zeros((8, 24, 20), np.uint8)
        >>> labels[2:5, 6:12, 6:12] = 3
        >>> Segmentation.from_labelmap(labels, Grid(labels.shape))
        Segmentation(1 segment: Label 3; 20 x 24 x 8 uint8, 1 x 1 x 1 mm, LPS from (0, 0, 0))
    """

    layers: np.ndarray
    segments: tuple[Segment, ...]
    grid: Grid
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.layers.ndim != 4 or self.layers.shape[1:] != self.grid.shape:
            raise InputError(f"The label voxels {self.layers.shape[1:]} do not fit the grid {self.grid.shape}.")
        if not np.issubdtype(self.layers.dtype, np.integer):
            raise InputError("Labels must be whole numbers. Convert the label map to an integer type.")

    def __repr__(self) -> str:
        names = [segment.name for segment in self.segments]
        listing = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
        layers = f" in {len(self.layers)} layers" if len(self.layers) > 1 else ""
        return (f"Segmentation({len(names)} segment{'s' * (len(names) != 1)}{': ' * bool(names)}{listing}; "
                f"{by(self.grid.size)} {self.layers.dtype}{layers}, {self.grid.place})")

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return _as_asked(flattened(self, stacklevel=3), dtype, None)

    @classmethod
    def from_labelmap(cls, labels: np.ndarray, grid: Grid) -> Segmentation:
        """Make one segment of each value other than 0.

        Args:
            labels: [k, j, i], whole numbers of any type.
            grid: where the voxels lie.

        Raises:
            InputError: there is no voxel other than 0, the labels are not whole numbers of at most 32 bits, or this is
                a scan.
        """
        labels = whole_labels(labels)
        found = np.unique(labels)
        check_labels(labels, found)
        values = [int(v) for v in found if v]
        if not values:
            raise InputError("The segmentation is empty: it has no voxel other than background. Leave it out or "
                             "segment at least one slice.")
        return cls(labels[None], tuple(Segment(f"Label {v}", v) for v in values), grid)

    def to_labelmap(self) -> np.ndarray:
        """Return one label map [k, j, i] of all segments, in the smallest integer type.

        Where segments overlap the later one wins, and segments of equal value are numbered anew, both with a warning.
        """
        return flattened(self, stacklevel=3)

    @classmethod
    def from_sitk(cls, image: Any) -> Segmentation:
        """Make one segment of each value other than 0 of a `SimpleITK.Image`.

        Raises:
            InputError: it is no label map, or empty.
        """
        return cls.from_labelmap(*conversions.from_sitk(image))

    def to_sitk(self) -> Any:
        """Return the label map, see `to_labelmap`, as a `SimpleITK.Image`.

        Raises:
            MissingPackageError: SimpleITK is not installed.
        """
        return conversions.to_sitk(flattened(self, stacklevel=3), self.grid)

    @classmethod
    def from_nibabel(cls, image: Any) -> Segmentation:
        """Make one segment of each value other than 0 of an image of nibabel.

        Raises:
            InputError: it is no label map, or empty.
        """
        return cls.from_labelmap(*conversions.from_nibabel(image))

    def to_nibabel(self) -> Any:
        """Return the label map, see `to_labelmap`, as a `nibabel.Nifti1Image`.

        Raises:
            MissingPackageError: nibabel is not installed.
        """
        return conversions.to_nibabel(flattened(self, stacklevel=3), self.grid)

    def masks(self, slices: tuple[slice, ...] = ()) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the segments one at a time, each as (index in `segments`, boolean mask [k, j, i]).

        Args:
            slices: which part of each layer is wanted; by default all of it.
        """
        for number, segment in enumerate(self.segments):
            yield number, self.layers[segment.layer][slices] == segment.value


def flattened(segmentation: Segmentation, stacklevel: int) -> np.ndarray:
    """Return one label map [k, j, i] of all segments.  stacklevel: whose line warnings name, as in `warnings.warn`."""
    planes = LabelMap(segmentation, stacklevel + 1)
    labels = np.empty(planes.shape, planes.dtype)
    for into, plane in zip(labels, planes, strict=True):
        into[:] = plane
    planes.tell_overlap(stacklevel + 1)
    return labels


def _as_asked(array: np.ndarray, dtype: DTypeLike | None, copy: bool | None) -> np.ndarray:
    """Answer NumPy's `__array__`: a copy only where one is asked for, or another type."""
    is_other = dtype is not None and np.dtype(dtype) != array.dtype
    if copy is False and is_other:
        raise ValueError(f"Voxels of type {array.dtype} cannot become {np.dtype(dtype)} without a copy.")
    return np.array(array, dtype) if copy or is_other else array
