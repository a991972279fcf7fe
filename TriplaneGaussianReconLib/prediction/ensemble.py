"""Which candidate to believe on this volume, found out on trusted slices that are hidden for the purpose.

Inner trusted slices are predicted from their neighbours, across gaps two and four times as wide as the real ones.  The
errors at both widths tell how each candidate improves as gaps shrink; extrapolated to the real gap they give the
covariance of the candidates' errors there, and from it the best non-negative mixture.  The prior learns to bridge twice
the gap for the purpose; that it improves as the others do is an assumption.
"""
from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from ..registration.optical_flow import Correspondence, correspond
from ..runtime.image_operations import CPU, blurred, transferred
from ..runtime.threads import serial_opencv, serial_torch, shares, workers
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import SuperResolution, Trainer
from .interpolators import CANDIDATES, INTERPOLATIONS, Neighbours, candidates, working_memory

T = TypeVar("T", Tensor, np.ndarray)

# At most so many hidden slices are looked at per gap width, spread over the stack.
MOST_HIDDEN = 24
# The mixtures that are right on most volumes, without a prior and with one, and their share in the result: few hidden
# slices at a wider gap cannot overrule them altogether.
USUAL, USUAL_SHARE = {"pchip": 0.3, "gated_cubic": 0.7}, 0.4
USUAL_WITH_PRIOR, USUAL_SHARE_WITH_PRIOR = {"prior": 0.8, "gated_cubic": 0.2}, 0.25
# The prior learns so much shorter to bridge twice the gap than for the gap itself.
HIDDEN_EFFORT = 0.5
# Wider gaps flatter candidates that follow any displacement or blur; their squared error counts this much more.
CAUTION = {"flow": 0.1, "flow_cubic": 0.1, "straight_smooth": 0.1, "gated_smooth": 0.1}
# Errors are smaller at the real gap than the disagreement there would mean across twice the gap; by so much on average,
# measured on public volumes.
NARROWER = 0.9
# Half-width of the 68 % band over the expected absolute error where no slice can be hidden: that of a Laplace
# distribution, whose absolute values are exponential.
BAND = -math.log(1 - 0.68)  # 1.14
# So many pixels of each hidden slice tell how errors are distributed around the expected one.
SAMPLED_PIXELS = 2048
# Standard deviation (pixels) of the neighbourhood in which candidates are compared to expect an error.
NEIGHBOURHOOD = 1.5


@dataclass(frozen=True)
class HiddenScore:
    """How well one hidden trusted slice was predicted across twice the real gap."""

    plane: int
    psnr: float


@dataclass(frozen=True)
class EnsembleWeights:
    """What the hidden slices taught.

    weights: (candidate,) non-negative, sum 1, in the order of CANDIDATES; without a prior there is none for it.
    error_model: (floor, factor): expected absolute error = floor + factor x disagreement of the candidates; in units
        of the intensities, at the middle of a real gap.
    band: 68 % of all pixels of the hidden slices have an error of at most so many times the expected one.
    hidden: scores of the mixture on the hidden slices, at twice the real gap: a pessimistic estimate.
    """

    weights: np.ndarray
    error_model: tuple[float, float]
    band: float
    hidden: tuple[HiddenScore, ...]

    def mixture(self, predictions: Tensor) -> Tensor:
        """Mix predictions [candidate, ..., row, column] -> [..., row, column].

        Where the prior has nothing to say, the mixture that is usual without it takes its place.
        """
        silent = len(predictions) < len(self.weights)
        return mixed(_without_prior(self.weights) if silent else self.weights, predictions)

    def expected_error(self, predictions: Tensor) -> Tensor:
        """What to expect of the mixture of predictions [candidate, ..., row, column] -> [..., row, column]."""
        return NARROWER * _modelled(self.error_model, disagreement(predictions))

    def with_fusion(self) -> EnsembleWeights:
        """The same where what `fusion` made of all candidates stands in the prior's place: if that is believed more
        than all others together, its odds count twice, since it has already taken from them what they are good for.

        On 14 cases at k = 2 and 4 that gains 0.04 dB on average.
        """
        others, believed = self.weights[:-1], self.weights[-1]
        if len(self.weights) < len(CANDIDATES) or not 0.5 < believed < 1.0:
            return self
        raised = believed ** 2 / (believed ** 2 + (1.0 - believed) ** 2)
        return replace(self, weights=np.append(others * (1.0 - raised) / (1.0 - believed), raised))

    @property
    def named_weights(self) -> dict[str, float]:
        """Candidate -> weight, largest first."""
        order = np.argsort(-self.weights)
        return {CANDIDATES[n]: round(float(self.weights[n]), 4) for n in order}


@dataclass(frozen=True)
class _HiddenSlices:
    """Errors at one gap width.

    covariance: [slice, candidate, candidate], means of products of the candidates' errors.
    products: (3, 3), sums over all pixels of all slices of the products of 1, the candidates' disagreement and the
        absolute error of the usual mixture: what a fit of the one to the other needs.
    samples: (2, n), disagreement and absolute error of some pixels.
    """

    planes: list[int]
    covariance: np.ndarray
    products: np.ndarray
    samples: np.ndarray


def mixed(weights: np.ndarray, predictions: Tensor) -> Tensor:
    """The sum of [candidate, ...] predictions by `weights` (candidate,), at least one of which is not 0."""
    used = np.flatnonzero(weights).tolist()
    mixture = float(weights[used[0]]) * predictions[used[0]]
    for n in used[1:]:
        mixture += float(weights[n]) * predictions[n]
    return mixture


def disagreement(predictions: Tensor) -> Tensor:
    """Locally averaged spread of the candidates [candidate, ..., row, column] -> [..., row, column]."""
    return blurred(predictions.amax(dim=0) - predictions.amin(dim=0), NEIGHBOURHOOD)


def fit_ensemble(slices: np.ndarray, positions: np.ndarray, tick: Callable[[float], None],
              device: torch.device = CPU, trainer: Trainer | None = None, prior: SuperResolution | None = None
              ) -> EnsembleWeights:
    """Weight the candidates for `slices` [plane, row, column] in [0, 1] at `positions` (plane,) mm, ascending.

    tick: called with the fraction done.  device: where the candidates are computed.  teacher: of the same slices on
    that device, if there is a prior; prior: what it taught of `hidden_slice_task`, None if nothing.  With fewer than
    three slices nothing can be hidden: the usual mixture is returned, with no error model better than the difference of
    the candidates itself.
    """
    usual, share = _usually(trainer, prior)
    double = _hide(slices, positions, 2, lambda done: tick(0.5 * done), device, trainer, prior)
    if not double.planes:
        return EnsembleWeights(usual, (0.0, 1.0), BAND, ())
    quadruple = _hide(slices, positions, 4, lambda done: tick(0.5 + 0.5 * done), device)
    shrink = _shrinkage(double, quadruple)
    covariance = _balanced(double.covariance) * np.outer(shrink, shrink)
    covariance += np.diag(_per_candidate(CAUTION, len(covariance))) * np.diag(covariance).min()
    best = _best_mixture(covariance)
    weights = (1.0 - share) * np.pad(best, (0, len(usual) - len(best))) + share * usual
    shown = _without_prior(weights) if len(best) < len(weights) else weights
    errors = np.maximum(np.einsum("a,nab,b->n", shown, double.covariance, shown), 1e-10)
    hidden = tuple(HiddenScore(plane, float(-10 * np.log10(e))) for plane, e in zip(double.planes, errors, strict=True))
    model = _error_model(double)
    return EnsembleWeights(weights, model, _band(model, double.samples), hidden)


def hidden_slice_task(trainer: Trainer) -> tuple[SliceContext, float]:
    """What a prior must learn to be judged on hidden slices, and the share of the effort that this takes."""
    return _hidden_stencils(trainer, np.arange(1, len(trainer.positions) - 1)), HIDDEN_EFFORT


def _usually(trainer: Trainer | None, prior: SuperResolution | None) -> tuple[np.ndarray, float]:
    """The usual mixture, and its share: large where there is a prior, but none for hidden slices to judge."""
    if trainer is None:
        return _per_candidate(USUAL), USUAL_SHARE
    return _per_candidate(USUAL_WITH_PRIOR, len(CANDIDATES)), USUAL_SHARE if prior is None else USUAL_SHARE_WITH_PRIOR


def _without_prior(weights: np.ndarray) -> np.ndarray:
    """The weights where the prior has nothing to say: what is usual without it takes its place."""
    return weights[:-1] + weights[-1] * _per_candidate(USUAL)


def _hidden_stencils(trainer: Trainer, hidden: np.ndarray) -> SliceContext:
    """How the prior sees the slices `hidden`, across twice the gap."""
    low, here, high = (trainer.positions[hidden + shift] for shift in (-1, 0, 1))
    return trainer.context(hidden - 1, ((here - low) / (high - low))[:, None], 2)


def _per_candidate(numbers: dict[str, float], count: int = len(INTERPOLATIONS)) -> np.ndarray:
    return np.array([numbers.get(name, 0.0) for name in CANDIDATES[:count]])


def _hide(slices: np.ndarray, positions: np.ndarray, factor: int, tick: Callable[[float], None],
          device: torch.device, trainer: Trainer | None = None, prior: SuperResolution | None = None) -> _HiddenSlices:
    """Predict inner slices across `factor` gaps, from those on either side at that distance.

    teacher, prior: as taught to bridge just these gaps.
    """
    half = factor // 2
    hidden, context = _worth_hiding(slices, half), None
    if trainer is not None and prior is not None:
        hidden = hidden[[prior.bridges(width) for width in positions[hidden + half] - positions[hidden - half]]]
        context = _hidden_stencils(trainer, hidden)
    count = len(INTERPOLATIONS if prior is None else CANDIDATES)
    if not len(hidden):
        return _HiddenSlices([], np.zeros((0, count, count)), np.zeros((3, 3)), np.zeros((2, 0)))
    around, usual = Neighbours.around(hidden - half, len(slices), factor), _per_candidate(USUAL, count)
    firsts, motions = _renumbered(around.motions)
    flows = _across(slices, firsts, factor, lambda done: tick(0.8 * done))

    pixels = np.random.default_rng(0).permutation(slices[0].size)[:SAMPLED_PIXELS]

    def look(some: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Covariance, products and samples (slice, 2, pixel) of several hidden slices."""
        used, planes = _renumbered(around.planes[some])
        needed, across = _renumbered(motions[some])
        found = Correspondence(np.concatenate([flows[n].displacement for n in needed]),
                               np.concatenate([flows[n].confidence for n in needed])).on(device)
        low, here, high = (positions[hidden[some] + shift] for shift in (-half, 0, half))
        learnt = prior.predict(trainer.slices, context.only(some)) if trainer and prior and context else None
        predictions = candidates(torch.from_numpy(slices[used]).to(device), positions[used], found,
                                 Neighbours(planes, across), ((here - low) / (high - low))[:, None], learnt)[:, :, 0]
        errors = (predictions - torch.from_numpy(slices[hidden[some]]).to(device)).flatten(2)
        spread, wrong = disagreement(predictions).flatten(1), mixed(usual, errors).abs()
        rows, errors = torch.stack([torch.ones_like(spread), spread, wrong], dim=1).double(), errors.transpose(0, 1)
        return errors @ errors.mT / errors.shape[2], rows @ rows.mT, rows[:, 1:, transferred(pixels, device)]

    calls, looked = shares(np.arange(len(hidden)), working_memory(1, slices[0].size), device), []
    with serial_torch(), ThreadPoolExecutor(workers(device)) as pool:
        for done, each in enumerate(pool.map(look, calls)):
            tick(0.8 + 0.2 * done / len(calls))
            looked.append(each)
    covariance, products, samples = (torch.cat(each).double().cpu().numpy() for each in zip(*looked, strict=True))
    return _HiddenSlices(hidden.tolist(), covariance, products.sum(axis=0), np.concatenate(list(samples), axis=1))


def _worth_hiding(slices: np.ndarray, half: int) -> np.ndarray:
    """Numbers of inner slices, which have `half` others on either side, spread over the stack."""
    inner = np.arange(half, len(slices) - half)
    if len(inner) > MOST_HIDDEN:
        inner = inner[np.round(np.linspace(0, len(inner) - 1, MOST_HIDDEN)).astype(int)]
    return inner[[slices[plane].std() >= 1e-3 for plane in inner]]  # a blank slice teaches nothing


def _across(slices: np.ndarray, firsts: np.ndarray, step: int, tick: Callable[[float], None]) -> list[Correspondence]:
    """The displacements from each slice of `firsts` to that `step` slices farther on."""
    found = []
    with serial_opencv(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, each in enumerate(pool.map(lambda first: correspond(slices[[first, first + step]]), firsts)):
            tick(done / len(firsts))
            found.append(each)
    return found


def _renumbered(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different ones of `numbers`, ascending, and the place of each of `numbers` among them."""
    different, places = np.unique(numbers, return_inverse=True)
    return different, places.reshape(numbers.shape)


def _balanced(covariance: np.ndarray) -> np.ndarray:
    """Mean over slices, each divided by its own error so that the hardest slices do not decide alone."""
    scale = np.trace(covariance, axis1=1, axis2=2)
    scale = np.maximum(scale, 0.1 * np.median(scale)) + 1e-12
    return (covariance / scale[:, None, None]).mean(axis=0)


def _shrinkage(double: _HiddenSlices, quadruple: _HiddenSlices) -> np.ndarray:
    """How each candidate's error shrinks from twice the gap to the gap itself, taken as from four times to twice.

    The prior, which has learnt nothing about four times the gap, is taken to improve as the median candidate does.
    """
    count, simple = double.covariance.shape[1], len(INTERPOLATIONS)
    if not quadruple.planes:
        return np.full(count, 0.75)
    narrow, wide = (np.sqrt(np.diag(hidden.covariance.mean(axis=0))[:simple] + 1e-12) for hidden in (double, quadruple))
    shrink = np.minimum(narrow / wide, 1.0)
    return np.append(shrink, np.full(count - simple, np.median(shrink)))


def _best_mixture(covariance: np.ndarray) -> np.ndarray:
    """Minimise w' C w over the simplex, as non-negative least squares with a heavy row for sum(w) = 1."""
    size = len(covariance)
    scale = np.trace(covariance)
    # Candidates that coincide, as they do among few slices, make the covariance singular; rounding then makes it
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
    """Expected absolute error where the candidates disagree by `spread`."""
    floor, factor = model
    return floor + factor * spread


def _band(model: tuple[float, float], samples: np.ndarray) -> float:
    """What the expected errors are to be multiplied by for 68 % of the real ones to lie below."""
    spread, wrong = samples
    return float(np.quantile(wrong / np.maximum(_modelled(model, spread), 1e-9), 0.68))
