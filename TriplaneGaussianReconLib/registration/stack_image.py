"""A stack as a volume on an even grid, which SimpleITK needs; and one that is equally blurred in all directions.

A stack is blurred along its normal by the profile of its slices, and sharp across.  Two stacks that cross therefore
show the same body differently, and what differs pulls at a registration.  Blurred further until no direction is
sharper than another, both show the same, however they are turned.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

from ..data.geometry import Grid
from ..data.observations import SliceStack
from ..data.slice_profile import profile_deviation

_SAMPLES = 0.6  # voxel of a blurred stack, in standard deviations of its blur


@dataclass(frozen=True, eq=False)
class StackImage:
    """Grey values on an even grid.

    Attributes:
        values: [k, j, i] float32; of a stack planes, rows and columns.
        known: [k, j, i] bool, where they are known.
        grid: where they lie.
    """

    values: np.ndarray
    known: np.ndarray
    grid: Grid

    @property
    def middle(self) -> np.ndarray:
        """(3,) mm, that of the field of view."""
        return self.grid.index_to_physical(self.grid.corners.mean(axis=0))

    @property
    def volume(self) -> float:
        """Cubic mm that are known."""
        return float(self.known.sum() * np.prod(self.grid.spacing))


def blur_of(stack: SliceStack) -> float:
    """Return the standard deviation (mm) of a stack's own blur along its normal, at least that of its pixels."""
    pixel = max(np.linalg.norm(stack.planes.row_step), np.linalg.norm(stack.planes.column_step))
    return profile_deviation(max(stack.thickness or 0.0, float(pixel)), stack.profile or "gaussian")


def blurred(stack: SliceStack, sigma: float) -> StackImage:
    """Blur a stack to `sigma` (mm, standard deviation) in all directions, and make it coarse to match."""
    values, nearest, grid = _evenly(stack)
    known = np.ones(stack.pixels.shape, bool) if stack.weights is None else stack.weights > 0
    known = known[nearest].astype(np.float32)
    pitches = np.array(grid.spacing[::-1])
    widths = np.sqrt(np.maximum(sigma ** 2 - np.array([blur_of(stack), 0.0, 0.0]) ** 2, 0.0)) / pitches
    shares = gaussian_filter(known, widths, mode="constant")
    values = gaussian_filter(values * known, widths, mode="constant") / np.maximum(shares, 1e-3)
    every = np.maximum(1, (_SAMPLES * sigma / pitches).astype(int))
    coarse = tuple(slice(None, None, n) for n in every)
    values, shares = np.ascontiguousarray(values[coarse]), shares[coarse]
    grid = Grid(values.shape, grid.origin, tuple((pitches * every)[::-1]), grid.direction)
    return StackImage(values, shares > 0.5 * shares.max(), grid)


def _evenly(stack: SliceStack) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Values on even planes, two to the usual gap, by cubic splines; the slice next to each; and their grid."""
    planes, offsets = stack.planes, stack.planes.offsets - stack.planes.offsets[0]
    count = 2 * max(1, round(offsets[-1] / float(np.median(np.diff(offsets))))) + 1
    at = np.linspace(0.0, offsets[-1], count)
    values = CubicSpline(offsets, stack.pixels, axis=0, bc_type="natural")(at).astype(np.float32)
    nearest = np.abs(at[:, None] - offsets).argmin(axis=1)
    step = (planes.origins[-1] - planes.origins[0]) / (count - 1)
    columns = np.stack([planes.column_step, planes.row_step, step], axis=1)
    spacing = np.linalg.norm(columns, axis=0)
    return values, nearest, Grid(values.shape, tuple(planes.origins[0]), tuple(spacing),
                                 tuple(map(tuple, columns / spacing)))
