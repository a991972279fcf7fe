"""On which voxels a result is wanted: those of the input, or finer ones along the slice axis."""
from __future__ import annotations

import numpy as np

from ..errors import InputError
from .geometry import AXES, Axis, Grid

_MOST_VOXELS = 2 ** 31  # of a result; 60 GB with everything that belongs to it


def isotropic_spacing(grid: Grid, axis: Axis) -> float:
    """Spacing (mm) along `axis` that equals the smallest one within its slices; as it is where it is no wider."""
    number = AXES.index(axis)
    within = min(step for n, step in enumerate(grid.spacing) if n != number)
    return within if grid.spacing[number] > within * 1.001 else grid.spacing[number]  # headers are rounded


def output_grid(grid: Grid, axis: Axis, spacing: float) -> Grid:
    """Return the grid of a result whose slices along `axis` lie `spacing` mm apart; `grid` itself if they do there.

    Raises InputError for a spacing that is no positive number, makes too many voxels, or leaves only one slice.
    """
    present = grid.spacing[AXES.index(axis)]
    if spacing > 0 and np.prod(grid.shape, dtype=float) * present > _MOST_VOXELS * spacing:
        raise InputError(f"A slice spacing of {spacing:g} mm makes more than {_MOST_VOXELS} voxels. Choose a larger "
                         "one, or crop the volume.")
    found = grid.resampled(axis, spacing)
    if found.matches(grid):
        return grid
    if found.count(axis) < 2:
        raise InputError(f"A slice spacing of {spacing:g} mm leaves only one slice, since the first and the last one "
                         f"lie {(grid.count(axis) - 1) * present:g} mm apart. Choose a smaller one.")
    return found
