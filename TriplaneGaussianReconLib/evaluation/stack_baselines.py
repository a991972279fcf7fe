"""What else could be made of several simulated stacks, on the grid of the volume that they were made from.

All are blind to motion and gain, and take profiles for boxes.  They share no code with our solver, which they judge.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.sparse.linalg import LinearOperator, cg

from ..data.geometry import array_axis
from .stack_simulation import SimulatedStack

_PLAIN_STEPS = 40  # of conjugate gradients


def cubic(stack: SimulatedStack) -> np.ndarray:
    """Fill one stack by cubic splines along its thick axis; returns [k, j, i]."""
    across = array_axis(stack.axis)
    slices = np.moveaxis(stack.image.array, across, 0)
    at = (np.arange(len(slices) * stack.factor) + 0.5) / stack.factor - 0.5
    spline = CubicSpline(np.arange(len(slices)), slices, axis=0, bc_type="natural")
    return np.moveaxis(spline(at.clip(0, len(slices) - 1)), 0, across).astype(np.float32)


def mean_of_cubics(stacks: Sequence[SimulatedStack]) -> np.ndarray:
    """Fill each stack by `cubic`, and take the mean; returns [k, j, i]."""
    return np.mean([cubic(stack) for stack in stacks], axis=0)


def least_squares(stacks: Sequence[SimulatedStack], smoothness: float) -> np.ndarray:
    """Find the volume whose block averages are the stacks, in the least-squares sense; returns [k, j, i].

    smoothness: weight of the squared differences between neighbours.
    """
    start = mean_of_cubics(stacks)
    return _solved(stacks, start, np.full_like(start, smoothness), _PLAIN_STEPS)


def edge_preserving(stacks: Sequence[SimulatedStack], smoothness: float, edge: float, steps: tuple[int, int]
                    ) -> np.ndarray:
    """As `least_squares`, but differences of more than `edge` (of the range) cost less than their squares.

    Iteratively reweighted least squares; steps: outer and inner ones.
    """
    volume, (outer, inner) = mean_of_cubics(stacks), steps
    edge *= max(float(np.ptp(stack.image.array)) for stack in stacks)
    for _ in range(outer):
        squared = np.zeros_like(volume)
        for axis in range(3):
            squared[_but_last(axis)] += np.diff(volume, axis=axis) ** 2
        volume = _solved(stacks, volume, smoothness * edge / np.sqrt(squared + edge ** 2), inner)
    return volume


def _solved(stacks: Sequence[SimulatedStack], start: np.ndarray, smoothness: np.ndarray, steps: int) -> np.ndarray:
    """Minimise squared residuals and weighted squared differences; smoothness: [k, j, i], of the steps from there."""
    shape = start.shape

    def curvature(flat: np.ndarray) -> np.ndarray:
        volume = flat.reshape(shape)
        bent = sum(_spread(_averaged(volume, stack), stack) for stack in stacks) + _rough(volume, smoothness)
        return np.asarray(bent).ravel()

    target = np.asarray(sum(_spread(stack.image.array, stack) for stack in stacks)).ravel()
    operator = LinearOperator((start.size, start.size), matvec=curvature, dtype=start.dtype)
    return cg(operator, target, start.ravel(), rtol=1e-6, maxiter=steps)[0].reshape(shape)


def _averaged(volume: np.ndarray, stack: SimulatedStack) -> np.ndarray:
    """Averages over the blocks that the slices are."""
    across, shape = array_axis(stack.axis), list(volume.shape)
    shape[across:across + 1] = [shape[across] // stack.factor, stack.factor]
    return np.asarray(volume.reshape(shape).mean(across + 1))


def _spread(slices: np.ndarray, stack: SimulatedStack) -> np.ndarray:
    """The transpose of `_averaged`."""
    return np.repeat(slices, stack.factor, axis=array_axis(stack.axis)) / np.float32(stack.factor)


def _rough(volume: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Half the gradient of the weighted squared differences between neighbours."""
    found = np.zeros_like(volume)
    for axis in range(3):
        step = np.diff(volume, axis=axis) * weights[_but_last(axis)]
        found[_but_last(axis)] -= step
        found[(slice(None),) * axis + (slice(1, None),)] += step
    return found


def _but_last(axis: int) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(None, -1),)
