"""What is known of the slices of a result without any fitting: labels that were filled there, and the image."""
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..data.beyond import at_slices, slices_beyond
from ..data.coinciding import coinciding
from ..data.geometry import Grid, array_axis
from ..data.images import Image, Segment
from ..data.label_slices import LabelSlices
from ..data.observations import Observations, SliceStack
from ..data.probabilities import LabelProbabilities
from ..errors import InputError, TooLargeError
from ..label_completion.complete import Completed
from ..rendering.volume import as_type
from ..runtime.memory_limits import free_memory
from .label_report import LabelCompletion

if TYPE_CHECKING:
    from .reconstruction import Reconstruction


def is_known(observations: Observations, grid: Grid) -> bool:
    """Whether every slice of `grid` is an observed slice of the primary stack."""
    _, planes = coinciding(observations.stacks[0], grid)
    return bool((planes >= 0).all())


def known_volume(observations: Observations, grid: Grid) -> np.ndarray:
    """Return the observed slices as voxels [k, j, i] of the input's type; see `is_known`."""
    axis, planes = coinciding(observations.stacks[0], grid)
    volume = np.empty(grid.shape, observations.dtype)
    for voxels, plane in zip(np.moveaxis(volume, array_axis(axis), 0), planes, strict=True):
        voxels[:] = as_type(observations.stacks[0].pixels[plane], volume.dtype)
    return volume


def check_probabilities(observations: Observations, grid: Grid) -> None:
    """Find out before the work whether there will be probabilities of segments, and memory for them.

    Raises:
        InputError: No labels are filled on slices whose image is known.
        TooLargeError: There is too little memory.
    """
    stack, count = observations.stacks[0], len(observations.segments)
    if stack.labelled is None:
        raise InputError("Probabilities are those of labels that are filled on used slices, and none are filled: there "
                         "are no labels, or all used slices carry some. Leave them out, or say which slices carry "
                         "labels.")
    voxels, pixels = (float(np.prod(shape, dtype=float)) for shape in (grid.shape, stack.planes.shape))
    wanted = count * voxels + max(count * pixels, voxels)  # while they are made, and while NIfTI is written
    free = free_memory()
    if wanted > free:
        raise TooLargeError(f"The probabilities of {count} segments need {wanted / 1e9:.3g} GB of memory, and "
                            f"{free / 1e9:.3g} GB are free. Leave them out, give fewer segments, or use a computer "
                            "with more memory.")


def put_labels(into: np.ndarray, layers: np.ndarray, observations: Observations, grid: Grid) -> None:
    """Put the labels of the primary stack on the slices of a result that are observed ones.

    Args:
        into: [layer, k, j, i] label values of the result, which are changed.
        layers: [layer, plane, row, column] label values of the planes; those of no segment are left out.
        observations: What was seen.
        grid: Of the result.
    """
    axis, planes = coinciding(observations.stacks[0], grid)
    segments = observations.segments
    for layer, to in enumerate(np.moveaxis(into, 1 + array_axis(axis), 1)):
        values = [segment.value for segment in segments if segment.layer == layer]
        for number in np.flatnonzero(planes >= 0):
            labels = layers[layer, planes[number]]
            to[number] = np.where(np.isin(labels, values), labels, 0)


def with_completed(result: Reconstruction, completed: Completed, observations: Observations) -> Reconstruction:
    """Return a result with the labels as they were filled on observed slices, how certain they are, and what to tell.

    Args:
        result: Its labels are changed.
        completed: The labels on the planes of the primary stack.
        observations: What they were filled from.
    """
    stack, grid = observations.stacks[0], result.volume.grid
    if result.segmentation is not None:
        put_labels(result.segmentation.layers, completed.layers, observations, grid)
    certainty = Image(on_grid(completed.certainty[None], stack, grid)[0], grid)
    probabilities = None if completed.percent is None else LabelProbabilities(
        on_grid(completed.percent, stack, grid), observations.segments, grid)
    report = replace(result.report, completion=_told(completed, stack, observations.segments),
                     notes=(*result.report.notes, *completed.notes))
    return replace(result, label_certainty=certainty, label_probabilities=probabilities,
                   label_network=completed.learnt, report=report)


def _told(completed: Completed, stack: SliceStack, segments: tuple[Segment, ...]) -> LabelCompletion:
    assert stack.layers is not None, "labels were filled from labels"
    numbers = stack.numbers or tuple(range(len(stack.planes)))
    return LabelCompletion(LabelSlices.of(stack.layers, segments, stack.labelled, numbers),
                           tuple(numbers[plane] for plane in completed.next_slices), completed.learnt.methods,
                           completed.learnt.hidden_dice, completed.is_warm)


def on_grid(values: np.ndarray, stack: SliceStack, grid: Grid) -> np.ndarray:
    """Interpolate probabilities of labels linearly between planes.

    Args:
        values: [label, plane, row, column] on the planes of `stack`.
        stack: Slices that lie straight above each other.
        grid: Of the result.

    Returns:
        [label, k, j, i] of the same type, rounded if that is an integer; 0 beyond the outermost slices, where nothing
        is known.  Where the planes are the slices of `grid` it shares their memory.
    """
    from scipy.ndimage import map_coordinates

    planes, (axis, at) = stack.planes, coinciding(stack, grid)
    if np.array_equal(at, np.arange(len(planes))):
        return np.moveaxis(values, 1, 1 + array_axis(axis))
    to_pixels = np.linalg.inv(np.stack([planes.normal, planes.row_step, planes.column_step], axis=1)).T
    depths, found = planes.offsets - planes.offsets[0], np.zeros((len(values), *grid.shape), values.dtype)
    across, beyond = slices_beyond(stack, grid)
    for number, voxels in enumerate(np.moveaxis(found, 1 + array_axis(axis), 0)):
        if at[number] >= 0:
            voxels[:] = values[:, at[number]]
            continue
        points = grid.planes(axis, [number]).points()[0]
        depth, row, column = np.moveaxis((points - planes.origins[0]) @ to_pixels, -1, 0)
        plane = np.interp(depth, depths, np.arange(len(depths)))
        for each, into in zip(values, voxels, strict=True):
            between = map_coordinates(each, [plane, row, column], np.float32, order=1, mode="nearest")
            into[:] = np.rint(between) if into.dtype.kind == "u" else between
    found[at_slices(found, across, beyond)] = 0
    return found
