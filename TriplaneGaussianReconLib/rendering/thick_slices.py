"""Drawing what thick slices see."""
from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..data.geometry import PlaneStack
from ..gaussians.cloud import Gaussians
from ..gaussians.slice_profile import ProfileGaussians, averaged
from ..rasterizer.sums import composited
from .renderer import Renderer


def thick_sums(renderer: Renderer, gaussians: Gaussians, planes: PlaneStack, profile: ProfileGaussians) -> Tensor:
    """Draw the plain sums of all channels over the profile, and the weight sum after them.

    Args:
        renderer: How to draw.
        gaussians: What to draw, in the model's frame.
        planes: The middles of the slices, there.
        profile: How they average.

    Returns:
        (P, channel_count + 1, rows, columns).
    """
    normal = torch.from_numpy(planes.normal).to(gaussians.centres)
    seen = averaged(gaussians, normal, profile.sigma)
    parts = [renderer.sums(seen, replace(planes, origins=planes.origins + offset * planes.normal))
             for offset in profile.offsets]
    return torch.stack(parts).mean(dim=0)


def draw_thick(renderer: Renderer, gaussians: Gaussians, planes: PlaneStack, profile: ProfileGaussians) -> Tensor:
    """Draw what slices see, in a mode that needs no order: (P, channel_count, rows, columns).

    In a normalised mode that is the sum of values over the profile, divided by the sum of weights over it.
    Arguments: see `thick_sums`.
    """
    sums = thick_sums(renderer, gaussians, planes, profile)
    return composited(sums[:, :-1], sums[:, -1:], renderer.mode)
