"""Sums over groups of Gaussians become what a mode draws of all of them."""
from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.gaussians.cloud import Gaussians
from TriplaneGaussianReconLib.rasterizer.modes import MODES, PLAIN_SUMS
from TriplaneGaussianReconLib.rasterizer.rasterize import rasterize
from TriplaneGaussianReconLib.rasterizer.sums import composited

PLANES = PlaneStack([[0.0, 0.0, 0.5], [0.0, 0.0, 2.0]], [0, 1, 0], [1, 0, 0], 6, 7)
UNORDERED = [name for name, mode in MODES.items() if not mode.is_ordered]


def cloud(count: int, seed: int) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)
    precisions = torch.tensor([0.5, 0.1, 0.0, 0.6, 0.0, 0.4]).double().repeat(count, 1)
    centres, weights, values = (torch.rand(count, *shape, generator=generator).double() for shape in ((3,), (), (2,)))
    return Gaussians(6.0 * centres, precisions, weights, values, torch.zeros(count, 2, 3).double(),
                     torch.tensor([[0, 1]], dtype=torch.int32).repeat(count, 1))


@pytest.mark.parametrize("mode", UNORDERED)
def test_groups_add_up_to_the_whole(mode: str) -> None:
    groups = [cloud(5, 0), cloud(8, 1)]
    both = Gaussians(*(torch.cat([getattr(group, f.name) for group in groups]) for f in fields(Gaussians)))
    whole = rasterize(both, PLANES, mode=mode, channel_count=2, backend="reference").channels
    rasters = [rasterize(group, PLANES, mode=PLAIN_SUMS, channel_count=2, backend="reference") for group in groups]
    sums, weight_sum = sum(r.channels for r in rasters), sum(r.weight_sum for r in rasters)
    torch.testing.assert_close(composited(sums, weight_sum[:, None], mode), whole)
