"""A thick stack as a volume that is equally blurred in all directions.

A stack is blurred along its normal by the profile of its slices, and sharp across.  Two stacks that cross therefore
show the same body differently, and what differs pulls at a registration.  Blurred further until no direction is
sharper than another, both show the same, however they are turned.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from ..data.geometry import Grid
from ..data.observations import SliceStack
from ..data.slice_profile import profile_deviation

_SAMPLES = 0.6  # voxel of a blurred stack, in standard deviations of its blur
_CUT = 3.0  # standard deviations where the blur ends


@dataclass(frozen=True, eq=False)
class BlurredStack:
    """A blurred stack.

    Attributes:
        values: [k, j, i] float32; planes, rows and columns of the stack.
        weights: [k, j, i] float32 in [0, 1], 0 where the blur reaches out of what is known by half.
        grid: where it lies, as the stack's header says.
    """

    values: np.ndarray
    weights: np.ndarray
    grid: Grid


def blur_of(stack: SliceStack) -> float:
    """Return the standard deviation (mm) of a stack's own blur along its normal, at least that of its pixels."""
    pixel = max(np.linalg.norm(stack.planes.row_step), np.linalg.norm(stack.planes.column_step))
    return profile_deviation(max(stack.thickness or 0.0, float(pixel)), stack.profile or "gaussian")


def blurred(stack: SliceStack, sigma: float) -> BlurredStack:
    """Blur a stack by `sigma` (mm, standard deviation) in all directions, and make it coarse to match."""
    weights = np.ones(stack.pixels.shape, np.float32) if stack.weights is None else stack.weights
    values, weights = stack.pixels.astype(np.float32), weights.astype(np.float32)
    steps = [stack.planes.row_step, stack.planes.column_step]
    pitches = [float(np.linalg.norm(step)) for step in steps]
    for axis, pitch in enumerate(pitches, start=1):
        values, weights = _smoothed(values, weights, sigma / pitch, axis)
        every = _every(sigma, pitch)
        values, weights = (np.take(a, np.arange(0, a.shape[axis], every), axis) for a in (values, weights))
        steps[axis - 1] = steps[axis - 1] * every
    values, weights, step = _filled(values, weights, stack, sigma)
    pitch = float(np.linalg.norm(step))
    values, weights = _smoothed(values, weights, max(sigma ** 2 - blur_of(stack) ** 2, 0.0) ** 0.5 / pitch, 0)
    every = _every(sigma, pitch)
    values, weights = values[::every], weights[::every]
    columns = np.stack([steps[1], steps[0], step * every], axis=1)
    spacing = np.linalg.norm(columns, axis=0)
    grid = Grid(values.shape, tuple(stack.planes.origins[0]), tuple(spacing), tuple(map(tuple, columns / spacing)))
    return BlurredStack(np.ascontiguousarray(values), np.clip(2.0 * weights - 1.0, 0.0, 1.0), grid)


def _every(sigma: float, pitch: float) -> int:
    return max(1, int(_SAMPLES * sigma / pitch))


def _smoothed(values: np.ndarray, weights: np.ndarray, sigma: float, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Blur along `axis` what has weight; what lies outside has none."""
    if sigma < 0.1:  # pixels
        return values, weights
    known = gaussian_filter1d(weights, sigma, axis, mode="constant", truncate=_CUT)
    sums = gaussian_filter1d(values * weights, sigma, axis, mode="constant", truncate=_CUT)
    return np.where(known > 1e-3, sums / np.maximum(known, 1e-3), 0.0).astype(np.float32), known


def _filled(values: np.ndarray, weights: np.ndarray, stack: SliceStack, sigma: float
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values and weights on even planes, close enough for `sigma`, by cubic splines; and the step (3,) between them."""
    offsets = stack.planes.offsets - stack.planes.offsets[0]
    usual = float(np.median(np.diff(offsets)))
    count = int(np.ceil(offsets[-1] / usual - 1e-3)) * int(np.ceil(usual / (_SAMPLES * sigma) - 1e-6)) + 1
    at = np.linspace(0.0, offsets[-1], count)
    step = (stack.planes.origins[-1] - stack.planes.origins[0]) / (count - 1)
    values = CubicSpline(offsets, values, axis=0, bc_type="natural")(at).astype(np.float32)
    before = np.clip(np.searchsorted(offsets, at, side="right") - 1, 0, len(offsets) - 2)
    share = ((at - offsets[before]) / np.diff(offsets)[before]).astype(np.float32)[:, None, None]
    return values, (1.0 - share) * weights[before] + share * weights[before + 1], step
