"""Weights of the ensemble's members for this volume, found on observed slices that are hidden for the purpose.

Inner observed slices are predicted from their neighbours, across gaps two and four times as wide as the real ones.  The
errors at both widths tell how each member improves as gaps shrink; extrapolated to the real gap they give the
covariance of the members' errors there, and from it the best non-negative mixture.  For that a super-resolution
network is trained to bridge twice the gap; that it improves as the interpolators do is an assumption.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from ..config.prediction import EnsembleConfig
from ..config.registration import FlowConfig
from ..registration.optical_flow import Correspondence, correspond
from ..runtime.image_operations import CPU, blurred, transferred
from ..runtime.processors import usable_threads
from ..runtime.threads import serial_opencv, serial_torch, shares, workers
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import SuperResolution, Trainer
from .interpolators import INTERPOLATORS, MEMBERS, SLICES_AROUND, member_predictions, working_memory

T = TypeVar("T", Tensor, np.ndarray)

# The band over the expected absolute error holds this share of all pixels.
COVERAGE = 0.68
# Its half-width where no slice can be hidden: that of a Laplace distribution, whose absolute values are exponential.
LAPLACE_BAND = -math.log(1 - COVERAGE)  # 1.14


@dataclass(frozen=True)
class HiddenScore:
    """How well one hidden observed slice was predicted across twice the real gap."""

    plane: int
    psnr: float


@dataclass(frozen=True)
class EnsembleWeights:
    """Weights of the members of the ensemble, and what error to expect of their mixture.

    Attributes:
        weights: (member,) non-negative, sum 1, in the order of `MEMBERS`; without a super-resolution network there is
            none for it.
        error_model: (floor, factor): expected absolute error = floor + factor x disagreement of the members; in units
            of the intensities, at the middle of a real gap.
        band: 68 % of all pixels of the hidden slices have an error of at most so many times the expected one.
        hidden: scores of the mixture on the hidden slices, at twice the real gap: a pessimistic estimate.
        config: with which they were found.
    """

    weights: np.ndarray
    error_model: tuple[float, float]
    band: float
    hidden: tuple[HiddenScore, ...]
    config: EnsembleConfig = EnsembleConfig()

    def mixture(self, predictions: Tensor) -> Tensor:
        """Mix predictions [member, ..., row, column] -> [..., row, column].

        Where the super-resolution is missing, the mixture that is usual without it takes its place.
        """
        is_missing = len(predictions) < len(self.weights)
        return mixed(_of_interpolators(self.weights, self.config) if is_missing else self.weights, predictions)

    def expected_error(self, predictions: Tensor) -> Tensor:
        """Absolute error to expect of the mixture of predictions [member, ..., row, column] -> [..., row, column]."""
        spread = disagreement(predictions, self.config.neighbourhood)
        return self.config.narrower * _modelled(self.error_model, spread)

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


@dataclass(frozen=True)
class _HiddenSlices:
    """Errors at one gap width.

    covariance: [slice, member, member], means of products of the members' errors.
    products: (3, 3), sums over all pixels of all slices of the products of 1, the members' disagreement and the
        absolute error of the usual mixture: what a fit of the one to the other needs.
    samples: (2, n), disagreement and absolute error of some pixels.
    """

    planes: list[int]
    covariance: np.ndarray
    products: np.ndarray
    samples: np.ndarray


def mixed(weights: np.ndarray, predictions: Tensor) -> Tensor:
    """The sum of predictions [member, ...] by `weights` (member,), at least one of which is not 0."""
    used = np.flatnonzero(weights).tolist()
    mixture = float(weights[used[0]]) * predictions[used[0]]
    for n in used[1:]:
        mixture += float(weights[n]) * predictions[n]
    return mixture


def disagreement(predictions: Tensor, neighbourhood: float) -> Tensor:
    """Spread of predictions [member, ..., row, column], averaged over a neighbourhood (pixels): [..., row, column]."""
    return blurred(predictions.amax(dim=0) - predictions.amin(dim=0), neighbourhood)


def fit_ensemble(slices: np.ndarray, positions: np.ndarray, config: EnsembleConfig, flow: FlowConfig,
                 tick: Callable[[float], None], device: torch.device = CPU, trainer: Trainer | None = None,
                 super_resolution: SuperResolution | None = None, weights: np.ndarray | None = None
                 ) -> EnsembleWeights:
    """Weight the members of the ensemble for a stack.

    With fewer than three slices none can be hidden: the usual mixture is returned, with no error model better than the
    disagreement of the members itself.

    Args:
        slices: [plane, row, column] float32 in [0, 1].
        positions: (plane,) mm, ascending.
        config: of the ensemble.
        flow: of the displacement between slices.
        tick: called with the fraction done, may raise to stop.
        device: where the members are computed.
        trainer: of the same slices on that device, if super-resolution networks were trained.
        super_resolution: trained for `hidden_slice_task`; None if that was not possible.
        weights: [plane, row, column], 0 for pixels without data, which are not judged; None if all hold data.
    """
    usual, share = _usual_mixture(config, trainer, super_resolution)
    hiding = _Hiding(slices, positions, config, flow, device, None if weights is None else weights > 0)
    double = hiding.errors(2, lambda done: tick(0.5 * done), trainer, super_resolution)
    if not double.planes:
        return EnsembleWeights(usual, (0.0, 1.0), LAPLACE_BAND, (), config)
    quadruple = hiding.errors(4, lambda done: tick(0.5 + 0.5 * done))
    shrink = _shrinkage(double, quadruple, config)
    covariance = _balanced(double.covariance) * np.outer(shrink, shrink)
    covariance += np.diag(_by_member(config.caution, len(covariance))) * np.diag(covariance).min()
    best = _best_mixture(covariance)
    mixture = (1.0 - share) * np.pad(best, (0, len(usual) - len(best))) + share * usual
    shown = _of_interpolators(mixture, config) if len(best) < len(mixture) else mixture
    errors = np.maximum(np.einsum("a,nab,b->n", shown, double.covariance, shown), 1e-10)
    hidden = tuple(HiddenScore(plane, float(-10 * np.log10(e))) for plane, e in zip(double.planes, errors, strict=True))
    model = _error_model(double)
    return EnsembleWeights(mixture, model, _band(model, double.samples), hidden, config)


def hidden_slice_task(trainer: Trainer, config: EnsembleConfig) -> tuple[SliceContext, float]:
    """What a network must be trained for to be judged on hidden slices, and the share of the steps for that."""
    return _hidden_context(trainer, np.arange(1, len(trainer.positions) - 1)), config.hidden_training


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


def _hidden_context(trainer: Trainer, hidden: np.ndarray) -> SliceContext:
    """The slices around each of the slices `hidden`, across twice the gap."""
    return trainer.context(hidden - 1, _fractions(trainer.positions, hidden, 1), 2)


def _fractions(positions: np.ndarray, hidden: np.ndarray, half: int) -> np.ndarray:
    """(slice, 1) where hidden slices lie between those `half` numbers before and after them."""
    low, here, high = (positions[hidden + shift] for shift in (-half, 0, half))
    fractions: np.ndarray = ((here - low) / (high - low))[:, None]
    return fractions


def _by_member(numbers: Mapping[str, float], count: int = len(INTERPOLATORS)) -> np.ndarray:
    return np.array([numbers.get(name, 0.0) for name in MEMBERS[:count]])


@dataclass(frozen=True)
class _Hiding:
    """Hides inner slices and predicts them from their neighbours; arguments as of `fit_ensemble`."""

    slices: np.ndarray
    positions: np.ndarray
    config: EnsembleConfig
    flow: FlowConfig
    device: torch.device
    held: np.ndarray | None

    def errors(self, factor: int, tick: Callable[[float], None], trainer: Trainer | None = None,
               super_resolution: SuperResolution | None = None) -> _HiddenSlices:
        """Predict inner slices across `factor` gaps, from those on either side at that distance.

        trainer, super_resolution: the latter trained to fill just these gaps.
        """
        half, positions = factor // 2, self.positions
        hidden, lines = self._worth_hiding(half), None
        if trainer is not None and super_resolution is not None:
            widths = positions[hidden + half] - positions[hidden - half]
            hidden = hidden[[super_resolution.bridges(width) for width in widths]]
            lines = _hidden_context(trainer, hidden)
        count = len(INTERPOLATORS if super_resolution is None else MEMBERS)
        if not len(hidden):
            return _HiddenSlices([], np.zeros((0, count, count)), np.zeros((3, 3)), np.zeros((2, 0)))
        fractions, usual = _fractions(positions, hidden, half), _by_member(self.config.usual, count)
        around = SliceContext.around(hidden - half, positions, fractions, SLICES_AROUND, factor)
        flows = self._across(np.unique(around.motions), factor, lambda done: tick(0.8 * done))
        pixels = np.random.default_rng(0).permutation(self.slices[0].size)[:self.config.sampled_pixels]

        def judge(some: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
            """Covariance, products and samples (slice, 2, pixel) of several hidden slices."""
            super_resolved = None
            if trainer is not None and super_resolution is not None and lines is not None:
                super_resolved = super_resolution.predict(trainer.slices, lines.only(some))
            predictions = self._predictions(around.only(some), flows, super_resolved)
            errors = (predictions - torch.from_numpy(self.slices[hidden[some]]).to(self.device)).flatten(2)
            spread = disagreement(predictions, self.config.neighbourhood).flatten(1)
            wrong = mixed(usual, errors).abs()
            rows = torch.stack([torch.ones_like(spread), spread, wrong], dim=1).double()
            errors = errors.transpose(0, 1)
            counted: float | Tensor = errors.shape[2]
            if self.held is not None:
                known = torch.from_numpy(self._known(hidden[some], half)).to(self.device)
                rows, errors, counted = rows * known[:, None], errors * known[:, None], known.sum(1)[:, None, None]
            samples = rows[:, 1:, transferred(pixels, self.device)]
            return errors @ errors.mT / counted, rows @ rows.mT, samples

        size = working_memory(1, self.slices[0].size)
        calls, judged = shares(np.arange(len(hidden)), size, self.device), []
        with serial_torch(), ThreadPoolExecutor(workers(self.device)) as pool:
            for done, each in enumerate(pool.map(judge, calls)):
                tick(0.8 + 0.2 * done / len(calls))
                judged.append(each)
        covariance, products, samples = (torch.cat(each).double().cpu().numpy() for each in zip(*judged, strict=True))
        return _HiddenSlices(hidden.tolist(), covariance, products.sum(axis=0), np.concatenate(list(samples), axis=1))

    def _predictions(self, context: SliceContext, flows: Mapping[int, Correspondence], super_resolved: Tensor | None
                     ) -> Tensor:
        """[member, slice, row, column] what is predicted for hidden slices; only what that needs goes to the device."""
        context, used, displacements = context.compact()
        found = Correspondence(np.concatenate([flows[n].displacement for n in displacements.tolist()]),
                               np.concatenate([flows[n].confidence for n in displacements.tolist()])).on(self.device)
        slices = torch.from_numpy(self.slices[used]).to(self.device)
        return member_predictions(slices, found, context, self.config.smoothing, super_resolved)[:, :, 0]

    def _worth_hiding(self, half: int) -> np.ndarray:
        """Numbers of inner slices, which have `half` others on either side, spread over the stack."""
        inner = np.arange(half, len(self.slices) - half)
        if len(inner) > self.config.most_hidden:
            inner = inner[np.round(np.linspace(0, len(inner) - 1, self.config.most_hidden)).astype(int)]
        inner = inner[[self.slices[plane].std() >= 1e-3 for plane in inner]]  # a blank slice tells nothing
        return inner if self.held is None else inner[self._known(inner, half).any(axis=1)]

    def _known(self, hidden: np.ndarray, half: int) -> np.ndarray:
        """(slice, pixel) bool, where hidden slices hold data, and those `half` numbers before and after them too."""
        assert self.held is not None
        known: np.ndarray = (self.held[hidden - half] & self.held[hidden] & self.held[hidden + half])
        return known.reshape(len(hidden), self.slices[0].size)  # there may be none

    def _across(self, firsts: np.ndarray, step: int, tick: Callable[[float], None]) -> dict[int, Correspondence]:
        """The displacements from each slice of `firsts` to that `step` slices farther on."""

        def across(first: int) -> Correspondence:
            return correspond(self.slices[[first, first + step]], self.flow)

        found = {}
        with serial_opencv(), ThreadPoolExecutor(usable_threads()) as pool:
            for done, (first, each) in enumerate(zip(firsts.tolist(), pool.map(across, firsts), strict=True)):
                tick(done / len(firsts))
                found[first] = each
        return found


def _balanced(covariance: np.ndarray) -> np.ndarray:
    """Mean over slices, each divided by its own error so that the hardest slices do not decide alone."""
    scale = np.trace(covariance, axis1=1, axis2=2)
    scale = np.maximum(scale, 0.1 * np.median(scale)) + 1e-12
    return (covariance / scale[:, None, None]).mean(axis=0)


def _shrinkage(double: _HiddenSlices, quadruple: _HiddenSlices, config: EnsembleConfig) -> np.ndarray:
    """How each member's error shrinks from twice the gap to the gap itself, taken as from four times to twice.

    The super-resolution, which was not trained for four times the gap, is taken to improve as the median interpolator
    does.
    """
    count, simple = double.covariance.shape[1], len(INTERPOLATORS)
    if not quadruple.planes:
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


def _error_model(hidden: _HiddenSlices) -> tuple[float, float]:
    """Fit |error| = floor + factor x disagreement on the hidden slices.

    The disagreement shrinks with the gap by itself; the floor is noise, which does not.  Non-negative least squares
    from the normal equations: a root of their matrix stands for the pixels.
    """
    values, vectors = np.linalg.eigh(hidden.products[:2, :2])
    kept = values > 1e-12 * values.max()
    root = np.sqrt(values[kept])[:, None]
    (floor, factor), _ = nnls(root * vectors.T[kept], (vectors.T @ hidden.products[:2, 2])[kept] / root[:, 0])
    return float(floor), float(factor)


def _modelled(model: tuple[float, float], spread: T) -> T:
    """Expected absolute error where the members disagree by `spread`."""
    floor, factor = model
    return floor + factor * spread


def _band(model: tuple[float, float], samples: np.ndarray) -> float:
    """Factor of the expected errors below which 68 % of the real ones lie."""
    spread, wrong = samples
    return float(np.quantile(wrong / np.maximum(_modelled(model, spread), 1e-9), COVERAGE))
