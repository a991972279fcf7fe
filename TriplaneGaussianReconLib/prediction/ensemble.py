"""Weights of the ensemble's members for this volume, found on observed slices that are hidden for the purpose.

Inner observed slices are predicted from their neighbours, across gaps two and four times as wide as the real ones.  The
errors at both widths tell how each member improves as gaps shrink; extrapolated to the real gap they give the
covariance of the members' errors there, and from it the best non-negative mixture.  For that a super-resolution
network is trained to bridge twice the gap; that it improves as the interpolators do is an assumption.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls
from torch import Tensor

from ..config.prediction import EnsembleConfig
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import SuperResolution, Trainer
from .error_model import LAPLACE_BAND, ErrorModel, band, rank_correlation
from .hidden_score import CLASSICAL, HiddenScore
from .hidden_slices import HiddenSlices, Hiding, hidden_context
from .interpolators import INTERPOLATORS, MEMBERS

_EXACT = 1e-10  # mean squared error, below which nobody cares


@dataclass(frozen=True)
class EnsembleWeights:
    """Weights of the members of the ensemble, and what error to expect of their mixture.

    Attributes:
        weights: (member,) non-negative, sum 1, in the order of `MEMBERS`; without a super-resolution network there is
            none for it.
        error_model: what tells of an error, at the middle of a real gap.
        band: 68 % of the foreground of the hidden slices has an error of at most so many times the expected one.
        hidden: scores on the hidden slices, at twice the real gap: a pessimistic estimate.
        rank_correlation: of expected and real errors there; None where there are none.
        config: with which they were found.
    """

    weights: np.ndarray
    error_model: ErrorModel
    band: float
    hidden: tuple[HiddenScore, ...]
    rank_correlation: float | None = None
    config: EnsembleConfig = EnsembleConfig()

    def mixture(self, predictions: Tensor) -> Tensor:
        """Mix predictions [member, ..., row, column] -> [..., row, column].

        Where the super-resolution is missing, the mixture that is usual without it takes its place.
        """
        is_missing = len(predictions) < len(self.weights)
        return mixed(_of_interpolators(self.weights, self.config) if is_missing else self.weights, predictions)

    def expected_error(self, predictions: Tensor, difference: Tensor, confidence: Tensor) -> Tensor:
        """[..., row, column] absolute error to expect of the mixture; arguments as of `error_model.signs`."""
        return self.config.narrower * self.error_model.expected(predictions, difference, confidence)

    def with_fusion(self) -> EnsembleWeights:
        """The same where learned fusion takes the place of the super-resolution.

        If that has more weight than all others together, its odds are squared, since the fusion has already taken from
        the others what they are good for.  On 14 cases at k = 2 and 4 that gains 0.04 dB on average.
        """
        others, own = self.weights[:-1], self.weights[-1]
        if len(self.weights) < len(MEMBERS) or not 0.5 < own < 1.0:
            return self
        raised = own ** 2 / (own ** 2 + (1.0 - own) ** 2)
        return replace(self, weights=np.append(others * (1.0 - raised) / (1.0 - own), raised))

    @property
    def named_weights(self) -> dict[str, float]:
        """Member -> weight, largest first."""
        order = np.argsort(-self.weights)
        return {MEMBERS[n]: round(float(self.weights[n]), 4) for n in order}


def mixed(weights: np.ndarray, predictions: Tensor) -> Tensor:
    """The sum of predictions [member, ...] by `weights` (member,), at least one of which is not 0."""
    used = np.flatnonzero(weights).tolist()
    mixture = float(weights[used[0]]) * predictions[used[0]]
    for n in used[1:]:
        mixture += float(weights[n]) * predictions[n]
    return mixture


def fit_ensemble(hiding: Hiding, tick: Callable[[float], None], trainer: Trainer | None = None,
                 super_resolution: SuperResolution | None = None) -> EnsembleWeights:
    """Weight the members of the ensemble for a stack.

    With fewer than three slices none can be hidden: the usual mixture is returned, with no error model better than the
    disagreement of the members itself.  Weights are found on all pixels, errors and scores on those of the foreground.

    Args:
        hiding: hides slices of the stack.
        tick: called with the fraction done, may raise to stop.
        trainer: of the same slices on the same device, if super-resolution networks were trained.
        super_resolution: trained for `hidden_slice_task`; None if that was not possible.
    """
    config = hiding.config
    usual, share = _usual_mixture(config, trainer, super_resolution)
    double = hiding.errors(2, lambda done: tick(0.5 * done), trainer, super_resolution)
    if not len(double.planes):
        return EnsembleWeights(usual, ErrorModel.of_disagreement(config.neighbourhood), LAPLACE_BAND, (), config=config)
    quadruple = hiding.errors(4, lambda done: tick(0.5 + 0.5 * done))

    def mixture(double: HiddenSlices, quadruple: HiddenSlices) -> np.ndarray:
        if not len(double.planes):
            return usual
        best = _fitted(double, quadruple, config)
        return (1.0 - share) * np.pad(best, (0, len(usual) - len(best))) + share * usual

    chosen = mixture(double, quadruple)
    hidden = _scores(double, config, lambda plane: mixture(double.without(plane), quadruple.without(plane)))
    if not double.signs.size:
        return EnsembleWeights(chosen, ErrorModel.of_disagreement(config.neighbourhood), LAPLACE_BAND, hidden,
                               config=config)
    wrong = _wrong(double, chosen, config)
    model = ErrorModel.fitted(double.signs, wrong, config.neighbourhood)
    return EnsembleWeights(chosen, model.times(_too_large(model, chosen, double, quadruple, config)),
                           band(model, double.signs, wrong), hidden, rank_correlation(model, double.signs, wrong),
                           config)


def hidden_slice_task(trainer: Trainer, config: EnsembleConfig) -> tuple[SliceContext, float]:
    """What a network must be trained for to be judged on hidden slices, and the share of the steps for that."""
    return hidden_context(trainer, np.arange(1, len(trainer.positions) - 1)), config.hidden_training


def _usual_mixture(config: EnsembleConfig, trainer: Trainer | None, super_resolution: SuperResolution | None
                   ) -> tuple[np.ndarray, float]:
    """The usual mixture, and its share: large where there are networks, but none that hidden slices can judge."""
    if trainer is None:
        return _by_member(config.usual), config.usual_share
    share = config.usual_share if super_resolution is None else config.usual_share_with_super_resolution
    return _by_member(config.usual_with_super_resolution, len(MEMBERS)), share


def _of_interpolators(weights: np.ndarray, config: EnsembleConfig) -> np.ndarray:
    """The weights where there is no super-resolution: what is usual without it takes its place."""
    return weights[:-1] + weights[-1] * _by_member(config.usual)


def _by_member(numbers: Mapping[str, float], count: int = len(INTERPOLATORS)) -> np.ndarray:
    return np.array([numbers.get(name, 0.0) for name in MEMBERS[:count]])


def _shown(weights: np.ndarray, members: int, config: EnsembleConfig) -> np.ndarray:
    """(members,) the weights where there may be no super-resolution among the members."""
    return weights if len(weights) == members else _of_interpolators(weights, config)


def _wrong(hidden: HiddenSlices, weights: np.ndarray, config: EnsembleConfig) -> np.ndarray:
    """(s,) absolute errors of the mixture on hidden slices."""
    wrong: np.ndarray = np.abs(_shown(weights, len(hidden.errors), config) @ hidden.errors)
    return wrong


def _scores(hidden: HiddenSlices, config: EnsembleConfig, mixture_without: Callable[[int], np.ndarray]
            ) -> tuple[HiddenScore, ...]:
    """Score each hidden slice that has a foreground.

    mixture_without: the weights that all slices but one ask for; had it taken part, its score would be too good.
    """
    scores = []
    for n, plane in enumerate(hidden.planes.tolist()):
        if not hidden.counted[n]:
            continue
        errors, count = hidden.in_foreground[n], hidden.in_foreground.shape[1]
        weights = _shown(mixture_without(plane), count, config)
        squared = dict(zip(MEMBERS, np.diag(errors).tolist(), strict=False), nearest=float(hidden.nearest[n]))
        scores.append(HiddenScore(plane, _psnr(float(weights @ errors @ weights)),
                                  {name: _psnr(squared[name]) for name in CLASSICAL}))
    return tuple(scores)


def _psnr(squared: float) -> float:
    return float(-10.0 * np.log10(max(squared, _EXACT)))


def _too_large(model: ErrorModel, weights: np.ndarray, double: HiddenSlices, quadruple: HiddenSlices,
               config: EnsembleConfig) -> float:
    """What to multiply the factors of a model of errors across twice the gap by, for those across the gap itself.

    Signs of an error shrink less than errors do where slices are smooth.  By how much errors across four times the gap
    exceed what the model makes of the signs there, errors across the gap itself fall short of it.
    """
    if not quadruple.signs.size:
        return 1.0
    simple = _shown(weights, len(INTERPOLATORS), config)
    narrow, wide = (float(np.abs(simple @ hidden.errors[:len(simple)]).mean()) for hidden in (double, quadruple))
    expected = float(model.at(double.signs).mean()), float(model.at(quadruple.signs).mean())
    if min(narrow, wide, *expected) <= 0.0:
        return 1.0
    return float(np.clip((expected[1] / wide) / (expected[0] / narrow), config.narrowest, 1.0))


def _fitted(double: HiddenSlices, quadruple: HiddenSlices, config: EnsembleConfig) -> np.ndarray:
    """(member,) the best mixture at the real gap, as far as errors at wider ones tell."""
    shrink = _shrinkage(double, quadruple, config)
    covariance = _balanced(double.covariance) * np.outer(shrink, shrink)
    covariance += np.diag(_by_member(config.caution, len(covariance))) * np.diag(covariance).min()
    return _best_mixture(covariance)


def _balanced(covariance: np.ndarray) -> np.ndarray:
    """Mean over slices, each divided by its own error so that the hardest slices do not decide alone."""
    scale = np.trace(covariance, axis1=1, axis2=2)
    scale = np.maximum(scale, 0.1 * np.median(scale)) + 1e-12
    return (covariance / scale[:, None, None]).mean(axis=0)


def _shrinkage(double: HiddenSlices, quadruple: HiddenSlices, config: EnsembleConfig) -> np.ndarray:
    """How each member's error shrinks from twice the gap to the gap itself, taken as from four times to twice.

    The super-resolution, which was not trained for four times the gap, is taken to improve as the median interpolator
    does.
    """
    count, simple = double.covariance.shape[1], len(INTERPOLATORS)
    if not len(quadruple.planes):
        return np.full(count, config.unknown_shrinkage)
    narrow, wide = (np.sqrt(np.diag(hidden.covariance.mean(axis=0))[:simple] + 1e-12) for hidden in (double, quadruple))
    shrink = np.minimum(narrow / wide, 1.0)
    return np.append(shrink, np.full(count - simple, np.median(shrink)))


def _best_mixture(covariance: np.ndarray) -> np.ndarray:
    """Minimise w' C w over the simplex, as non-negative least squares with a heavy row for sum(w) = 1."""
    size = len(covariance)
    scale = np.trace(covariance)
    # Members that coincide, as they do among few slices, make the covariance singular; rounding then makes it
    # indefinite, which a Cholesky factor does not survive.
    values, vectors = np.linalg.eigh(covariance)
    root = np.sqrt(np.maximum(values, 0.0) + 1e-9 * scale)[:, None] * vectors.T
    heavy = 1e3 * np.sqrt(scale)
    weights, _ = nnls(np.vstack([root, np.full(size, heavy)]), np.append(np.zeros(size), heavy))
    return weights / weights.sum()
