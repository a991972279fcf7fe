"""Images and segmentations in memory, with their place in physical space."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from .geometry import Grid


@dataclass(frozen=True)
class Image:
    """A scalar volume: `array` [k, j, i] of any real type, on `grid`."""

    array: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise InputError(f"Expected a volume of three dimensions, not {self.array.ndim}. Select one frame or one "
                             "component of a 4D or colour image first.")
        if self.array.shape != self.grid.shape:
            raise InputError(f"The voxels {self.array.shape} do not fit the grid {self.grid.shape}.")


@dataclass(frozen=True)
class Segment:
    """One segment: the voxels of layer `layer` that equal `value`."""

    name: str
    value: int
    layer: int = 0
    identifier: str = ""
    color: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Segmentation:
    """Segments that may overlap, stored as few layers of label values, as in a `.seg.nrrd`.

    layers: [layer, k, j, i] integer; a plain label map has one layer.  Value 0 is background.
    metadata: further header fields of the file, kept as they are.
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

    @classmethod
    def from_labelmap(cls, labels: np.ndarray, grid: Grid) -> Segmentation:
        """Make one segment per non-zero value of `labels` [k, j, i]; raises InputError if there is none."""
        labels = whole_labels(labels)
        values = [int(v) for v in np.unique(labels) if v]
        if not values:
            raise InputError("The segmentation is empty: it has no voxel other than background. Leave it out or "
                             "segment at least one slice.")
        return cls(labels[None], tuple(Segment(f"Label {v}", v) for v in values), grid)

    def masks(self, slices: tuple[slice, ...] = ()) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (segment index, boolean mask [k, j, i]) one at a time, of the part `slices` of each layer."""
        for number, segment in enumerate(self.segments):
            yield number, self.layers[segment.layer][slices] == segment.value


def value_type(lowest: float, highest: float) -> np.dtype:
    """float32, unless it tells fewer than 65 536 values between `lowest` and `highest` apart: then float64.

    Temperatures, times and phases may lie far from zero, and all that matters in a narrow range there.
    """
    step = float(np.spacing(np.float32(max(abs(lowest), abs(highest)))))
    return np.dtype(np.float32 if step * 2 ** 16 <= highest - lowest else np.float64)


def whole_labels(labels: np.ndarray) -> np.ndarray:
    """Return `labels` of any shape as they are if their type is an integer of 32 bits at most, else in one that is.

    Raises InputError for labels that are no whole numbers or need more than 32 bits, which no file of labels holds.
    """
    if np.issubdtype(labels.dtype, np.integer) and labels.dtype.itemsize <= 4:
        return labels
    if not (np.isfinite(labels).all() and np.array_equal(labels, np.round(labels))):
        raise InputError("Labels must be whole numbers. Convert the label map to an integer type.")
    return labels.astype(smallest_label_type(int(labels.min(initial=0)), int(labels.max(initial=0))))


def smallest_label_type(lowest: int, highest: int) -> type[np.integer]:
    """Return the smallest integer type that holds labels from `lowest` to `highest`.

    Raises InputError if they need more than 32 bits.
    """
    candidates = (np.uint8, np.uint16, np.uint32) if lowest >= 0 else (np.int16, np.int32)
    for candidate in candidates:
        if np.iinfo(candidate).min <= lowest and highest <= np.iinfo(candidate).max:
            return candidate
    raise InputError(f"Label values from {lowest} to {highest} need more than 32 bits. Number the labels anew.")


def voxel_offset(grid: Grid, other: Grid) -> tuple[int, int, int] | None:
    """Return the index (i, j, k) in `grid` of the first voxel of `other` if both lie on one lattice, else None.

    On one lattice every voxel of `other` falls within 0.001 voxels of a whole index of `grid`, inside it or not, and
    the axes agree.
    """
    last = np.subtract(other.shape[::-1], 1)
    corners = np.array(np.meshgrid(*([0, n] for n in last), indexing="ij"), np.float64).reshape(3, -1).T
    offsets = grid.physical_to_index(other.index_to_physical(corners)) - corners
    # One voxel tells nothing about the axes, so they are compared over one step as well.
    steps = np.linalg.solve(grid.ijk_to_lps[:3, :3], other.ijk_to_lps[:3, :3])
    whole = np.round(offsets[0])
    if np.abs(offsets - whole).max() > 1e-3 or np.abs(steps - np.eye(3)).max() > 1e-3:
        return None
    return int(whole[0]), int(whole[1]), int(whole[2])


def aligned_to(segmentation: Segmentation, grid: Grid) -> Segmentation:
    """Return `segmentation` on `grid`, padded with background and cropped by whole voxels.

    A segmentation that 3D Slicer saved is cropped to its segments and is brought back to its volume this way.
    Raises InputError if the voxels do not coincide, or the two do not overlap.
    """
    offset = voxel_offset(segmentation.grid, grid)
    if offset is None:
        raise InputError("The segmentation's voxels do not coincide with the volume's. Resample it to the volume "
                         "first.")
    source, target = [slice(None)], [slice(None)]
    for start, have, want in zip(reversed(offset), segmentation.grid.shape, grid.shape, strict=True):
        first, stop = max(start, 0), min(start + want, have)
        if first >= stop:
            raise InputError("The segmentation lies outside the volume. Choose the one that belongs to the volume, or "
                             "resample it to the volume first.")
        source.append(slice(first, stop))
        target.append(slice(first - start, stop - start))
    layers = np.zeros((len(segmentation.layers), *grid.shape), segmentation.layers.dtype)
    layers[tuple(target)] = segmentation.layers[tuple(source)]
    return replace(segmentation, layers=layers, grid=grid)
