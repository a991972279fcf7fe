"""What a reconstruction sees: the planes and pixels of the observed slices, and nothing of any other slice."""
from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, InputNote
from .boxes import gap_between, outer_points
from .common_segments import CommonSegments
from .geometry import AXES, Axis, Grid, PlaneStack, array_axis, by
from .images import Image, Segment, Segmentation
from .label_slices import LabelSlices, labelled_slices, presence
from .margins import with_margin_told
from .masks import DataMask, filled, holds_data, with_data, within
from .selection import Selection, number_list
from .slice_profile import SliceProfile
from .stack_input import StackInput
from .volume_notes import about_volume
from .voxel_types import value_type

_NARROWEST = 1e-30  # range of values that single precision computes with, products included
_WIDE = 3.0  # times the usual gap, from where the middle of a gap is called a guess


@dataclass(frozen=True, eq=False)  # arrays cannot be compared to one yes or no
class SliceStack:
    """Parallel observed slices, ordered along `planes.normal`.

    The short text has the number of slices, then columns x rows, pixel type and pixel spacing in the same order, and
    the depth from the first to the last slice.

    Attributes:
        planes: where the slices lie.
        pixels: [plane, row, column], float32 or, where that is too coarse, float64; units of the input.
        layers: [layer, plane, row, column], integer label values of the same pixels, or None.
        weights: [plane, row, column], float32 in [0, 1], how far to trust each pixel; None trusts all fully.  Pixels
            without data, in whose place stands the nearest with data, have 0.
        labelled: (plane,) bool, which planes carry labels; `layers` is 0 on the others, where labels are not known.
            None where all planes carry them, or there are none.
        numbers: (plane,) number of each slice in the volume that it was taken from, None where there is none.
        thickness: mm along the normal that each slice averages over; None where it is not known, and is taken to be a
            pixel.  `Observations.from_volume` sets it to the slice spacing.  The pipeline uses that of the primary
            stack.
        profile: how a slice averages over that; see `data.slice_profile`.  None where it is not known.

    Raises:
        InputError: pixels or labels do not fit the planes, or pixels are NaN or infinite.
    """

    planes: PlaneStack
    pixels: np.ndarray
    layers: np.ndarray | None = None
    weights: np.ndarray | None = None
    thickness: float | None = None
    labelled: np.ndarray | None = None
    numbers: tuple[int, ...] | None = None
    profile: SliceProfile | None = None

    def __post_init__(self) -> None:
        if self.pixels.shape != self.planes.shape:
            raise InputError(f"The pixels {self.pixels.shape} do not fit the planes {self.planes.shape}.")
        if self.layers is not None and self.layers.shape[1:] != self.planes.shape:
            raise InputError(f"The labels {self.layers.shape[1:]} do not fit the planes {self.planes.shape}.")
        if self.labelled is not None and (self.layers is None or self.labelled.shape != (len(self.planes),)):
            raise InputError(f"Which planes carry labels {self.labelled.shape} does not fit the planes and labels.")
        if not np.isfinite(self.pixels).all():
            bad = int(np.flatnonzero(~np.isfinite(self.pixels).all(axis=(1, 2)))[0])
            raise InputError(f"Slice number {bad} (counted from 0 among the slices to use) holds NaN or infinite "
                             "voxels. Exclude that slice or replace these voxels.")

    def trimmed(self) -> SliceStack:
        """Return the slices without their outer rows and columns of which no pixel weighs anything.

        Example:
            >>> weights = np.zeros((1, 4, 5), np.float32)
            >>> weights[:, 1:3, 2] = 1.0
            >>> planes = PlaneStack([[0, 0, 0]], row_step=[0, 1, 0], column_step=[1, 0, 0], rows=4, columns=5)
            >>> SliceStack(planes, np.zeros(weights.shape), weights=weights).trimmed().planes.origins.tolist()
            [[2.0, 1.0, 0.0]]
        """
        if self.weights is None or not self.weights.any():
            return self
        planes = self.planes
        rows, columns = (_span(self.weights.max(axis=across) > 0) for across in ((0, 2), (0, 1)))
        origins = planes.origins + rows.start * planes.row_step + columns.start * planes.column_step
        size = rows.stop - rows.start, columns.stop - columns.start
        return replace(self, planes=PlaneStack(origins, planes.row_step, planes.column_step, *size),
                       pixels=self.pixels[:, rows, columns], weights=self.weights[:, rows, columns],
                       layers=None if self.layers is None else self.layers[..., rows, columns])

    def __repr__(self) -> str:
        planes = self.planes
        pixel = [float(np.linalg.norm(step)) for step in (planes.column_step, planes.row_step)]
        depth = float(np.ptp(planes.offsets)) if len(planes) else 0.0
        layers = f", {len(self.layers)} label layer{'s' * (len(self.layers) != 1)}" if self.layers is not None else ""
        return (f"SliceStack({len(planes)} slices of {by((planes.columns, planes.rows))} {self.pixels.dtype}, "
                f"{by(pixel)} mm, over {depth:.5g} mm{layers})")


@dataclass(frozen=True, eq=False)  # arrays cannot be compared to one yes or no
class Observations:
    """All observed slices.

    Attributes:
        stacks: `stacks[0]` is the primary stack, whose gaps are filled.  The others correct what fills them.
        segments: which value in which layer is which segment, of those that are on an observed slice which carries
            labels; empty without labels.
        dtype: voxel type of the input, which the dense volume gets too.
        padding: value of the dense volume where the slices of the primary stack hold no data, or no slice of any
            volume is; None where all do.

    Raises:
        InputError: the primary stack has fewer than two slices, or all pixels are equal.

    Example:
        >>> import numpy as np
        >>> from TriplaneGaussianReconLib import Grid, Image, Observations, Selection
        >>> array = np.arange(8 * 24 * 20, dtype=np.int16).reshape(8, 24, 20)
        >>> image = Image(array, Grid(array.shape, spacing=(1, 1, 4)))
        >>> observations = Observations.from_volume(image, {"k": Selection.every(8, 2)})
        >>> observations
        Observations(4 slices of 20 x 24, int16, no segments)
        >>> observations.stacks[0]
        SliceStack(4 slices of 20 x 24 float32, 1 x 1 mm, over 24 mm)
    """

    stacks: tuple[SliceStack, ...]
    segments: tuple[Segment, ...] = ()
    dtype: np.dtype = np.dtype(np.float32)
    padding: float | None = None

    def __post_init__(self) -> None:
        if not self.stacks or len(self.stacks[0].planes) < 2:
            raise InputError("At least two slices along the slice axis are needed. Use more slices, or choose another "
                             "slice axis.")
        lowest, highest = self.intensity_range
        if 0.0 < highest - lowest < _NARROWEST:
            raise InputError(f"The used voxels differ by {highest - lowest:.3g} at most, less than can be computed in "
                             "single precision. Multiply all by a common factor.")
        if not highest > lowest:
            if self.dtype.kind in "iu" and abs(lowest) >= 2 ** 53:
                raise InputError(f"The used voxels differ too little from {lowest:g} to be computed with. Subtract a "
                                 "common value from all.")
            raise InputError(f"All used voxels have the same value ({lowest:g}): there is nothing to reconstruct. "
                             "Check the volume and the selection.")

    def __repr__(self) -> str:
        stacks = " and ".join(f"{len(stack.planes)} slices of {by((stack.planes.columns, stack.planes.rows))}"
                              for stack in self.stacks)
        count = len(self.segments)
        return f"Observations({stacks}, {self.dtype}, {count or 'no'} segment{'s' * (count != 1)})"

    @property
    def intensity_range(self) -> tuple[float, float]:
        """Smallest and largest observed pixel, in units of the input."""
        return (float(min(s.pixels.min() for s in self.stacks)), float(max(s.pixels.max() for s in self.stacks)))

    def trimmed(self) -> Observations:
        """Return the same slices, each stack without outer rows and columns that hold no data."""
        return replace(self, stacks=tuple(stack.trimmed() for stack in self.stacks))

    @classmethod
    def from_volume(cls, image: Image, observed: Mapping[Axis, Selection],
                    segmentation: Segmentation | None = None,
                    labelled: Mapping[Axis, Selection] | None = None) -> Observations:
        """Take the selected slices of a volume.

        The axis along which they lie closest (mm) makes the primary stack.  Voxels without data (NaN, infinite or of
        the value `image.padding`) weigh nothing; slices without any data are left out.  Either is said in an
        `InputNote`.

        Args:
            image: the volume; what is not selected is not looked at.
            observed: the selection of each axis.  Axes that are left out contribute nothing.
            segmentation: labels on the grid of `image`, see `aligned_to`.
            labelled: which slices of each axis carry labels, see `data.label_slices`; what the segmentation has on
                others is not looked at.  None for all; axes that are left out carry none.  Slices that are not observed
                are passed over, with an `InputNote`; another tells what was found.

        Raises:
            InputError: the segmentation lies on another grid, voxels are beyond what single precision holds, or too
                little is left.
        """
        _check_voxels(image, segmentation)
        for axis, selection in observed.items():
            if selection.count != image.grid.count(axis):
                raise InputError(f"The selection is for {selection.count} slices, axis {axis} has "
                                 f"{image.grid.count(axis)}.")
        if labelled is not None:
            _check_labelled(image.grid, observed, segmentation, labelled)
        observed = with_data(image, observed)
        stacks = tuple(_take(image, segmentation, axis, observed[axis], labelled)
                       for axis in closest_first(image.grid, observed))
        segments = _segments(segmentation, stacks, labelled is not None)
        if stacks and stacks[0].layers is not None and stacks[0].labelled is not None:
            found = LabelSlices.of(stacks[0].layers, segments, stacks[0].labelled, stacks[0].numbers)
            warnings.warn(str(found), InputNote, stacklevel=2)
        padding = None
        if stacks and stacks[0].weights is not None:
            padding = float("nan") if image.padding is None else image.padding
        if stacks:
            _note_wide_gap(stacks[0].planes.offsets)
        return cls(stacks, segments, image.array.dtype, padding)

    @classmethod
    def from_volumes(cls, inputs: Sequence[StackInput]) -> Observations:
        """Take the selected slices of several volumes of one body.

        The first volume's place, grey values and voxel type are those of the result.  Voxels without data or outside
        of a mask weigh nothing, nor do margins of one value (see `margins`), and slices without any are left out.
        Segments of one name are the same, see `CommonSegments`.  Each `InputNote` names the volume.

        Args:
            inputs: the volumes; each makes one stack, in this order.

        Returns:
            Observations whose planes lie where `StackInput.to_first` carries them, with grey values as the first has
            them by the gain and bias there.

        Raises:
            InputError: one of the volumes cannot be used, or the first has fewer than two slices.

        Example:
            >>> import numpy as np
            >>> from TriplaneGaussianReconLib import Grid, Image, Observations, StackInput
            >>> array = np.arange(6 * 24 * 24, dtype=np.int16)
            >>> axial = Image(array.reshape(6, 24, 24), Grid((6, 24, 24), spacing=(1, 1, 4)))
            >>> coronal = Image(array.reshape(24, 6, 24), Grid((24, 6, 24), spacing=(1, 4, 1)))
            >>> Observations.from_volumes([StackInput(axial), StackInput(coronal, thickness=3.5)])
            Observations(6 slices of 24 x 24 and 6 slices of 24 x 24, int16, no segments)
        """
        if not inputs:
            raise InputError("There is no volume. Give at least one.")
        lies = inputs[0].known
        if not np.allclose(lies.matrix, np.eye(4)) or (lies.gain, lies.bias) != (1.0, 0.0):
            raise InputError("The first volume lies where it lies: all others are carried to it. Give a motion for "
                             "these alone.")
        stacks, carried = [], []
        for number, each in enumerate(inputs):
            with about_volume(number):
                stacks.append(_stack_of(each))
                carried.append(_carried(each.segmentation, stacks[-1]))
        if any(each.segmentation is not None for each in inputs) and not any(carried):
            raise InputError("The segmentations are empty on every slice that is used. Leave them out, or use slices "
                             "that carry them.")
        _note_distance(stacks)
        common, first = CommonSegments.of(carried), inputs[0].image
        stacks = [stack if stack.layers is None else replace(stack, layers=common.recoded(stack.layers, n, carried[n]))
                  for n, stack in enumerate(stacks)]
        padding = first.padding
        if padding is None and first.array.dtype.kind == "f" and any(stack.weights is not None for stack in stacks):
            padding = float("nan")
        return cls(tuple(stacks), common.segments, first.array.dtype, padding)

    @property
    def mask(self) -> DataMask | None:
        """Where the slices of the primary stack hold data, LPS; None where all do."""
        stack = self.stacks[0]
        return None if stack.weights is None else DataMask(stack.planes, stack.weights > 0)


def closest_first(grid: Grid, observed: Mapping[Axis, Selection]) -> list[Axis]:
    """Return the axes of `observed`, the primary one first: that along which the slices lie closest (mm).

    What lies between the closest slices is easiest to fill.  On a tie the order of `observed` decides.
    """
    return sorted(observed, key=lambda axis: _mean_gap(grid, axis, observed[axis]))


def _mean_gap(grid: Grid, axis: Axis, selection: Selection) -> float:
    """Mean distance (mm) of the selected slices along an axis, infinite for a lone slice."""
    if len(selection) < 2:
        return float("inf")
    first, last = selection.indices[0], selection.indices[-1]
    if grid.depths and axis == "k":
        return (grid.depths[last] - grid.depths[first]) / (len(selection) - 1)
    return grid.spacing[AXES.index(axis)] * (last - first) / (len(selection) - 1)


def _check_labelled(grid: Grid, observed: Mapping[Axis, Selection], segmentation: Segmentation | None,
                    labelled: Mapping[Axis, Selection]) -> None:
    """Refuse slices that cannot carry labels, and tell which are passed over."""
    if segmentation is None:
        raise InputError("Slices are said to carry labels, but there is no segmentation. Give one, or leave it out.")
    for axis, selection in labelled.items():
        if selection.count != grid.count(axis):
            raise InputError(f"The slices that carry labels are of {selection.count} slices, axis {axis} has "
                             f"{grid.count(axis)}.")
        used = observed[axis].indices if axis in observed else ()
        unused = sorted(set(selection.indices) - set(used))
        if unused:
            warnings.warn(f"Labels on slices along {axis} that are not used are passed over: {number_list(unused)}.",
                          InputNote, stacklevel=3)


def _check_voxels(image: Image, segmentation: Segmentation | None) -> None:
    if image.array.dtype.kind not in "iuf":
        raise InputError(f"Voxels of type {image.array.dtype} are not supported. Convert to a real scalar type.")
    if segmentation is not None and not image.grid.matches(segmentation.grid):
        raise InputError(f"The segmentation's grid {segmentation.grid.shape} differs from the volume's "
                         f"{image.grid.shape} or lies elsewhere. Resample it to the volume first.")


def _segments(segmentation: Segmentation | None, stacks: tuple[SliceStack, ...], are_named: bool
              ) -> tuple[Segment, ...]:
    """Return the segments that are on observed slices.

    A label that is on no observed slice must not be known to exist: nothing may depend on what is not observed.

    Args:
        segmentation: Labels, or None.
        stacks: What was taken of them.
        are_named: Whether it was said which slices carry labels.
    """
    if segmentation is None:
        return ()
    if stacks and stacks[0].layers is None:
        raise InputError("None of the used slices whose gaps are filled carries labels. Use slices that do, or name "
                         "others that carry labels.")
    segments = tuple(s for s in segmentation.segments if any(_carries(stack.layers, s) for stack in stacks))
    if not segments and are_named:
        raise InputError("The segmentation is empty on every used slice that carries labels. Leave it out, or name "
                         "slices that show it.")
    if not segments:
        raise InputError("The segmentation is empty on every slice that is used. Leave it out, or use slices "
                         "that carry it.")
    return segments


def _take(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection,
          labelled: Mapping[Axis, Selection] | None, given: StackInput | None = None) -> SliceStack:
    """Copy the selected slices; reversed where needed so that they ascend along the stack's normal.

    given: the volume as one of several; None where it is alone.
    """
    indices = np.asarray(selection.indices)
    planes = image.grid.planes(axis, indices)
    if len(indices) > 1 and planes.offsets[1] < planes.offsets[0]:
        indices = indices[::-1]
        planes = image.grid.planes(axis, indices)
    dimension = array_axis(axis)
    pixels = np.moveaxis(np.take(image.array, indices, dimension), dimension, 0)
    pixels, weights = _with_weights(pixels, image.padding, axis, given)
    layers, carries = None, np.ones(len(indices), bool)
    if labelled is not None:
        carries = np.isin(indices, labelled[axis].indices) if axis in labelled else ~carries
    if segmentation is not None and carries.any():
        layers = np.moveaxis(np.take(segmentation.layers, indices, dimension + 1), dimension + 1, 1)
        layers = np.ascontiguousarray(layers)
        layers[:, ~carries] = 0
    # The slices of a volume are taken to touch each other.
    dtype = value_type(float(pixels.min()), float(pixels.max()))
    return SliceStack(planes, np.ascontiguousarray(pixels, dtype=dtype), layers, weights,
                      thickness=float(image.grid.spacing[AXES.index(axis)]),
                      labelled=None if layers is None or carries.all() else carries, numbers=tuple(indices.tolist()))


def _stack_of(given: StackInput) -> SliceStack:
    """Take the slices of one of several volumes, and carry them to the world of the first."""
    axis, segmentation, labelled = given.slice_axis, given.segmentation, None
    _check_voxels(given.image, segmentation)
    image = within(with_margin_told(given.image, axis, given.used), given.mask)
    observed = with_data(image, {axis: given.used})[axis]
    if segmentation is not None:
        labelled = labelled_slices(given.labels_on, observed, presence(segmentation, axis))
    stack = _take(image, segmentation, axis, observed, None if labelled is None else {axis: labelled}, given)
    if stack.pixels.min() == stack.pixels.max():
        where, remedy = ("", "") if given.mask is None else (" within the mask", ", or choose a larger mask")
        raise InputError(f"All of its used voxels{where} have the same value ({stack.pixels.min():g}). Leave it out"
                         f"{remedy}.")
    pixels = (stack.pixels - given.known.bias) / given.known.gain  # in the type of the pixels
    dtype = value_type(float(pixels.min()), float(pixels.max()))
    return replace(stack, planes=given.known.placed(stack.planes), pixels=pixels.astype(dtype, copy=False),
                   thickness=given.width, profile=given.profile)


def _span(holds: np.ndarray) -> slice:
    """From the first to the last place that holds something; holds: (n,) bool, one at least true."""
    places = np.flatnonzero(holds)
    return slice(int(places[0]), int(places[-1]) + 1)


def _carried(segmentation: Segmentation | None, stack: SliceStack) -> tuple[Segment, ...]:
    """The segments that are on the slices of the stack."""
    return () if segmentation is None else tuple(s for s in segmentation.segments if _carries(stack.layers, s))


def _note_distance(stacks: Sequence[SliceStack]) -> None:
    """Say which volume lies away from all before it, in boxes along the axes of the first."""
    first = stacks[0].planes
    axes = np.linalg.qr(np.stack([first.column_step, first.row_step, first.normal], axis=1))[0]
    boxes = [outer_points(stack.planes, stack.thickness or 0.0) @ axes for stack in stacks]
    for number, box in enumerate(boxes[1:], start=1):
        gap = min(gap_between(box, other) for other in boxes[:number])
        if gap > 0:
            warnings.warn(f"Volume {number + 1} lies {gap:.4g} mm away from the volumes before it. Check that all show "
                          "the same body, or say how it moved.", InputNote, stacklevel=3)


def _note_wide_gap(offsets: np.ndarray) -> None:
    widths = np.diff(offsets)
    times = widths.max(initial=0.0) / np.median(widths) if len(widths) else 0.0
    if times > _WIDE:
        warnings.warn(f"The widest gap between used slices is {widths.max():.4g} mm, {times:.2g} times the usual one: "
                      "what the result shows in its middle is a guess.", InputNote, stacklevel=3)


def _with_weights(pixels: np.ndarray, padding: float | None, axis: Axis, given: StackInput | None
                  ) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the pixels with those without data filled, and their weights: None if all hold data."""
    holds = holds_data(pixels, padding)
    if holds.all():
        return pixels, None
    reasons = ["NaN", "infinite", *([] if padding is None else [f"{padding:g}"])]
    if given is not None and given.mask is not None:
        reasons.append("outside of the mask")
    lacking = 1.0 - holds.mean()
    share = f"{lacking:.1%}" if lacking >= 0.001 else "Less than 0.1%"
    warnings.warn(f"{share} of the pixels of the slices used along {axis} hold no data "
                  f"({', '.join(reasons[:-1])} or {reasons[-1]}). They weigh nothing"
                  f"{', and the result holds none there' * (given is None)}.", InputNote, stacklevel=4)
    return filled(pixels, holds), holds.astype(np.float32)


def _carries(layers: np.ndarray | None, segment: Segment) -> bool:
    return layers is not None and bool((layers[segment.layer] == segment.value).any())
