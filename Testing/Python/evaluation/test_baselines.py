"""The baselines fill what they should."""
from __future__ import annotations

import sys

import numpy as np
import pytest

from TriplaneGaussianReconLib.errors import InputError, ReconstructionError
from TriplaneGaussianReconLib.evaluation import baselines, metrics

UNEVEN = np.array([0.0, 1.0, 4.0, 9.0])
WANTED = np.array([0.0, 0.5, 2.0, 4.0, 8.0])


def polynomial(positions: np.ndarray, degree: int) -> np.ndarray:
    return (0.1 * (positions / 9) ** degree)[:, None, None] * np.ones((1, 12, 13), np.float32)


@pytest.mark.parametrize(("name", "degree"), [("linear", 1), ("cubic", 3), ("pchip", 1), ("flow", 1)])
def test_interpolators_reproduce_their_polynomials_at_uneven_positions(name: str, degree: int) -> None:
    filled = baselines.IMAGE_METHODS[name](UNEVEN, polynomial(UNEVEN, degree).astype(np.float32), WANTED)
    assert filled.dtype == np.float32
    np.testing.assert_allclose(filled, polynomial(WANTED, degree), atol=1e-6)


def test_pchip_does_not_overshoot() -> None:
    step = np.repeat(np.array([0, 0, 1, 1], np.float32), 4).reshape(4, 2, 2)
    filled = baselines.pchip(np.arange(4), step, np.linspace(0, 3, 31))
    assert filled.min() >= 0
    assert filled.max() <= 1
    assert baselines.cubic(np.arange(4), step, np.linspace(0, 3, 31)).min() < 0


def test_nearest_prefers_the_earlier_of_two_equally_near() -> None:
    slices = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    filled = baselines.nearest(UNEVEN, slices, np.array([0.5, 2.5, 2.6, 6.4, 6.5, 6.6]))
    assert filled.dtype == np.uint8
    assert filled[:, 0, 0].tolist() == [0, 1, 2, 2, 2, 3]


@pytest.mark.parametrize("name", baselines.IMAGE_METHODS)
def test_ends_are_repeated_beyond_the_slices(name: str) -> None:
    slices = np.random.default_rng(0).uniform(size=(3, 12, 13)).astype(np.float32)
    filled = baselines.IMAGE_METHODS[name](np.array([2, 4, 6]), slices, np.arange(9))
    np.testing.assert_allclose(filled[[0, 1, 2, 6, 7, 8]], slices[[0, 0, 0, 2, 2, 2]], atol=1e-6)


def test_flow_follows_what_moves() -> None:
    rows, columns = np.meshgrid(np.arange(40), np.arange(40), indexing="ij")
    blobs = np.stack([np.exp(-((rows - 16 - m) ** 2 + (columns - 20) ** 2) / 40) for m in (0, 2, 4)]).astype(np.float32)
    errors = [np.abs(baselines.IMAGE_METHODS[name](np.array([0, 2]), blobs[::2], np.array([1]))[0] - blobs[1]).max()
              for name in ("flow", "linear")]
    assert errors[0] < 0.5 * errors[1]


def disc(radius: float) -> np.ndarray:
    rows, columns = np.meshgrid(np.arange(31) - 15, np.arange(31) - 15, indexing="ij")
    return 5 * (np.hypot(rows, columns) < radius).astype(np.int32)


def test_shape_interpolation_grows_a_disc_steadily() -> None:
    filled = baselines.shape(np.array([0, 1, 4]), np.stack([disc(3), disc(4), disc(10)]), np.arange(5))
    assert filled.dtype == np.int32
    for filled_slice, radius in zip(filled, (3, 4, 6, 8, 10), strict=True):
        assert metrics.dice(filled_slice > 0, disc(radius) > 0) > 0.9


def test_shape_interpolation_ends_a_label_part_of_the_way() -> None:
    filled = baselines.shape(np.array([0, 10]), np.stack([disc(8), disc(0)]), np.arange(11))
    areas = np.count_nonzero(filled, axis=(1, 2))
    assert areas[1] > 0
    assert areas[9] == 0


def test_contour_interpolation_in_its_own_process() -> None:
    filled = baselines.contour(np.array([1, 3, 6]), np.stack([disc(5), disc(7), disc(10)]), np.arange(8))
    assert filled.dtype == np.int32
    assert set(np.unique(filled)) == {0, 5}
    np.testing.assert_array_equal(filled[[0, 1, 3, 6, 7]], [disc(r) for r in (5, 5, 7, 10, 10)])
    areas = (filled > 0).sum(axis=(1, 2))
    assert (np.diff(areas) >= 0).all()
    assert areas[3] < areas[5]


def test_contour_interpolation_without_its_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "itk", None)
    with pytest.raises(ReconstructionError, match="itk-morphologicalcontourinterpolation"):
        baselines.contour_in_this_process(np.array([0, 2]), np.stack([disc(3), disc(5)]), np.arange(3))


@pytest.mark.parametrize("name", baselines.IMAGE_METHODS)
@pytest.mark.parametrize("positions", [[0], [0, 0], [2, 1], [0, 1, 2]])
def test_positions_must_fit_the_slices(name: str, positions: list[int]) -> None:
    slices = np.zeros((min(len(positions), 2), 12, 12), np.float32)
    with pytest.raises(InputError, match="ascending"):
        baselines.IMAGE_METHODS[name](np.array(positions), slices, np.arange(3))
