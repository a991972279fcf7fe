"""Gaussians on a lattice: what they show at their centres, against the rasterizer."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from TriplaneGaussianReconLib.data.geometry import Grid, PlaneStack
from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.gaussians.lattice import Lattice
from TriplaneGaussianReconLib.labels.channels import LabelChannels
from TriplaneGaussianReconLib.rendering.renderer import Renderer

LATTICE = Lattice((7, 9, 8), pitch=1.5, sigma=1.05, cutoff=9.0)  # no distance lies on the cutoff


def smooth(seed: int = 0) -> Tensor:
    noise = np.random.default_rng(seed).standard_normal(LATTICE.shape)
    return torch.from_numpy(gaussian_filter(noise, 1.5, mode="nearest"))


def centres() -> PlaneStack:
    """Planes through all Gaussians, a pixel on each."""
    return Grid(LATTICE.shape, spacing=(LATTICE.pitch,) * 3).planes("k", np.arange(LATTICE.shape[0]))


def shown(parameters: GaussianParameters, channel_count: int = 1) -> Tensor:
    """[k, channel, j, i] what the rasterizer draws at the centres."""
    return Renderer("normalised", LATTICE.cutoff, "cpu", channel_count)(parameters.drawn(), centres())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float32, 1e-5)])
def test_what_is_drawn_is_what_the_rasterizer_draws(dtype: torch.dtype, tolerance: float) -> None:
    """But for what it adds to the sum of weights."""
    values = smooth().to(dtype)
    found = LATTICE.drawn(values)
    assert found.dtype == dtype
    torch.testing.assert_close(found, shown(LATTICE.parameters(values))[:, 0], rtol=tolerance, atol=tolerance)


def test_the_gaussians_lie_in_the_order_of_the_voxels_and_are_round() -> None:
    parameters = LATTICE.parameters(smooth())
    np.testing.assert_allclose(parameters.centres.numpy(), centres().points().reshape(-1, 3))
    expected = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 1.0]).double() / LATTICE.sigma ** 2
    torch.testing.assert_close(parameters.drawn().precisions, expected.expand(len(parameters), 6))


def test_labels_come_back_from_their_slots() -> None:
    """Of two layers, of which the voxels below a border have one label and those above it another."""
    channels = LabelChannels((Segment("a", 3, 0), Segment("b", 7, 0), Segment("c", 1, 1)))
    layers = np.zeros((2, *LATTICE.shape), np.uint8)
    layers[0, :, :, :3], layers[0, :, :, 5:], layers[1, 4:] = 3, 7, 1
    bare = LATTICE.parameters(smooth())
    labelled = LATTICE.with_labels(bare, torch.from_numpy(channels.numbered(layers)))
    drawn = shown(labelled, channels.count)
    np.testing.assert_array_equal(channels.decode(drawn, 2, np.dtype(np.uint8)), layers)
    torch.testing.assert_close(drawn[:, 0], shown(bare)[:, 0])
    totals = torch.stack([drawn[:, 1:4].sum(1), drawn[:, 4:].sum(1)])  # each layer's labels share every pixel
    torch.testing.assert_close(totals, torch.ones_like(totals), rtol=0.0, atol=1e-5)
