"""What lies beyond the outermost observed slices: nothing was seen there, so that nothing but a repetition is known."""
from __future__ import annotations

import numpy as np

from .geometry import Axis, Grid, array_axis
from .observations import SliceStack

_ROUNDING = 1e-3  # of a slice's thickness, by which headers may be off


def slices_beyond(stack: SliceStack, grid: Grid) -> tuple[Axis, np.ndarray]:
    """Return which slices of `grid` lie wholly beyond the outer faces of the outermost slices of `stack`.

    A slice reaches half its thickness to either side of its centre.

    Returns:
        The axis of `grid` nearest to the normal of the stack, and bool (slice,) along it.

    Example:
        >>> from .geometry import PlaneStack
        >>> planes = PlaneStack([[0, 0, z] for z in (0, 4, 8)], [0, 1, 0], [1, 0, 0], rows=5, columns=6)
        >>> stack = SliceStack(planes, np.zeros((3, 5, 6), np.float32), thickness=1.0)
        >>> axis, beyond = slices_beyond(stack, Grid((11, 5, 6)))
        >>> axis, np.flatnonzero(beyond).tolist()
        ('k', [9, 10])
    """
    normal = stack.planes.normal
    axis = grid.axis_along(normal)
    planes = grid.planes(axis, np.arange(grid.count(axis)))
    sides = [(count - 1) * float(step @ normal) for count, step in ((planes.rows, planes.row_step),
                                                                    (planes.columns, planes.column_step))]
    lowest = planes.origins @ normal + sum(min(side, 0.0) for side in sides)
    highest = planes.origins @ normal + sum(max(side, 0.0) for side in sides)
    pixel = min(np.linalg.norm(stack.planes.row_step), np.linalg.norm(stack.planes.column_step))
    reach = (0.5 + _ROUNDING) * (stack.thickness or float(pixel))
    offsets = stack.planes.offsets
    return axis, (lowest > offsets.max() + reach) | (highest < offsets.min() - reach)


def at_slices(array: np.ndarray, axis: Axis, slices: np.ndarray) -> tuple[slice | np.ndarray, ...]:
    """Return the index of those `slices`, bool, along `axis` of an array [..., k, j, i]."""
    at: list[slice | np.ndarray] = [slice(None)] * array.ndim
    at[array.ndim - 3 + array_axis(axis)] = slices
    return tuple(at)
