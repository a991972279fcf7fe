"""What error to expect, learnt from what tells of it."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.prediction.error_model import (
    ErrorModel,
    averaged_signs,
    band,
    rank_correlation,
    signs,
)
from TriplaneGaussianReconLib.prediction.interpolators import INTERPOLATORS

RANDOM = np.random.default_rng(0)
SIGNS = RANDOM.uniform(0.0, 1.0, (3, 20000)) ** 2


def noise_of(expected: np.ndarray) -> np.ndarray:
    """Absolute errors whose mean is as expected."""
    return expected * np.abs(RANDOM.standard_normal(len(expected))) * np.sqrt(np.pi / 2)


def test_what_made_the_errors_is_found() -> None:
    expected = 0.02 + np.array([0.3, 0.1, 0.5]) @ SIGNS
    model = ErrorModel.fitted(SIGNS, noise_of(expected), 1.5)
    assert model.floor == pytest.approx(0.02, abs=0.005)
    np.testing.assert_allclose(model.factors, [0.3, 0.1, 0.5], atol=0.04)
    np.testing.assert_allclose(model.at(SIGNS).mean(), expected.mean(), rtol=0.02)


def test_what_tells_of_less_error_is_left_out() -> None:
    model = ErrorModel.fitted(SIGNS, noise_of(0.5 - 0.3 * SIGNS[0]), 1.5)
    assert model.factors[0] == 0.0 and model.floor > 0.3


def test_the_band_holds_68_percent_and_ranks_are_compared() -> None:
    expected = 0.02 + np.array([0.3, 0.1, 0.5]) @ SIGNS
    wrong = noise_of(expected)
    model = ErrorModel.fitted(SIGNS, wrong, 1.5)
    assert (wrong <= band(model, SIGNS, wrong) * model.at(SIGNS)).mean() == pytest.approx(0.68, abs=1e-3)
    found = rank_correlation(model, SIGNS, wrong)
    assert found is not None and 0.3 < found < 0.7
    assert rank_correlation(ErrorModel(0.1, (0.0, 0.0, 0.0), 1.5), SIGNS, wrong) is None


def test_structure_shrinks_with_the_gap_and_noise_does_not() -> None:
    assert ErrorModel(0.1, (0.4, 0.2, 0.6), 1.5).times(0.5) == ErrorModel(0.1, (0.2, 0.1, 0.3), 1.5)


def test_signs_are_spread_difference_and_what_is_unexplained() -> None:
    predictions = torch.zeros(len(INTERPOLATORS) + 1, 6, 7)
    predictions[1], predictions[2], predictions[-1] = 0.25, -0.5, 9.0  # the network is not compared
    spread, apart, unexplained = signs(predictions, torch.full((6, 7), -0.4), torch.full((6, 7), 0.75))
    assert (spread == 0.75).all() and torch.allclose(apart, torch.tensor(0.4))
    torch.testing.assert_close(unexplained, torch.full((6, 7), 0.1))


def test_an_error_is_expected_where_its_signs_are() -> None:
    generator = torch.Generator().manual_seed(0)
    predictions = torch.rand(len(INTERPOLATORS), 2, 12, 14, generator=generator)
    apart, confidence = (torch.rand(2, 12, 14, generator=generator) for _ in range(2))
    model = ErrorModel(0.1, (0.5, 0.3, 0.2), 1.5)
    averaged = averaged_signs(predictions, apart, confidence, 1.5).flatten(1).double().numpy()
    expected = model.expected(predictions, apart, confidence)
    np.testing.assert_allclose(expected.flatten(), model.at(averaged), rtol=1e-5)
    unknown = ErrorModel.of_disagreement(1.5).expected(predictions, apart, confidence)
    np.testing.assert_allclose(unknown.flatten(), averaged[0], rtol=1e-5)
