"""Inner observed slices are hidden and predicted from their neighbours, and the errors of all members are noted."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..config.prediction import EnsembleConfig
from ..data.foreground import foreground
from ..registration.displacements import Displacements
from ..registration.optical_flow import Correspondence
from ..runtime.image_operations import transferred
from ..runtime.threads import serial_torch, shares, workers
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import SuperResolution, Trainer
from .error_model import averaged_signs
from .interpolators import INTERPOLATORS, MEMBERS, SLICES_AROUND, member_predictions, working_memory

# Gaps across which hidden slices are predicted.
FACTORS = (2, 4)


@dataclass(frozen=True)
class HiddenSlices:
    """Errors at one gap width.

    Attributes:
        planes: (n,) numbers of the slices that were hidden.
        covariance: [n, member, member] means of products of the members' errors.
        in_foreground: the same of the pixels of the foreground; 0 for a slice that has none.
        nearest: (n,) mean squared error of the nearest slice, likewise.
        counted: (n,) pixels of the foreground.
        signs: (3, s) what tells of errors at some pixels of the foreground, see `error_model.averaged_signs`.
        errors: (member, s) errors there.
    """

    planes: np.ndarray
    covariance: np.ndarray
    in_foreground: np.ndarray
    nearest: np.ndarray
    counted: np.ndarray
    signs: np.ndarray
    errors: np.ndarray

    @classmethod
    def none(cls, members: int) -> HiddenSlices:
        """No slice could be hidden."""
        square = np.zeros((0, members, members))
        return cls(np.zeros(0, int), square, square, np.zeros(0), np.zeros(0), np.zeros((3, 0)), np.zeros((members, 0)))

    def without(self, plane: int) -> HiddenSlices:
        """The same without one slice, as far as the covariance tells."""
        kept = self.planes != plane
        return replace(self, planes=self.planes[kept], covariance=self.covariance[kept])


@dataclass(frozen=True)
class _Judged:
    """What some hidden slices tell, as the attributes of `HiddenSlices`; pixels lie along the last axis."""

    covariance: Tensor
    in_foreground: Tensor
    nearest: Tensor
    signs: Tensor
    errors: Tensor


@dataclass(frozen=True)
class Hiding:
    """Hides inner slices and predicts them from their neighbours; arguments as of `ensemble.fit_ensemble`.

    held: [plane, row, column] bool, which pixels hold data; None where all do.
    """

    slices: np.ndarray
    positions: np.ndarray
    config: EnsembleConfig
    flows: Displacements
    device: torch.device
    held: np.ndarray | None

    def ask_ahead(self) -> None:
        """Begin to find the displacements that `errors` will need."""
        for factor in FACTORS:
            self.flows.ask(self._around(self._worth_hiding(factor // 2), factor).firsts, factor)

    def errors(self, factor: int, tick: Callable[[float], None], trainer: Trainer | None = None,
               super_resolution: SuperResolution | None = None) -> HiddenSlices:
        """Predict inner slices across `factor` gaps, from those on either side at that distance.

        trainer, super_resolution: the latter trained to fill just these gaps.
        """
        half, positions = factor // 2, self.positions
        hidden, lines = self._worth_hiding(half), None
        if trainer is not None and super_resolution is not None:
            widths = positions[hidden + half] - positions[hidden - half]
            hidden = hidden[[super_resolution.bridges(width) for width in widths]]
            lines = hidden_context(trainer, hidden)
        if not len(hidden):
            return HiddenSlices.none(len(INTERPOLATORS if super_resolution is None else MEMBERS))
        around = self._around(hidden, factor)
        flows: dict[int, Correspondence] = {}
        for first, found in zip(around.firsts, self.flows.take(around.firsts, factor), strict=True):
            tick(0.8 * len(flows) / len(around.firsts))
            flows[first] = found
        seen = self._seen(hidden, half)
        sampled = _some_of(seen, self.config.sampled_pixels)

        def judge(some: np.ndarray) -> _Judged:
            super_resolved = None
            if trainer is not None and super_resolution is not None and lines is not None:
                super_resolved = super_resolution.predict(trainer.slices, lines.only(some))
            return self._judged(hidden[some], half, around.only(some), flows, super_resolved, seen[some], sampled[some])

        size = working_memory(1, self.slices[0].size)
        calls, judged = shares(np.arange(len(hidden)), size, self.device), []
        with serial_torch(), ThreadPoolExecutor(workers(self.device)) as pool:
            for done, each in enumerate(pool.map(judge, calls)):
                tick(0.8 + 0.2 * done / len(calls))
                judged.append(each)
        by_slice = [torch.cat([getattr(each, name) for each in judged]).double().cpu().numpy()
                    for name in ("covariance", "in_foreground", "nearest")]
        by_pixel = [torch.cat([getattr(each, name) for each in judged], dim=-1).double().cpu().numpy()
                    for name in ("signs", "errors")]
        covariance, in_foreground, nearest = by_slice
        return HiddenSlices(hidden, covariance, in_foreground, nearest, seen.sum(axis=1), *by_pixel)

    def _judged(self, hidden: np.ndarray, half: int, context: SliceContext, flows: Mapping[int, Correspondence],
                super_resolved: Tensor | None, seen: np.ndarray, sampled: np.ndarray) -> _Judged:
        """Compare several hidden slices with what is predicted; seen, sampled: (slice, pixel) bool."""
        before, truth, after = (torch.from_numpy(self.slices[hidden + shift]).to(self.device)
                                for shift in (-half, 0, half))
        predictions = self._predictions(context, flows, super_resolved)
        confidence = torch.from_numpy(np.concatenate([flows[n].confidence for n in (hidden - half).tolist()]))
        signs = averaged_signs(predictions, after - before, confidence.to(self.device), self.config.neighbourhood)
        errors = (predictions - truth).flatten(2)
        is_nearer = transferred(context.fractions > 0.5, self.device)[..., None]
        nearest = (torch.where(is_nearer, after, before) - truth).flatten(1)
        inside, at = (torch.from_numpy(mask).to(self.device) for mask in (seen, sampled))
        held = None if self.held is None else torch.from_numpy(self._known(hidden, half)).to(self.device)
        by_slice = errors.transpose(0, 1)
        return _Judged(_covariance(by_slice, held), _covariance(by_slice, inside),
                       (nearest ** 2 * inside).sum(dim=1) / inside.sum(dim=1).clamp(min=1), signs.flatten(2)[:, at],
                       errors[:, at])

    def _predictions(self, context: SliceContext, flows: Mapping[int, Correspondence], super_resolved: Tensor | None
                     ) -> Tensor:
        """[member, slice, row, column] what is predicted for hidden slices; only what that needs goes to the device."""
        context, used, displacements = context.compact()
        found = Correspondence(np.concatenate([flows[n].displacement for n in displacements.tolist()]),
                               np.concatenate([flows[n].confidence for n in displacements.tolist()])).on(self.device)
        slices = torch.from_numpy(self.slices[used]).to(self.device)
        return member_predictions(slices, found, context, self.config.smoothing, super_resolved)[:, :, 0]

    def _around(self, hidden: np.ndarray, factor: int) -> SliceContext:
        """The slices around hidden ones, `factor` gaps apart."""
        half = factor // 2
        return SliceContext.around(hidden - half, self.positions, _fractions(self.positions, hidden, half),
                                   SLICES_AROUND, factor)

    def _worth_hiding(self, half: int) -> np.ndarray:
        """Numbers of inner slices, which have `half` others on either side, spread over the stack."""
        inner, config = np.arange(half, len(self.slices) - half), self.config
        most = int(np.clip(config.hidden_pixels // self.slices[0].size, config.fewest_hidden, config.most_hidden))
        if len(inner) > most:
            inner = inner[np.round(np.linspace(0, len(inner) - 1, most)).astype(int)]
        inner = inner[[self.slices[plane].std() >= 1e-3 for plane in inner]]  # a blank slice tells nothing
        return inner if self.held is None else inner[self._known(inner, half).any(axis=1)]

    def _seen(self, hidden: np.ndarray, half: int) -> np.ndarray:
        """(slice, pixel) bool, which pixels of hidden slices show the body."""
        seen = foreground(self.slices[hidden]).reshape(len(hidden), -1)
        return seen if self.held is None else seen & self._known(hidden, half)

    def _known(self, hidden: np.ndarray, half: int) -> np.ndarray:
        """(slice, pixel) bool, where hidden slices hold data, and those `half` numbers before and after them too."""
        assert self.held is not None
        known: np.ndarray = (self.held[hidden - half] & self.held[hidden] & self.held[hidden + half])
        return known.reshape(len(hidden), self.slices[0].size)  # there may be none


def hidden_context(trainer: Trainer, hidden: np.ndarray) -> SliceContext:
    """The slices around each of the slices `hidden`, across twice the gap."""
    return trainer.context(hidden - 1, _fractions(trainer.positions, hidden, 1), 2)


def _fractions(positions: np.ndarray, hidden: np.ndarray, half: int) -> np.ndarray:
    """(slice, 1) where hidden slices lie between those `half` numbers before and after them."""
    low, here, high = (positions[hidden + shift] for shift in (-half, 0, half))
    fractions: np.ndarray = ((here - low) / (high - low))[:, None]
    return fractions


def _some_of(seen: np.ndarray, most: int) -> np.ndarray:
    """At most so many pixels of each slice, taken at random from `seen` (slice, pixel) bool."""
    random, chosen = np.random.default_rng(0), np.zeros_like(seen)
    for row, some in zip(chosen, seen, strict=True):
        pixels = np.flatnonzero(some)
        row[pixels if len(pixels) <= most else random.choice(pixels, most, replace=False, shuffle=False)] = True
    return chosen


def _covariance(errors: Tensor, counts: Tensor | None) -> Tensor:
    """[slice, member, member] means of products of `errors` [slice, member, pixel].

    counts: (slice, pixel) which pixels count; None for all.
    """
    if counts is None:
        return errors @ errors.mT / errors.shape[2]
    errors = errors * counts[:, None]
    return errors @ errors.mT / counts.sum(dim=1).clamp(min=1)[:, None, None]
