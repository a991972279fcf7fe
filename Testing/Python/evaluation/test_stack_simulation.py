"""Simulated stacks see what they are said to see."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from stack_case import GRID, blobs

from TriplaneGaussianReconLib.data.geometry import Grid, array_axis
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.slice_profile import profile_depths
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.evaluation.stack_simulation import Simulation, central, simulate

TRUTH = central(Image(blobs(), GRID))
MOVED = Simulation(2, 4, profile="gaussian", motion=(3.0, 2.0), gain=0.2)


def test_the_middle_of_a_volume_is_taken_in_whole_slices_of_every_factor() -> None:
    assert TRUTH.array.shape == (36, 48, 36) and TRUTH.array.dtype == np.float32
    np.testing.assert_array_equal(TRUTH.array, blobs()[4:40, :, 2:38])
    np.testing.assert_allclose(TRUTH.grid.origin, GRID.index_to_physical((2, 0, 4)))
    assert central(Image(blobs(), GRID), 30).array.shape == (24, 24, 24)


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_slices_without_motion_are_averages_of_blocks(axis: str) -> None:
    stack = {each.axis: each for each in simulate(TRUTH, Simulation(3, 3))}[axis]  # type: ignore[index]
    blocks = np.moveaxis(TRUTH.array, array_axis(stack.axis), 0)
    expected = blocks.reshape(len(blocks) // 3, 3, *blocks.shape[1:]).mean(axis=1)
    np.testing.assert_allclose(np.moveaxis(stack.image.array, array_axis(stack.axis), 0), expected, atol=1e-3)


@pytest.mark.parametrize("direction", ["rotation", "flipped"])
def test_a_moved_stack_shows_the_volume_where_its_motion_carries_it(direction: str,
                                                                    request: pytest.FixtureRequest) -> None:
    truth = Image(TRUTH.array, replace(TRUTH.grid, direction=request.getfixturevalue(direction)))
    first, second = simulate(truth, MOVED)
    assert np.allclose(first.true_motion(truth.grid), np.eye(4)) and first.gain == 1.0 != second.gain
    matrix, planes = second.true_motion(truth.grid), second.image.grid.planes("j", [4, 6])
    seen = np.zeros(planes.shape)
    for depth, share in zip(*profile_depths(4 * 1.2, "gaussian", 41), strict=True):
        points = (planes.points() + depth * planes.normal) @ matrix[:3, :3].T + matrix[:3, 3]
        where = truth.grid.physical_to_index(points)[..., ::-1].transpose(3, 0, 1, 2)
        seen += share * map_coordinates(truth.array, where, order=3, mode="nearest")
    shown = second.image.array[:, [4, 6]].swapaxes(0, 1)
    assert np.abs(shown - second.gain * seen)[:, 4:-4, 4:-4].max() < 0.01 * np.ptp(truth.array)


def test_noise_is_a_share_of_the_range_and_repeats_with_the_seed() -> None:
    quiet, loud = (simulate(TRUTH, Simulation(1, 4, noise), seed=3)[0].image.array for noise in (0.0, 0.05))
    assert np.std(loud - quiet) == pytest.approx(0.05 * np.ptp(TRUTH.array), rel=0.03)
    np.testing.assert_array_equal(loud, simulate(TRUTH, Simulation(1, 4, 0.05), seed=3)[0].image.array)
    assert not np.array_equal(loud, simulate(TRUTH, Simulation(1, 4, 0.05), seed=4)[0].image.array)


def test_slices_move_by_themselves_if_asked() -> None:
    first, second = simulate(TRUTH, replace(MOVED, slice_motion=(0.5, 0.4)))
    assert first.motion.std(axis=0).min() > 0.1 and np.abs(second.motion - first.motion[:1]).max() > 0.5
    assert simulate(TRUTH, MOVED)[1].motion.std(axis=0).max() < 1e-12


@pytest.mark.parametrize(("image", "message"), [
    (Image(np.ones((30, 30, 20), np.float32), Grid((30, 30, 20))), "at least 24 voxels .* 20 along i"),
    (Image(np.full((30, 30, 30), np.nan), Grid((30, 30, 30))), "no truth to compare"),
    (Image(np.ones((24, 24, 24)), Grid((24, 24, 24), depths=tuple(np.arange(24.0) ** 1.1))), "lie unevenly")])
def test_volumes_that_cannot_be_cut_into_stacks(image: Image, message: str) -> None:
    with pytest.raises(InputError, match=message):
        central(image)
