"""The expected error between the observed slices."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.config.prediction import ExpectedErrorConfig
from TriplaneGaussianReconLib.prediction.expected_error import RISE, ExpectedError, coarsened

OFFSETS = np.array([0.0, 4.0, 5.0, 11.0])
CONFIG = ExpectedErrorConfig()


def of_fine(middle: np.ndarray, offsets: np.ndarray, pixel: np.ndarray, at_observed: float,
            config: ExpectedErrorConfig = CONFIG) -> ExpectedError:
    """From errors [gap, row, column] with pixels of size `pixel` (2,) mm."""
    return ExpectedError.from_coarse(coarsened(middle, config), middle.shape[1:], offsets, pixel, at_observed)


def along_depth(error: ExpectedError, depths: np.ndarray, x: float = 5.0, y: float = 5.0) -> np.ndarray:
    points = np.stack([np.full_like(depths, x), np.full_like(depths, y), depths], axis=-1)[None]
    return error.at(torch.from_numpy(points))[0].numpy()


def uniform(values: tuple[float, ...] = (2.0, 3.0, 4.0), at_observed: float = 0.25) -> ExpectedError:
    middle = np.broadcast_to(np.float32(values)[:, None, None], (3, 16, 20)).copy()
    return of_fine(middle, OFFSETS, np.array([0.5, 0.5]), at_observed)


def test_smallest_on_observed_slices_and_largest_half_way() -> None:
    error = uniform()
    np.testing.assert_allclose(along_depth(error, OFFSETS), 0.25, atol=1e-6)
    np.testing.assert_allclose(along_depth(error, np.array([2.0, 4.5, 8.0])), [2.0, 3.0, 4.0], rtol=1e-6)
    np.testing.assert_allclose(along_depth(error, np.array([1.0, 3.0])), 0.25 + 0.5 ** RISE * 1.75, rtol=1e-6)
    assert along_depth(error, OFFSETS).dtype == np.float32
    zero = uniform(at_observed=0.0)
    np.testing.assert_allclose(along_depth(zero, OFFSETS), 0.0, atol=1e-6)


def test_rises_and_falls_within_each_gap() -> None:
    error = uniform()
    for low, high in zip(OFFSETS[:-1], OFFSETS[1:], strict=True):
        half = 0.5 * (low + high)
        assert (np.diff(along_depth(error, np.linspace(low, half, 20))) > 0).all()
        assert (np.diff(along_depth(error, np.linspace(half, high, 20))) < 0).all()


def test_continuous_in_depth() -> None:
    """On either side of a slice too, where it rises most steeply."""
    for depth in (*OFFSETS, 2.0, 4.5, 8.0):
        beside = along_depth(uniform(), depth + np.array([-1e-9, 0.0, 1e-9]))
        assert np.ptp(beside) < 0.02


def test_continuous_within_a_slice() -> None:
    middle = np.random.default_rng(0).random((1, 40, 48)).astype(np.float32)
    error = of_fine(middle, np.array([0.0, 2.0]), np.array([0.5, 0.5]), 0.0)
    x = np.linspace(-2, 26, 3001)
    points = np.stack([x, np.full_like(x, 7.3), np.full_like(x, 1.0)], axis=-1)
    values = error.at(torch.from_numpy(points[None])).numpy()
    assert np.abs(np.diff(values)).max() < 0.01 and values.std() > 0.01


def test_grows_beyond_the_ends() -> None:
    error = uniform()
    below = along_depth(error, np.array([0.0, -1.0, -2.0, -6.0]))
    above = along_depth(error, np.array([11.0, 12.0, 15.0, 30.0]))
    assert (np.diff(below) > 0).all() and (np.diff(above) > 0).all()
    assert below[2] == pytest.approx(2.0) and above[2] == pytest.approx(0.25 + 4 / 3 * 3.75)
    assert above[3] > 4.0


def test_never_below_the_residual_on_the_observed_slices() -> None:
    error = uniform((0.1, 3.0, 0.0))
    assert along_depth(error, np.linspace(-3, 14, 100)).min() >= 0.25 - 1e-6
    assert along_depth(error, np.array([2.0, 8.0])) == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize("shape", [(40, 48), (16, 20), (42, 50), (3, 2), (1, 1), (7, 33)])
def test_coarse_cells_lie_where_their_pixels_are(shape: tuple[int, int]) -> None:
    """A linear course in x and y is kept where cells surround a point: nothing is shifted."""
    pixel = np.array([0.5, 0.8])
    y, x = np.meshgrid(np.arange(shape[0]) * pixel[1], np.arange(shape[1]) * pixel[0], indexing="ij")
    fine = (1.0 + 0.3 * x + 0.2 * y).astype(np.float32)
    error = of_fine(fine[None], np.array([0.0, 2.0]), pixel, 0.0)
    cells = error.middle.shape[1:]
    assert cells == tuple(max(1, round(n / CONFIG.coarseness)) for n in shape)
    # The cells tile the same rectangle as the pixels.
    for n, (count, cell) in enumerate(zip(shape[::-1], cells[::-1], strict=True)):
        assert error.step[n] * cell == pytest.approx(count * pixel[n])
        assert error.origin[n] - 0.5 * error.step[n] == pytest.approx(-0.5 * pixel[n])
    found = error.at(torch.from_numpy(np.stack([x, y, np.full_like(x, 1.0)], axis=-1))).numpy()
    # Half a cell at the border is extended constantly.
    inside = ((x >= error.origin[0]) & (x <= error.origin[0] + (cells[1] - 1) * error.step[0])
              & (y >= error.origin[1]) & (y <= error.origin[1] + (cells[0] - 1) * error.step[1]))
    np.testing.assert_allclose(found[inside], fine[inside], atol=0.01)
    assert np.isfinite(found).all()


def test_each_gap_has_its_own_map() -> None:
    middle = np.ones((2, 16, 16), np.float32)
    middle[0, :, 8:] = 5.0
    middle[1, 8:] = 3.0
    error = of_fine(middle, np.array([0.0, 2.0, 4.0]), np.ones(2), 0.0)
    for (x, y, z), expected in {(14, 2, 1): 5.0, (1, 2, 1): 1.0, (2, 14, 3): 3.0, (14, 1, 3): 1.0}.items():
        assert along_depth(error, np.array([float(z)]), x, y).item() == pytest.approx(expected)


def test_a_cell_has_as_many_pixels_as_configured() -> None:
    for coarseness, shape in ((1, (1, 16, 20)), (2, (1, 8, 10)), (8, (1, 2, 2))):
        error = of_fine(np.ones((1, 16, 20), np.float32), OFFSETS[:2], np.ones(2), 0.0, ExpectedErrorConfig(coarseness))
        assert error.middle.shape == shape
