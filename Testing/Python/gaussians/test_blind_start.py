"""Where Gaussians start that know nothing of the image."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.config.gaussians import BlindStart
from TriplaneGaussianReconLib.gaussians.blind_start import at_random, on_grid
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters

BOX = np.array([[-2.0, 0, 10], [8, 5, 12]])
START = BlindStart(size=20, sigma=0.2, opacity=0.55, intensity=0.8)

Place = Callable[..., GaussianParameters]


@pytest.mark.parametrize("place", [on_grid, at_random])
def test_all_are_alike_and_in_the_box(place: Place) -> None:
    before = torch.random.get_rng_state()
    parameters = place(BOX, 0.5, 4, 3, START)
    assert torch.equal(torch.random.get_rng_state(), before)  # draws from its own generator
    centres = parameters.centres.numpy()
    assert len(parameters) == 20 * 10 * 4
    assert (centres > BOX[0]).all() and (centres < BOX[1]).all()
    np.testing.assert_allclose(parameters.log_depths.exp(), 0.1, rtol=1e-5)
    np.testing.assert_allclose(parameters.in_plane[:, 0].exp(), 10.0, rtol=1e-5)
    np.testing.assert_allclose(torch.sigmoid(parameters.raw_weights), 0.55, rtol=1e-5)
    assert (parameters.values[:, 0] == 0.8).all() and not parameters.values[:, 1:].any()
    assert parameters.channels.tolist()[0] == [0, 1, 2, 3] and parameters.channels.dtype == torch.int32
    again, other = place(BOX, 0.5, 4, 3, START), place(BOX, 0.5, 4, 4, START)
    assert torch.equal(again.tilts, parameters.tilts) and not torch.equal(other.tilts, parameters.tilts)


def test_a_grid_fills_the_box_evenly() -> None:
    centres = on_grid(BOX, 0.5, 1, 0, START).centres.numpy()
    np.testing.assert_allclose(centres.mean(axis=0), BOX.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(np.unique(centres[:, 2]), [10.25, 10.75, 11.25, 11.75])
    flat = np.array([[0.0, 0, 0], [10, 10, 0]])
    assert len(on_grid(flat, 1.0, 1, 0, replace(START, size=5))) == 25  # one layer


def test_at_random_no_two_seeds_give_the_same_places() -> None:
    first, second = (at_random(BOX, 0.5, 1, seed, START).centres for seed in (0, 1))
    assert not torch.equal(first, second)
    assert (first[1:, 2] >= first[:-1, 2]).all()


@pytest.mark.parametrize("place", [on_grid, at_random])
def test_layers_are_counted_in_gaps_between_slices(place: Place) -> None:
    assert len(place(BOX, 0.25, 1, 0, replace(START, layers=1.0))) == 20 * 10 * 8
    assert len(place(BOX, 0.25, 1, 0, replace(START, layers=2.0))) == 20 * 10 * 16


def test_gaussians_can_reach_from_slice_to_slice() -> None:
    deep = on_grid(BOX, 2.0, 1, 0, replace(START, depth_sigma=0.5))
    np.testing.assert_allclose(deep.log_depths.exp(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(deep.in_plane[:, 0].exp(), 10.0, rtol=1e-5)
    shallow = on_grid(BOX, 0.1, 1, 0, replace(START, depth_sigma=0.5))
    np.testing.assert_allclose(shallow.log_depths.exp(), 0.1, rtol=1e-5)  # never flatter than they are wide
