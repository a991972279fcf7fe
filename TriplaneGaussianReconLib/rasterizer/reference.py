"""The definition of truth: every Gaussian at every pixel, in plain torch, differentiated by autograd.

Memory and time grow with Gaussians x pixels of one plane, so this is for tests and small examples.
"""
from __future__ import annotations

import torch
from torch import Tensor

from ..data.geometry import PlaneStack
from ..gaussians.cloud import Gaussians
from .definitions import EPSILON, MAX_ALPHA, depths
from .modes import MODES

_SYMMETRIC = (0, 1, 2, 1, 3, 4, 2, 4, 5)  # packed xx, xy, xz, yy, yz, zz to the nine elements of the matrix


def rasterize(gaussians: Gaussians, planes: PlaneStack, mode: str, channel_count: int,
              cutoff: float) -> tuple[Tensor, Tensor]:
    """Return channels (P, channel_count, rows, columns) and weight sum (P, rows, columns) of checked input."""
    dtype = gaussians.centres.dtype
    distances = (depths(gaussians.centres, planes)[None] - torch.from_numpy(planes.offsets)[:, None]).abs()
    points = planes.points(torch.from_numpy).flatten(1, 2).to(dtype)
    channels, weight_sums = [], []
    for plane in range(len(planes)):
        offsets = points[plane][None] - gaussians.centres[:, None]
        contributions = _contributions(gaussians, offsets, cutoff)
        if MODES[mode].is_ordered:
            contributions = _composite(contributions, torch.argsort(distances[plane], stable=True))
        weight_sum = contributions.sum(0)
        drawn = _draw(gaussians, offsets, contributions, channel_count)
        channels.append(drawn / (weight_sum + EPSILON) if MODES[mode].is_normalised else drawn)
        weight_sums.append(weight_sum)
    if not channels:
        empty = gaussians.centres.sum() * torch.zeros(planes.shape, dtype=dtype)
        return empty[:, None].repeat(1, channel_count, 1, 1), empty
    return (torch.stack(channels).reshape(len(planes), channel_count, planes.rows, planes.columns),
            torch.stack(weight_sums).reshape(planes.shape))


def _contributions(gaussians: Gaussians, offsets: Tensor, cutoff: float) -> Tensor:
    """Return (N, pixels), `w_i G_i`, from `offsets` (N, pixels, 3) mm of the pixels from the centres."""
    precisions = gaussians.precisions[:, _SYMMETRIC].reshape(-1, 3, 3)
    q = torch.einsum("npa,nab,npb->np", offsets, precisions, offsets)
    return torch.where(q <= cutoff, gaussians.weights[:, None] * torch.exp(-q / 2), torch.zeros_like(q))


def _composite(contributions: Tensor, order: Tensor) -> Tensor:
    """Return (N, pixels), `a_i T_i` for Gaussians that cover each other in `order`."""
    alphas = contributions[order].clamp(max=MAX_ALPHA)
    after = torch.cumprod(1 - alphas, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    return torch.zeros_like(alphas).index_copy(0, order, alphas * before)


def _draw(gaussians: Gaussians, offsets: Tensor, contributions: Tensor, channel_count: int) -> Tensor:
    """Return (channel_count, pixels), the sum of contribution times value over the slots of each channel."""
    values = gaussians.values[:, :, None] + torch.einsum("nsa,npa->nsp", gaussians.slopes, offsets)
    drawn = torch.zeros(channel_count, offsets.shape[1], dtype=offsets.dtype)
    return drawn.index_add(0, gaussians.channels.flatten().long(), (values * contributions[:, None]).flatten(0, 1))
