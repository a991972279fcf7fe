"""The motion of a stack against a volume that is known well: the last hundredths of a voxel."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import convolve1d

from ..config.registration import RigidConfig
from ..data.geometry import Grid
from ..data.observations import SliceStack
from ..data.slice_profile import profile_depths, profile_reach
from ..data.stack_motion import StackMotion
from .alignment import aligned, seen
from .stack_image import StackImage, as_observed

_DEPTHS = 64  # of a profile, for each plane that they are gathered on
_MARGIN = 4  # voxels about the slices that are drawn too


def refine_motion(stack: SliceStack, volume: np.ndarray, grid: Grid, motion: StackMotion, *,
                  config: RigidConfig | None = None, seed: int = 0) -> StackMotion:
    """Move a stack until its pixels are what the slices would see of a volume, but for gain and bias.

    A few voxels lead back to the right place, not more.

    Args:
        stack: its pixels of weight 0 are not looked at.
        volume: [k, j, i] grey values of the first volume's kind.
        grid: where they lie in the first volume's world; even, with voxels no thicker than the slices.
        motion: where to start.
        config: how many pixels and steps; None for the default.
        seed: decides which pixels are compared where there are many.

    Returns:
        The motion found, gain and bias as they were; `motion` itself where the stack lies outside of the volume or none
        of its pixels weighs.

    Raises:
        MissingPackageError: SimpleITK is not installed.

    Example:
        >>> import numpy as np
        >>> k, j, i = np.indices((24, 24, 24)) - 11.5
        >>> body = np.exp(-(k ** 2 / 60 + j ** 2 / 40 + i ** 2 / 20 + j * k / 50)).astype(np.float32)
        >>> to_the_left = np.eye(4)
        >>> to_the_left[0, 3] = 1.0
        >>> planes = Grid(body.shape).planes("k", np.arange(24)).transformed(to_the_left)
        >>> found = refine_motion(SliceStack(planes, body), body, Grid(body.shape), StackMotion())
        >>> found.matrix[:3, 3].round(1) + 0.0
        array([-1.,  0.,  0.])
    """
    config, voxel = config or RigidConfig(), float(min(grid.spacing))
    image = as_observed(stack).thinned(config.pixels, np.random.default_rng(seed))
    known = np.ones(volume.shape, bool)
    expected = _through_slices(StackImage(volume, known, grid), stack, image.grid, motion.matrix)
    if not (image.known.any() and expected.known.any()):
        return motion
    start = np.eye(4)
    found = aligned(image, expected, start, config.finish, voxel)
    return motion if found is start else replace(motion, matrix=motion.matrix @ found)


def _through_slices(volume: StackImage, stack: SliceStack, raster: Grid, matrix: np.ndarray) -> StackImage:
    """What slices would see of a volume, about as fine as that, in and around their places as their header says."""
    finer = np.ceil(np.array(raster.spacing) / min(volume.grid.spacing) - 1e-6)
    spacing = np.array(raster.spacing) / finer
    kernel = _kernel(stack, spacing[2])
    margin = np.array([_MARGIN, _MARGIN, _MARGIN + len(kernel) // 2])
    shape = (np.array(raster.size) - 1) * finer.astype(int) + 1 + 2 * margin
    grid = Grid(tuple(shape[::-1]), tuple(raster.index_to_physical(-margin / finer)), tuple(spacing), raster.direction)
    sharp = seen(volume, grid, matrix, is_cubic=True)
    known = convolve1d(sharp.known.astype(np.float32), kernel, axis=0, mode="constant") > 0.999
    return StackImage(convolve1d(sharp.values, kernel, axis=0, mode="nearest"), known, grid)


def _kernel(stack: SliceStack, pitch: float) -> np.ndarray:
    """(odd,) shares of the planes, `pitch` mm apart, that a slice averages over."""
    if not stack.thickness:
        return np.ones(1)
    profile = stack.profile or "gaussian"
    half = int(np.ceil(0.5 * profile_reach(stack.thickness, profile) / pitch))
    edges = (np.arange(2 * half + 2) - half - 0.5) * pitch
    depths, shares = profile_depths(stack.thickness, profile, _DEPTHS * (2 * half + 1))
    return np.histogram(depths, edges, weights=shares)[0]
