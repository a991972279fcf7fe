"""One volume from several thick stacks of a smooth random body."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from seen_body import LATTICE, SHAPE, THICKNESS, body, psnr, quiet, sights
from torch import Tensor

from TriplaneGaussianReconLib.data.geometry import AXES, array_axis
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.fitting.stack_solve import (
    conjugate_gradients,
    coverage_of,
    edge_weights,
    mean_of,
    near,
    neighbour_differences,
    rough,
    solve,
)

pytestmark = pytest.mark.usefixtures("one_thread")

def mean_of_stacks() -> Tensor:
    """Each interpolated between its slices; [k, j, i]."""
    filled = []
    for axis, each in zip(AXES, sights(), strict=True):
        index = np.indices(SHAPE).astype(float)
        index[array_axis(axis)] = (index[array_axis(axis)] - 1.5) / THICKNESS
        volume = np.moveaxis(each.image.numpy(), 0, array_axis(axis))
        filled.append(map_coordinates(volume, index, order=1, mode="nearest"))
    return torch.from_numpy(np.mean(filled, axis=0))


def solved(noise: float = 0.0, smoothness: float = 1e-3) -> Tensor:
    return solve(sights(noise), torch.zeros(SHAPE), smoothness, 0.02, (3, 12), quiet)


def test_a_system_is_solved() -> None:
    factor = torch.randn(12, 12, generator=torch.Generator().manual_seed(0)).double()
    matrix, expected = factor @ factor.T + torch.eye(12), torch.linspace(-1.0, 2.0, 12).double()
    numbers: list[int] = []
    found = conjugate_gradients(lambda x: matrix @ x, matrix @ expected, torch.ones(12).double(), 30, numbers.append)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)
    assert numbers == list(range(len(numbers)))


def test_steps_beyond_the_solution_do_no_harm() -> None:
    diagonal = torch.tensor([0.01, 0.02, 0.03])
    found = conjugate_gradients(lambda x: diagonal * x, torch.ones(3), torch.zeros(3), 40, lambda _: None)
    torch.testing.assert_close(found, 1.0 / diagonal)


def test_nothing_is_to_be_done_where_the_start_is_the_solution() -> None:
    start = torch.arange(4.0)
    assert torch.equal(conjugate_gradients(lambda x: 2.0 * x, 2.0 * start, start, 5, lambda _: None), start)


def test_roughness_is_half_the_gradient_of_the_weighted_squared_differences() -> None:
    values = torch.from_numpy(body())[:5, :6, :4].double().requires_grad_()
    weights = edge_weights(values.detach(), 0.7, 0.1)
    total = sum((torch.diff(values, dim=axis) ** 2 * weights.narrow(axis, 0, values.shape[axis] - 1)).sum()
                for axis in range(3))
    gradient, = torch.autograd.grad(total, values)
    torch.testing.assert_close(rough(values.detach(), weights), 0.5 * gradient)


def test_differences_are_of_neighbours_that_both_lie_within() -> None:
    values, within = torch.arange(8.0).reshape(2, 2, 2) ** 2, torch.ones(2, 2, 2, dtype=torch.bool)
    within[1, 1, 1] = False
    found = neighbour_differences(values, within)
    assert sorted(found.tolist()) == [1.0, 4.0, 5.0, 8.0, 9.0, 16.0, 20.0, 24.0, 32.0]


def test_edges_cost_less_than_their_squares() -> None:
    step = torch.zeros(2, 2, 6)
    step[..., 3:] = 1.0
    weights = edge_weights(step, 0.5, 0.01)[0, 0]
    assert float(weights[2]) == pytest.approx(0.005, rel=1e-3) and weights[0] == weights[4] == 0.5


def test_the_average_is_weighted_by_what_stacks_see() -> None:
    """And 0 where they see nothing; a constant stays so."""
    across_i = sights()[0]
    alone = replace(across_i, image=torch.full_like(across_i.image, 0.7), weights=across_i.weights.clone())
    alone.weights[3:] = 0.0
    other = replace(alone, image=torch.full_like(across_i.image, 0.1))
    is_seen = coverage_of([alone]) > 0
    assert is_seen[:, :, :10].all() and not is_seen[:, :, 20:].any()
    expected = torch.where(is_seen, 0.7, 0.0)
    torch.testing.assert_close(mean_of([alone]), expected, rtol=1e-3, atol=0.0)
    torch.testing.assert_close(mean_of([alone, other, other]), expected * (3.0 / 7.0), rtol=1e-3, atol=0.0)


def test_three_thick_stacks_tell_more_than_their_mean() -> None:
    assert psnr(LATTICE.drawn(solved())) > psnr(mean_of_stacks()) + 6.0


def test_smoothness_lowers_the_error_of_noisy_stacks() -> None:
    bare, smooth = (psnr(LATTICE.drawn(solved(0.1, smoothness))) for smoothness in (0.0, 0.3))
    assert smooth > bare + 1.0


def test_every_step_is_told_and_may_stop() -> None:
    calls: list[tuple[int, int]] = []

    def tick(step: int, steps: int) -> None:
        calls.append((step, steps))
        if len(calls) == 5:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        solve(sights(), torch.zeros(SHAPE), 1e-3, 0.02, (2, 4), tick)
    assert calls == [(step, 8) for step in range(5)]
    solve(sights(), torch.zeros(SHAPE), 1e-3, 0.02, (2, 4), lambda step, steps: calls.append((step, steps)))
    assert calls[5:] == [(step, 8) for step in range(8)]


def test_the_same_bits_come_out_twice() -> None:
    assert torch.equal(solved(0.1), solved(0.1))


def test_a_solution_near_what_is_likely_stays_there_with_much_trust_and_meets_the_stacks_with_little() -> None:
    likely = torch.full(SHAPE, 0.3)
    assert (near(sights(), likely, 1e6, 20, quiet) - likely).abs().max() < 1e-3
    assert near(sights(), likely, float("inf"), 20, quiet) is likely
    found = near(sights(), likely, 1e-4, 60, quiet)
    assert all((each.view.seen(found) - each.image).abs().mean() < 5e-3 for each in sights())


def test_likely_values_fill_what_the_stacks_leave_open() -> None:
    truth, blind = torch.from_numpy(body()), torch.full(SHAPE, float(body().mean()))
    one = sights()[:1]
    assert psnr(near(one, truth, 0.1, 20, quiet)) > psnr(near(one, blind, 0.1, 20, quiet)) + 10.0


def test_conjugate_gradients_end_where_nothing_is_left() -> None:
    steps: list[int] = []
    conjugate_gradients(lambda x: 2.0 * x, torch.ones(4), torch.zeros(4), 50, steps.append)
    assert len(steps) <= 2
