"""Where Gaussians start if they know nothing of the image, as those of InnerGS (a grid) and 3DGS (at random) do."""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..config.gaussians import BlindStart
from ..runtime.image_operations import CPU
from .cloud import GaussianParameters


def on_grid(box: np.ndarray, gap: float, channel_count: int, seed: int, start: BlindStart,
            device: torch.device = CPU) -> GaussianParameters:
    """Place Gaussians on a grid.

    Args:
        box: (2, 3) mm, lowest and highest corner.
        gap: mm, distance between the used slices.
        channel_count: Channels, the image included; those of labels start at 0.
        seed: Of the tilts, which are the same on every device.
        start: How many, and what they are like.
        device: Where to keep the Gaussians.
    """
    axes = [low + (np.arange(n) + 0.5) * side / n
            for low, side, n in zip(box[0], box[1] - box[0], _counts(box, gap, start), strict=True)]
    centres = torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)).float()
    return _alike(centres, box, gap, channel_count, torch.Generator().manual_seed(seed), start).to(device)


def at_random(box: np.ndarray, gap: float, channel_count: int, seed: int, start: BlindStart,
              device: torch.device = CPU) -> GaussianParameters:
    """Place as many Gaussians as `on_grid`, but anywhere in the box; the arguments are the same."""
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.from_numpy(box).float()
    centres = low + (high - low) * torch.rand(int(np.prod(_counts(box, gap, start))), 3, generator=generator)
    centres = centres[torch.argsort(centres[:, 2], stable=True)]  # neighbours in memory are neighbours in space
    return _alike(centres, box, gap, channel_count, generator, start).to(device)


def _counts(box: np.ndarray, gap: float, start: BlindStart) -> np.ndarray:
    """(3,) Gaussians along each side of the box."""
    extent = box[1] - box[0]
    wanted = extent / (extent.max() / start.size)
    if start.layers:
        wanted[2] = start.layers * extent[2] / gap
    counts: np.ndarray = np.maximum(np.round(wanted).astype(int), 1)
    return counts


def _alike(centres: Tensor, box: np.ndarray, gap: float, channel_count: int, generator: torch.Generator,
           start: BlindStart) -> GaussianParameters:
    """Gaussians at `centres` that differ in their tilts alone."""
    count, sigma = len(centres), start.sigma * float((box[1] - box[0]).max()) / start.size
    depth = max(sigma, start.depth_sigma * gap)
    values = torch.zeros(count, channel_count)
    values[:, 0] = start.intensity
    return GaussianParameters(
        centres=centres, tilts=start.tilt * torch.randn(count, 2, generator=generator),
        in_plane=torch.tensor([-np.log(sigma), 0.0, -np.log(sigma)]).float().repeat(count, 1),
        log_depths=torch.full((count,), float(np.log(depth))),
        raw_weights=torch.full((count,), float(np.log(start.opacity / (1.0 - start.opacity)))), values=values,
        slopes=torch.zeros(count, channel_count, 3),
        channels=torch.arange(channel_count, dtype=torch.int32).repeat(count, 1))
