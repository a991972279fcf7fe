"""The grid of a result: that of the input, or one with another spacing along the slice axis."""
from __future__ import annotations

import numpy as np

from ..errors import InputError
from .geometry import AXES, Axis, Grid

_MOST_VOXELS = 2 ** 31  # of a result; 60 GB with everything that belongs to it


def isotropic_spacing(grid: Grid, axis: Axis) -> float:
    """Return the spacing (mm) along `axis` that makes voxels about as thick as they are wide.

    It is the smaller spacing within the slices, or the present one where that is no wider.
    """
    number = AXES.index(axis)
    within = min(step for n, step in enumerate(grid.spacing) if n != number)
    return within if grid.spacing[number] > within * 1.001 else grid.spacing[number]  # headers are rounded


def output_grid(grid: Grid, axis: Axis, spacing: float | None) -> Grid:
    """Return the grid of a result.

    Args:
        grid: that of the input.
        axis: the slice axis.
        spacing: mm from one slice of the result to the next; None for the present one, which for slices that lie
            unevenly is their usual distance.  Where nothing changes, `grid` itself is returned.

    Raises:
        InputError: the spacing is not a positive number, makes too many voxels, or leaves only one slice.

    Example:
        >>> from TriplaneGaussianReconLib.data.geometry import Grid
        >>> output_grid(Grid((8, 24, 20), spacing=(1, 1, 4)), "k", 1.0)
        Grid(20 x 24 x 29, 1 x 1 x 1 mm, LPS from (0, 0, 0))
    """
    present = grid.spacing[AXES.index(axis)]
    if spacing is None:
        if not grid.depths:
            return grid
        spacing = present
    if spacing > 0 and np.prod(grid.shape, dtype=float) * present > _MOST_VOXELS * spacing:
        raise InputError(f"A slice spacing of {spacing:g} mm makes more than {_MOST_VOXELS} voxels. Choose a larger "
                         "one, or crop the volume.")
    resampled = grid.resampled(axis, spacing)
    if resampled.matches(grid):
        return grid
    if resampled.count(axis) < 2:
        raise InputError(f"A slice spacing of {spacing:g} mm leaves only one slice, since the first and the last one "
                         f"lie {grid.extent(axis):g} mm apart. Choose a smaller one.")
    return resampled
