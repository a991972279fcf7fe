"""The motion of a stack against a volume that is known well: the last hundredths of a voxel."""
from __future__ import annotations

import numpy as np
import torch

from ..config.registration import RigidConfig
from ..data.geometry import Grid
from ..data.observations import SliceStack
from ..data.slice_profile import profile_depths, profile_reach
from ..data.stack_motion import StackMotion
from ..runtime.progress import Tick
from ..runtime.threads import serial_torch
from .rigid_fit import Samples, Target, fitted


def refine_motion(stack: SliceStack, volume: np.ndarray, grid: Grid, motion: StackMotion, *,
                  config: RigidConfig | None = None, seed: int = 0, tick: Tick | None = None) -> StackMotion:
    """Move a stack until its pixels are what the slices would see of a volume.

    A few voxels lead back to the right place, not more.

    Args:
        stack: its pixels of weight 0 are not looked at.
        volume: [k, j, i] grey values of the first volume's kind.
        grid: where they lie in the first volume's world; even, with voxels no thicker than the slices.
        motion: where to start.
        config: how many pixels and steps, how close depths; None for the default.
        seed: decides which pixels are compared.
        tick: called before each step; may raise to stop.

    Returns:
        The motion found; `motion` itself where the stack lies outside of the volume or none of its pixels weighs.

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
    config = config or RigidConfig()
    calls = iter(range(config.steps))
    with serial_torch():
        samples = _samples(stack, min(grid.spacing), config, np.random.default_rng(seed))
        if not len(samples.values):
            return motion
        found, _ = fitted(samples, Target(volume, grid, is_cubic=True), motion, config.steps,
                          tick=lambda: tick(next(calls), config.steps) if tick else None)
    return found


def _samples(stack: SliceStack, voxel: float, config: RigidConfig, random: np.random.Generator) -> Samples:
    """Some pixels of weight above 0, each with its depths."""
    planes = stack.planes
    weights = np.ones(stack.pixels.size) if stack.weights is None else stack.weights.reshape(-1).astype(np.float64)
    chosen = np.flatnonzero(weights > 0)
    if len(chosen) > config.pixels:
        chosen = np.sort(random.choice(chosen, config.pixels, replace=False))
    plane, row, column = np.unravel_index(chosen, planes.shape)
    points = planes.origins[plane] + row[:, None] * planes.row_step + column[:, None] * planes.column_step
    depths, shares = _depths(stack, voxel, config)
    points = points[:, None] + depths[:, None] * planes.normal
    values = stack.pixels.reshape(-1)[chosen].astype(np.float64)
    return Samples(*(torch.from_numpy(a) for a in (points, shares, values, weights[chosen])))


def _depths(stack: SliceStack, voxel: float, config: RigidConfig) -> tuple[np.ndarray, np.ndarray]:
    """(Q,) mm along the normal and (Q,) shares, of the samples that make one pixel."""
    if not stack.thickness:
        return np.zeros(1), np.ones(1)
    profile = stack.profile or "gaussian"
    count = int(np.ceil(profile_reach(stack.thickness, profile) / (config.depth_spacing * voxel) - 1e-6)) + 1
    return profile_depths(stack.thickness, profile, int(np.clip(count, config.fewest_depths, config.most_depths)))
