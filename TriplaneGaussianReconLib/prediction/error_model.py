"""What error to expect between two slices: learnt on hidden slices from what is known of a pixel without them."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from ..runtime.image_operations import blurred
from .interpolators import INTERPOLATORS

# The band over the expected absolute error holds this share of the pixels.
COVERAGE = 0.68
# Its half-width where no slice can be hidden: that of a Laplace distribution, whose absolute values are exponential.
LAPLACE_BAND = float(-np.log(1 - COVERAGE))  # 1.14

_ROUNDS = 3  # of weighting; more change nothing
_LEAST = 0.2  # of the mean expected error, below which pixels gain no more weight


@dataclass(frozen=True)
class ErrorModel:
    """Expected absolute error = floor + factors x signs of it, in model units, at the middle of a gap.

    Attributes:
        floor: the same everywhere, and across any gap.
        factors: (3,) of the `signs`.
        neighbourhood: standard deviation (pixels) of the neighbourhood over which the signs are averaged.
    """

    floor: float
    factors: tuple[float, ...]
    neighbourhood: float

    @classmethod
    def of_disagreement(cls, neighbourhood: float) -> ErrorModel:
        """What to expect where nothing could be learnt: the members' disagreement itself."""
        return cls(0.0, (1.0, 0.0, 0.0), neighbourhood)

    @classmethod
    def fitted(cls, averaged: np.ndarray, wrong: np.ndarray, neighbourhood: float) -> ErrorModel:
        """Fit errors by non-negative least squares, each weighted by what is expected of it.

        Without weights the few largest errors would decide alone how pixels with small ones rank.

        Args:
            averaged: (3, n) signs at some pixels, averaged over the neighbourhood.
            wrong: (n,) absolute errors there.
            neighbourhood: pixels.
        """
        rows, weights = np.stack([np.ones(len(wrong)), *averaged], axis=1), np.ones(len(wrong))
        for _ in range(_ROUNDS):
            found, _ = nnls(rows * weights[:, None], wrong * weights)
            expected = rows @ found
            weights = 1.0 / np.maximum(expected, max(_LEAST * expected.mean(), 1e-9))
        return cls(float(found[0]), tuple(found[1:].tolist()), neighbourhood)

    def times(self, factor: float) -> ErrorModel:
        """The same with errors so many times as large for the same signs; the floor is noise, which stays."""
        return replace(self, factors=tuple(factor * each for each in self.factors))

    def at(self, averaged: np.ndarray) -> np.ndarray:
        """(n,) expected errors where the averaged signs are (3, n)."""
        expected: np.ndarray = self.floor + np.array(self.factors) @ averaged
        return expected

    def expected(self, predictions: Tensor, difference: Tensor, confidence: Tensor) -> Tensor:
        """[..., row, column], see `signs`."""
        each = signs(predictions, difference, confidence)
        total = sum(factor * sign for factor, sign in zip(self.factors, each, strict=True))
        assert isinstance(total, Tensor)
        return self.floor + blurred(total, self.neighbourhood)


def signs(predictions: Tensor, difference: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three signs of an error: disagreement, difference, and the part of it that no displacement explains.

    Noise differs from slice to slice, and so does a structure that ends; where something merely moves, the members of
    the ensemble disagree, but little of the difference is left unexplained.

    Args:
        predictions: [member, ..., row, column]; the interpolators alone are compared, which are there for any gap.
        difference: [..., row, column] between the slices on either side.
        confidence: likewise, share of the difference that the displacement explains.

    Returns:
        Each [..., row, column].
    """
    simple, apart = predictions[:len(INTERPOLATORS)], difference.abs()
    return simple.amax(dim=0) - simple.amin(dim=0), apart, (1.0 - confidence) * apart


def averaged_signs(predictions: Tensor, difference: Tensor, confidence: Tensor, neighbourhood: float) -> Tensor:
    """[3, ..., row, column] `signs`, averaged over the neighbourhood (pixels)."""
    return torch.stack([blurred(each, neighbourhood) for each in signs(predictions, difference, confidence)])


def band(model: ErrorModel, averaged: np.ndarray, wrong: np.ndarray) -> float:
    """Factor of the expected errors below which 68 % of the real ones lie; arguments as of `ErrorModel.fitted`."""
    return float(np.quantile(wrong / np.maximum(model.at(averaged), 1e-9), COVERAGE))


def rank_correlation(model: ErrorModel, averaged: np.ndarray, wrong: np.ndarray) -> float | None:
    """Spearman's, of expected and real errors; None where either is the same everywhere.  Arguments likewise."""
    from scipy.stats import spearmanr

    expected = model.at(averaged)
    if np.ptp(expected) == 0 or np.ptp(wrong) == 0:
        return None
    return float(spearmanr(expected, wrong).statistic)
