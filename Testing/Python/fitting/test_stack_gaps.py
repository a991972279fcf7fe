"""What lies between slices that leave it out."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.slice_profile import ProfileGaussians
from TriplaneGaussianReconLib.fitting.stack_gaps import between_slices, errors_between
from TriplaneGaussianReconLib.fitting.stack_solve import is_seen_by, mean_of
from TriplaneGaussianReconLib.fitting.stack_view import SeenStack, Sight, view
from TriplaneGaussianReconLib.gaussians.lattice import Lattice

LATTICE = Lattice((13, 10, 11), 1.0, 0.45, 9.0)
EVERYWHERE = torch.ones(LATTICE.shape, dtype=torch.bool)
SLICES = (1, 5, 11)  # of 13, unevenly apart


def thin(square: float = 0.0, slices: tuple[int, ...] = SLICES) -> Sight:
    """Thin slices of what rises by 2 along k and by 1 along i, and by `square` with the square of k."""
    k, _, i = np.indices(LATTICE.shape)
    planes = Grid(LATTICE.shape).planes("k", slices)
    image = torch.from_numpy((2.0 * k + i + square * k ** 2).astype(np.float32)[list(slices)])
    return Sight.of(view(SeenStack(planes, image, torch.ones_like(image), ProfileGaussians.of("box", 0.5, 1.0)),
                         LATTICE, "cpu"))


def test_it_is_linear_from_slice_to_slice_and_nothing_beyond() -> None:
    values, known = between_slices([thin()], LATTICE, EVERYWHERE)
    k, _, i = np.indices(LATTICE.shape)
    assert known[1:12].all() and not known[0].any() and not known[12].any()
    np.testing.assert_allclose(values[1:12], (2.0 * k + i)[1:12], atol=1e-4)
    assert not values[0].any()
    some = EVERYWHERE.clone()
    some[3:] = False
    assert between_slices([thin()], LATTICE, some)[1].sum() == known[1:3].sum()


def test_pixels_without_weight_tell_nothing_and_a_lone_slice_has_no_gap() -> None:
    sight = thin()
    weights = sight.weights.clone()
    weights[1:, :5] = 0.0
    values, known = between_slices([replace(sight, weights=weights)], LATTICE, EVERYWHERE)
    assert known[2, :5].all() and not known[4, :5].any() and not known[8, :5].any() and known[8, 5:].all()
    np.testing.assert_allclose(values[2, :5], np.broadcast_to(2.0 + np.arange(11), (5, 11)), atol=1e-4)
    assert not between_slices([thin(slices=(4,))], LATTICE, EVERYWHERE)[1].any()


def test_the_stack_with_the_nearer_slice_counts_the_more() -> None:
    far = thin()
    near = replace(thin(slices=(1, 4, 11)), image=torch.zeros(3, 10, 11))
    values, _ = between_slices([far, near], LATTICE, EVERYWHERE)
    alone, _ = between_slices([far], LATTICE, EVERYWHERE)
    assert (values[4] < 0.4 * alone[4]).all() and (values[5] > 0.6 * alone[5]).all()


def test_voxels_between_thin_slices_count_as_seen_and_start_from_what_these_tell() -> None:
    sight = thin()
    k, _, i = np.indices(LATTICE.shape)
    assert is_seen_by([sight])[1:12].all()
    np.testing.assert_allclose(mean_of([sight])[[3, 8]], (2.0 * k + i)[[3, 8]], atol=1e-3)


@pytest.mark.parametrize("slices", [SLICES, (1, 11)])
def test_errors_follow_from_slices_that_are_predicted_by_their_neighbours(slices: tuple[int, ...]) -> None:
    errors = errors_between([thin(square=0.3, slices=slices)], LATTICE, EVERYWHERE, 1.0)
    # Of three slices the middle one misses by 0.3 * 4 * 6; two differ by 2 * 10 + 0.3 * (121 - 1).
    expected = 0.5 * (0.3 * 24.0 if len(slices) == 3 else 20.0 + 0.3 * 120.0)
    np.testing.assert_allclose(errors[1:12], expected, rtol=1e-3)
    assert not errors[0].any()
