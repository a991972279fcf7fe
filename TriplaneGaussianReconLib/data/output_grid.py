"""The grid of a result: that of the input, one with another spacing along the slice axis, or about all volumes."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .boxes import outer_points
from .geometry import AXES, Axis, Grid, PlaneStack, by
from .observations import Observations
from .selection import Selection

_MOST_VOXELS = 2 ** 31  # of a result; 60 GB with everything that belongs to it
_ROUNDING = 1e-3  # of a slice, by which headers may be off
_CUBIC = 1e-3  # by how much sides of cubic voxels may differ


def isotropic_spacing(grid: Grid, axis: Axis) -> float:
    """Return the spacing (mm) along `axis` that makes voxels about as thick as they are wide.

    It is the smaller spacing within the slices, or the present one where that is no wider.
    """
    number = AXES.index(axis)
    within = min(step for n, step in enumerate(grid.spacing) if n != number)
    return within if grid.spacing[number] > within * 1.001 else grid.spacing[number]  # headers are rounded


def output_grid(grid: Grid, axis: Axis, spacing: float | None, used: Selection | None = None,
                cover_voxels: bool = False) -> Grid:
    """Return the grid of a result.

    It spans from the centre of the first used slice to that of the last, or with the spacing of the input all of it.

    Args:
        grid: that of the input.
        axis: the slice axis.
        spacing: mm from one slice of the result to the next; None for the present one, which for slices that lie
            unevenly is their usual distance.  Where nothing changes, `grid` itself is returned.
        used: which slices along `axis` are used; by default all.
        cover_voxels: whether to go on at either end by as many whole slices as lie within the outermost used ones, each
            of which reaches half the input's spacing beyond its centre.

    Raises:
        InputError: the spacing is not a positive number, makes too many voxels, or leaves only one slice.

    Example:
        >>> from TriplaneGaussianReconLib.data.geometry import Grid
        >>> output_grid(Grid((8, 24, 20), spacing=(1, 1, 4)), "k", 1.0)
        Grid(20 x 24 x 29, 1 x 1 x 1 mm, LPS from (0, 0, 0))
        >>> output_grid(Grid((8, 24, 20), spacing=(1, 1, 4)), "k", 1.0, cover_voxels=True)
        Grid(20 x 24 x 31, 1 x 1 x 1 mm, LPS from (0, 0, -1))
    """
    present = grid.spacing[AXES.index(axis)]
    if spacing is None or spacing == present:
        if not grid.depths:
            return grid
        spacing = present
    if spacing > 0 and np.prod(grid.shape, dtype=float) * present > _MOST_VOXELS * spacing:
        raise InputError(f"A slice spacing of {spacing:g} mm makes more than {_MOST_VOXELS} voxels. Choose a larger "
                         "one, or crop the volume.")
    spanned = grid if used is None or len(used) < 2 else grid.cropped(axis, used.indices[0], used.indices[-1])
    resampled = spanned.resampled(axis, spacing)
    if resampled.matches(grid):
        return grid
    if cover_voxels:
        rest = spanned.extent(axis) - resampled.extent(axis)  # to the centre of the last used slice
        before, after = (max(0, int(np.floor((0.5 * (present - spacing) + more) / spacing + _ROUNDING)))
                         for more in (0.0, rest))
        resampled = resampled.extended(axis, before, after)
    if resampled.count(axis) < 2:
        raise InputError(f"A slice spacing of {spacing:g} mm leaves only one slice, since the first and the last one "
                         f"lie {spanned.extent(axis):g} mm apart. Choose a smaller one.")
    return resampled


def union_grid(observations: Observations, spacing: float | None = None) -> Grid:
    """Return cubic voxels over all that the slices see, with axes parallel to those of the first stack.

    i and j run within its slices, k across them.  Where `spacing` is that of its pixels, voxels lie on these: an outer
    corner of the first stack is a corner of a voxel.  A voxel is there if its centre lies in the box about all stacks.

    Args:
        observations: the slices, where they lie.
        spacing: mm; None for the smallest pixel of all stacks.

    Raises:
        InputError: the spacing is not a positive number, makes too many voxels, or only one along an axis.

    Example:
        >>> from TriplaneGaussianReconLib import Image, Observations, StackInput
        >>> array = np.arange(6 * 24 * 24, dtype=np.int16)
        >>> axial = Image(array.reshape(6, 24, 24), Grid((6, 24, 24), spacing=(1, 1, 4)))
        >>> coronal = Image(array.reshape(24, 6, 24), Grid((24, 6, 24), (0, 1.5, -1.5), (1, 4, 1)))
        >>> union_grid(Observations.from_volumes([StackInput(axial), StackInput(coronal)]))
        Grid(24 x 24 x 24, 1 x 1 x 1 mm, LPS from (0, 0, -1.5))
    """
    return cubes_about([(stack.planes, stack.thickness) for stack in observations.stacks], spacing)


def cubes_about(slices: Sequence[tuple[PlaneStack, float | None]], spacing: float | None = None) -> Grid:
    """The same of the slices of each stack, and the mm that they average over; None for thin ones."""
    pixels = [np.linalg.norm([planes.column_step, planes.row_step], axis=1).min() for planes, _ in slices]
    side = float(min(pixels) if spacing is None else spacing)
    if not (np.isfinite(side) and side > 0):
        raise InputError(f"The spacing of the result must be a positive number of millimetres, not {side}.")
    first = slices[0][0]
    columns, rows = (step / np.linalg.norm(step) for step in (first.column_step, first.row_step))
    axes = np.stack([columns, rows, first.normal], axis=1)
    boxes = [outer_points(planes, thickness or size) @ axes
             for (planes, thickness), size in zip(slices, pixels, strict=True)]
    corner = boxes[0].min(axis=0)
    low, high = np.min([box.min(axis=0) for box in boxes], axis=0), np.max([box.max(axis=0) for box in boxes], axis=0)
    before, after = ((np.floor(reach / side + 0.5 - _ROUNDING)) for reach in (corner - low, high - corner))
    counts = np.maximum(before + after, 1)
    if counts.prod() > _MOST_VOXELS:
        raise InputError(f"Voxels of {side:g} mm about all volumes are more than {_MOST_VOXELS}. Choose larger ones, "
                         "or leave out volumes that lie far away.")
    if counts.min() < 2:
        raise InputError(f"Voxels of {side:g} mm leave only one along an axis: all volumes together measure "
                         f"{by(high - low)} mm. Choose smaller ones.")
    i, j, k = counts.astype(int).tolist()
    return Grid((k, j, i), tuple(axes @ (corner + (0.5 - before) * side)), (side, side, side), tuple(map(tuple, axes)))


def meant_grid(observations: Observations, output: Grid | float) -> Grid:
    """Return the voxels of a result: these very ones, or cubic ones of so many mm about all stacks as `union_grid`."""
    return output if isinstance(output, Grid) else union_grid(observations, output)


def is_cubic(grid: Grid) -> bool:
    """Return whether voxels can be those of the lattice that several volumes are solved for, so that they are drawn as
    they were found.
    """
    is_right = np.linalg.det(np.asarray(grid.direction)) > 0 and not grid.is_sheared
    return bool(is_right and not grid.depths and max(grid.spacing) - min(grid.spacing) < _CUBIC * min(grid.spacing))
