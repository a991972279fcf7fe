"""What of a slice shows the body."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.foreground import foreground

ROWS, COLUMNS = np.mgrid[:64, :72]
BODY = ((ROWS - 32) / 22.0) ** 2 + ((COLUMNS - 36) / 26.0) ** 2 < 1.0
INNER = ((ROWS - 32) / 22.0) ** 2 + ((COLUMNS - 36) / 26.0) ** 2 < 0.8


def overlap(slices: np.ndarray) -> float:
    """Of what is found and the body: 1 where they are the same."""
    found = foreground(slices)[0]
    return 2.0 * float((found & BODY).sum()) / float(found.sum() + BODY.sum())


def noisy(generator: np.random.Generator, level: float) -> np.ndarray:
    return level * generator.standard_normal(BODY.shape)


def test_in_ultrasound_what_is_exactly_zero_is_none() -> None:
    speckle = np.random.default_rng(0).rayleigh(40.0, BODY.shape)
    assert overlap(np.where(BODY, speckle, 0.0)[None].astype(np.uint8)) > 0.92


@pytest.mark.parametrize("lung", [-1000.0, -820.0])
def test_in_ct_air_is_none_and_lungs_are_some(lung: float) -> None:
    generator = np.random.default_rng(0)
    hounsfield = np.where(BODY, np.where(ROWS < 30, 40.0, np.where(INNER, lung, 40.0)), -1000.0)
    hounsfield[40:42, 30:32] = 1200.0
    assert overlap((hounsfield + noisy(generator, 25.0))[None]) > 0.92


def test_in_mr_noise_is_none() -> None:
    generator = np.random.default_rng(0)
    signal = np.hypot(np.where(BODY, 300.0, 0.0) + noisy(generator, 8.0), noisy(generator, 8.0))
    assert overlap(signal[None]) > 0.92


def test_a_padding_value_far_below_all_else_does_not_count_for_the_range() -> None:
    hounsfield = np.where(BODY, 40.0, -1000.0) + noisy(np.random.default_rng(0), 15.0)
    hounsfield[(ROWS - 32) ** 2 + (COLUMNS - 36) ** 2 > 35 ** 2] = -3024.0
    assert overlap(hounsfield[None]) > 0.92


def test_where_the_body_alone_is_shown_nearly_all_is_foreground() -> None:
    inside = 200.0 + 40.0 * np.sin(ROWS / 5.0) + noisy(np.random.default_rng(0), 20.0)
    assert foreground(inside[None]).mean() > 0.95


def test_slices_of_one_value_have_none() -> None:
    assert not foreground(np.full((2, 8, 9), 7)).any()


def test_a_body_of_one_value_is_found_with_its_holes() -> None:
    assert (foreground(np.where(BODY & ((ROWS - 32) ** 2 + (COLUMNS - 36) ** 2 > 9), 80, 0)[None])[0] == BODY).all()
