"""Which slices of a result are observed slices."""
from __future__ import annotations

import numpy as np

from .geometry import Axis, Grid, PlaneStack
from .observations import SliceStack

_NEAR = 1e-3  # of a voxel, by which pixels that are meant to coincide may miss each other


def coinciding(stack: SliceStack, grid: Grid) -> tuple[Axis, np.ndarray]:
    """Return which observed slice each slice of `grid` is, voxel by pixel.

    Returns:
        The axis of `grid` nearest to the normal of the stack, and (slice,) along it the number of the plane of `stack`
        that has the same pixels in the same places, -1 where there is none.

    Example:
        >>> grid = Grid((9, 5, 6))
        >>> stack = SliceStack(grid.planes("k", [0, 4, 8]), np.zeros((3, 5, 6), np.float32))
        >>> coinciding(stack, grid)[1].tolist()
        [0, -1, -1, -1, 1, -1, -1, -1, 2]
    """
    axis = grid.axis_along(stack.planes.normal)
    none = np.full(grid.count(axis), -1)
    if grid.depths and axis != "k":
        return axis, none
    planes = grid.planes(axis, np.arange(grid.count(axis)))
    if planes.shape[1:] != stack.planes.shape[1:]:
        return axis, none
    wanted, have = _corners(planes), _corners(stack.planes)
    nearest = np.abs(wanted[:, None, 0] - have[None, :, 0]).sum(axis=2).argmin(axis=1)
    misses = np.abs(wanted - have[nearest]).max(axis=(1, 2))
    return axis, np.where(misses <= _NEAR * min(grid.spacing), nearest, none)


def _corners(planes: PlaneStack) -> np.ndarray:
    """(plane, 3, 3) mm: first pixel, last of the first column, last of the first row."""
    rows, columns = (planes.rows - 1) * planes.row_step, (planes.columns - 1) * planes.column_step
    return np.stack([planes.origins, planes.origins + rows, planes.origins + columns], axis=1)
