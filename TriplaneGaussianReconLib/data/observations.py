"""What the reconstruction may see: planes with pixels, and nothing of any slice that is not trusted."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .geometry import AXES, Axis, Grid, PlaneStack, array_axis
from .images import Image, Segment, Segmentation, value_type
from .selection import Selection


@dataclass(frozen=True)
class SliceStack:
    """Parallel trusted slices, ordered along `planes.normal`.

    pixels: [plane, row, column] float32 or, where that is too coarse, float64; input units.
    layers: [layer, plane, row, column] integer label values of the same pixels, or None.
    weights: [plane, row, column] float32 in [0, 1], how far to trust each pixel; None trusts all fully.
    thickness: mm along the normal that each slice averages over; None where it is not known to be more than a pixel.
    """

    planes: PlaneStack
    pixels: np.ndarray
    layers: np.ndarray | None = None
    weights: np.ndarray | None = None
    thickness: float | None = None

    def __post_init__(self) -> None:
        if self.pixels.shape != self.planes.shape:
            raise InputError(f"The pixels {self.pixels.shape} do not fit the planes {self.planes.shape}.")
        if self.layers is not None and self.layers.shape[1:] != self.planes.shape:
            raise InputError(f"The labels {self.layers.shape[1:]} do not fit the planes {self.planes.shape}.")
        if not np.isfinite(self.pixels).all():
            bad = int(np.flatnonzero(~np.isfinite(self.pixels).all(axis=(1, 2)))[0])
            raise InputError(f"Trusted slice number {bad} (counted from 0 among the trusted ones) holds NaN or "
                             "infinite voxels. Exclude that slice or replace these voxels.")


@dataclass(frozen=True)
class Observations:
    """All trusted slices.  `stacks[0]` is the primary stack: its gaps are filled, the others correct what fills them.

    segments: which value in which layer is which segment, of those that are on a trusted slice; empty without labels.
    dtype: voxel type of the input, which the dense volume gets too.
    """

    stacks: tuple[SliceStack, ...]
    segments: tuple[Segment, ...] = ()
    dtype: np.dtype = np.dtype(np.float32)

    def __post_init__(self) -> None:
        if not self.stacks or len(self.stacks[0].planes) < 2:
            raise InputError("At least two trusted slices along the slice axis are needed. Trust more slices, or "
                             "choose another slice axis.")
        lowest, highest = self.intensity_range
        if not highest > lowest:
            raise InputError(f"All trusted voxels have the same value ({lowest:g}): there is nothing to reconstruct. "
                             "Check the volume and the selection.")

    @property
    def intensity_range(self) -> tuple[float, float]:
        """Smallest and largest trusted pixel, input units."""
        return (float(min(s.pixels.min() for s in self.stacks)), float(max(s.pixels.max() for s in self.stacks)))

    @classmethod
    def from_volume(cls, image: Image, trusted: Mapping[Axis, Selection],
                    segmentation: Segmentation | None = None) -> Observations:
        """Take the trusted slices of `image`; the axis along which they lie closest (mm) is the primary one.

        trusted: selection per axis; axes that are left out contribute nothing.
        Raises InputError if the segmentation lies on another grid, or nothing usable is left.
        """
        if not np.isrealobj(image.array) or image.array.dtype == bool:
            raise InputError(f"Voxels of type {image.array.dtype} are not supported. Convert to a real scalar type.")
        if segmentation is not None and not image.grid.matches(segmentation.grid):
            raise InputError(f"The segmentation's grid {segmentation.grid.shape} differs from the volume's "
                             f"{image.grid.shape} or lies elsewhere. Resample it to the volume first.")
        for axis, selection in trusted.items():
            if selection.count != image.grid.count(axis):
                raise InputError(f"The selection is for {selection.count} slices, axis {axis} has "
                                 f"{image.grid.count(axis)}.")
        order = closest_first(image.grid, trusted)
        stacks = tuple(_take(image, segmentation, axis, trusted[axis]) for axis in order)
        segments = segmentation.segments if segmentation is not None else ()
        # A label that is on no trusted slice must not be known to exist: nothing may depend on what is not trusted.
        segments = tuple(s for s in segments if any(_carries(stack.layers, s) for stack in stacks))
        if segmentation is not None and not segments:
            raise InputError("The segmentation is empty on every trusted slice. Leave it out, or trust slices that "
                             "carry it.")
        return cls(stacks, segments, image.array.dtype)


def closest_first(grid: Grid, trusted: Mapping[Axis, Selection]) -> list[Axis]:
    """The axes of `trusted`, the one along which the trusted slices lie closest (mm) first: the primary one.

    What lies between the closest slices is easiest to fill; on a tie the order of `trusted` decides.
    """
    return sorted(trusted, key=lambda axis: _mean_gap(grid, axis, trusted[axis]))


def _mean_gap(grid: Grid, axis: Axis, selection: Selection) -> float:
    """Mean distance (mm) of the trusted slices along an axis, infinite for a lone slice."""
    first, last = selection.indices[0], selection.indices[-1]
    spacing = grid.spacing[AXES.index(axis)]
    return spacing * (last - first) / (len(selection) - 1) if len(selection) > 1 else float("inf")


def _take(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> SliceStack:
    """Copy the selected slices; reversed where needed so that they ascend along the stack's normal."""
    indices = np.asarray(selection.indices)
    planes = image.grid.planes(axis, indices)
    if len(indices) > 1 and planes.offsets[1] < planes.offsets[0]:
        indices = indices[::-1]
        planes = image.grid.planes(axis, indices)
    dimension = array_axis(axis)
    pixels = np.moveaxis(np.take(image.array, indices, dimension), dimension, 0)
    bad = np.sort(indices[~np.isfinite(pixels).all(axis=(1, 2))]).tolist()
    if bad:
        raise InputError(f"Slices along {axis} hold NaN or infinite voxels: {', '.join(map(str, bad))}. Exclude them "
                         "or replace these voxels.")
    layers = None
    if segmentation is not None:
        layers = np.moveaxis(np.take(segmentation.layers, indices, dimension + 1), dimension + 1, 1)
        layers = np.ascontiguousarray(layers)
    # The slices of a volume are taken to touch each other.
    dtype = value_type(float(pixels.min()), float(pixels.max()))
    return SliceStack(planes, np.ascontiguousarray(pixels, dtype=dtype), layers,
                      thickness=float(image.grid.spacing[AXES.index(axis)]))


def _carries(layers: np.ndarray | None, segment: Segment) -> bool:
    return layers is not None and bool((layers[segment.layer] == segment.value).any())
