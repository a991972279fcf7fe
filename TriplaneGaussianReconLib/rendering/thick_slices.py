"""Drawing what thick slices see."""
from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..data.geometry import PlaneStack
from ..data.slice_profile import ProfileGaussians
from ..gaussians.cloud import Gaussians
from .renderer import Renderer


def thick_sums(renderer: Renderer, averaged: Gaussians, planes: PlaneStack, profile: ProfileGaussians) -> Tensor:
    """Draw the plain sums of all channels over the profile, and the weight sum after them.

    In a normalised mode a slice sees the sum of values over its profile, divided by the sum of weights over it: what
    `composited` makes of these.

    Args:
        renderer: How to draw.
        averaged: What to draw, in the model's frame, averaged along the normal of the planes (see
            `slice_profile.averaged`).
        planes: The middles of the slices, there.
        profile: How they average.

    Returns:
        (P, channel_count + 1, rows, columns).
    """
    parts = [renderer.sums(averaged, replace(planes, origins=planes.origins + offset * planes.normal))
             for offset in profile.offsets]
    return torch.stack(parts).mean(dim=0)
