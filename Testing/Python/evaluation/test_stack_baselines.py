"""The usual ways of joining stacks do what their names say."""
from __future__ import annotations

import numpy as np
import pytest
from stack_case import GRID, blobs

from TriplaneGaussianReconLib.data.geometry import array_axis
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.evaluation.stack_baselines import cubic, edge_preserving, least_squares, mean_of_cubics
from TriplaneGaussianReconLib.evaluation.stack_simulation import Simulation, central, simulate

TRUTH = central(Image(blobs(), GRID))


def error(volume: np.ndarray, truth: np.ndarray = TRUTH.array) -> float:
    return float(np.sqrt(np.mean((volume - truth) ** 2)))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_cubic_splines_follow_a_straight_line(number: int) -> None:
    indices = np.indices(TRUTH.array.shape).astype(np.float32)
    stack = simulate(Image(indices[number] + 5, TRUTH.grid), Simulation(3, 4))[number]
    assert array_axis(stack.axis) == number
    inner = np.moveaxis(cubic(stack) - indices[number] - 5, number, 0)[2:-2]
    assert np.abs(inner).max() < 1e-3


def test_least_squares_explains_all_stacks_where_a_mean_does_not() -> None:
    stacks = simulate(TRUTH, Simulation(3, 4))
    found = least_squares(stacks, 0.003)
    assert found.dtype == np.float32
    assert error(found) < 0.4 * error(mean_of_cubics(stacks)) < 0.4 * min(error(cubic(stack)) for stack in stacks)
    again = simulate(Image(found, TRUTH.grid), Simulation(3, 4))
    off = [np.abs(one.image.array - other.image.array).max() for one, other in zip(again, stacks, strict=True)]
    assert max(off) < 0.05 * np.ptp(TRUTH.array)


def test_edges_stay_sharp_where_they_are_to_be_preserved() -> None:
    steps = Image((TRUTH.array > 40).astype(np.float32), TRUTH.grid)
    stacks = simulate(steps, Simulation(3, 4, noise=0.02))
    smooth = min(error(least_squares(stacks, weight), steps.array) for weight in (0.03, 0.1))
    assert error(edge_preserving(stacks, 0.2, 0.02, (6, 12)), steps.array) < 0.9 * smooth
