"""Compares ways of joining real stacks: slices of each are hidden in turn, and predicted from all that is left."""
from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from ..config.presets import Preset
from ..data.geometry import array_axis
from ..data.masks import within
from ..data.observations import Observations, SliceStack
from ..data.output_grid import union_grid
from ..data.selection import Selection
from ..data.stack_input import StackInput
from ..data.stack_motion import StackMotion
from ..errors import InputError, InputNote, ReconstructionError
from ..fitting.stack_view import profile_of
from ..pipeline.reconstruction import Memory, reconstruct
from ..registration.stacks import register_stacks
from ..runtime.devices import choose
from .ours import Ours
from .scale import Scale
from .seen_slices import seen_by_cubic, seen_by_least_squares, seen_of_model
from .shown import Shown
from .stack_report import Likeness, StackEvaluation, StackRow
from .views import View

_FEWEST = 4  # slices of a volume, so that one is hidden between others, and enough are left
_PERCENTILE = 99.9  # of the pixels of a volume, which makes the top of its range


@dataclass(frozen=True)
class Fold:
    """One volume with every second slice hidden, and all others.

    Attributes:
        volume: the one, as it was given.
        number: of it.
        observations: all that methods get.
        hidden: slices where the header of the volume has them.
        ours: how this library is asked.
    """

    volume: StackInput
    number: int
    observations: Observations
    hidden: SliceStack
    ours: Ours

    @classmethod
    def of(cls, volume: StackInput, number: int, everything: Observations, ours: Ours) -> Fold:
        """Hide every second slice of volume `number`; the outermost stay."""
        stack = everything.stacks[number]
        count = len(stack.planes)
        if count < _FEWEST:
            raise InputError(f"Volume {number + 1} has {count} slices with data, and every second one is to be hidden. "
                             f"Give volumes of at least {_FEWEST}.")
        hides = np.arange(count) % 2 == 1
        hides[-1] = False
        stacks = [_part(each, ~hides) if n == number else each for n, each in enumerate(everything.stacks)]
        return cls(volume, number, replace(everything, stacks=tuple(stacks)), _part(stack, hides), ours)

    @cached_property
    def motions(self) -> list[StackMotion]:
        """Of all stacks, as rigid registration finds them before anything is solved."""
        return register_stacks(self.observations.stacks, seed=self.ours.seed)

    def own_cubic(self) -> np.ndarray:
        """Predict from the other slices of the volume alone."""
        return seen_by_cubic(self.observations.stacks[self.number], self.hidden.planes.points())

    def mean_of_cubics(self) -> np.ndarray:
        """Predict from all stacks, registered and resampled."""
        points = self.motions[self.number].placed(self.hidden.planes).points()
        seen = []
        for stack, motion in zip(self.observations.stacks, self.motions, strict=True):
            back = np.linalg.inv(motion.matrix)
            values = seen_by_cubic(stack, points @ back[:3, :3].T + back[:3, 3])
            seen.append((values - motion.bias) / motion.gain)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
            return self._own_grey(np.nanmean(seen, axis=0), self.motions)

    def least_squares(self) -> np.ndarray:
        """Predict from all stacks, registered and solved for by plain least squares."""
        trimmed = self.observations.trimmed()
        seen = seen_by_least_squares(trimmed, self.motions, union_grid(trimmed), self.hidden,
                                     self.motions[self.number], choose(self.ours.device))
        return self._own_grey(seen, self.motions)

    def together(self, preset: Preset) -> np.ndarray:
        """Predict from our reconstruction of all stacks."""
        side = union_grid(self.observations).spacing[0]
        made = self.ours.together(self.observations, side, preset)
        planes, profile = made.motions[self.number].placed(self.hidden.planes), profile_of(self.hidden, side)
        return self._own_grey(seen_of_model(made.model, planes, profile, choose(self.ours.device)), made.motions)

    def alone(self, preset: Preset) -> np.ndarray:
        """Predict from our reconstruction of the other slices of the volume alone."""
        axis = self.volume.slice_axis
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputNote)  # which slices are used is the evaluation's own choice
            image = within(self.volume.image, self.volume.mask)
            kept = Selection(self.observations.stacks[self.number].numbers or (), image.grid.count(axis))
            observations = Observations.from_volume(image, {axis: kept})
        made = reconstruct(observations, image.grid, preset=preset, device=self.ours.device, seed=self.ours.seed,
                           memory=Memory(keep_model=False, limit=self.ours.limit))
        return np.moveaxis(made.volume.array, array_axis(axis), 0)[list(self.hidden.numbers or ())]

    def _own_grey(self, values: np.ndarray, motions: Sequence[StackMotion]) -> np.ndarray:
        """Grey values of the first volume as those of this one."""
        return values * motions[self.number].gain + motions[self.number].bias


Method = Callable[[Fold], np.ndarray]  # [plane, row, column] grey values of the hidden slices; NaN for none


def evaluate_hidden(inputs: Sequence[StackInput], names: Sequence[str], ours: Ours,
                    announce: Callable[[str], None] = lambda name: None) -> StackEvaluation:
    """Hide every second slice of each volume in turn and score what methods predict there.

    Only pixels that hold data and of which every method says something are scored.  A method that fails gives a row
    that says why; the others go on.

    Args:
        inputs: the volumes, two at least.
        names: of the volumes.
        ours: how this library is asked.
        announce: called with each method's number and name before it starts.
    """
    everything = Observations.from_volumes(inputs)
    folds = [Fold.of(volume, number, everything, ours) for number, volume in enumerate(inputs)]
    predicted, methods = {}, _methods(ours)
    for number, (name, method) in enumerate(methods.items(), start=1):
        announce(f"{number} of {len(methods)}: {name}")
        predicted[name] = _predicted(method, folds)
    said = [each.seen for each in predicted.values() if each.failure is None]
    scored = [np.all([np.isfinite(seen[n]) for seen in said] + [_holds(fold.hidden)], axis=0)
              for n, fold in enumerate(folds)]
    for name, of in zip(names, scored, strict=True):
        if not of.any():
            raise InputError(f"Of no pixel of the hidden slices of '{name}' every method says something. Check that "
                             "all volumes show the same body, or leave this one out.")
    number, shown = _shown(folds[0], scored[0], predicted[_OWN].seen)
    rows = [_row(name, name in _BASELINES, each, folds, scored, number, shown) for name, each in predicted.items()]
    what = f"{len(inputs)} volumes, every 2nd slice of each hidden in turn"
    return StackEvaluation(tuple(rows), tuple(names), shown, what, "mean of the volumes", _remarks(folds, scored),
                           {"hidden": [list(fold.hidden.numbers or ()) for fold in folds], "seed": ours.seed})


_OWN = "own slices, cubic"
_BASELINES: dict[str, Method] = {_OWN: Fold.own_cubic, "mean of cubics": Fold.mean_of_cubics,
                                 "least squares": Fold.least_squares}


def _methods(ours: Ours) -> dict[str, Method]:
    """All methods by name, in the order of the rows."""
    methods = dict(_BASELINES)
    for name, preset in ours.presets.items():
        if ours.alone:
            methods[f"{name}, own slices"] = partial(Fold.alone, preset=preset)
        methods[name] = partial(Fold.together, preset=preset)
    return methods


@dataclass(frozen=True)
class _Predicted:
    """What a method says of the hidden slices of each volume."""

    seen: tuple[np.ndarray, ...] = ()
    seconds: float = 0.0
    failure: str | None = None


def _predicted(method: Method, folds: Sequence[Fold]) -> _Predicted:
    start = time.perf_counter()
    try:
        seen = tuple(method(fold) for fold in folds)
    except ReconstructionError as error:
        return _Predicted(failure=str(error))
    return _Predicted(seen, round(time.perf_counter() - start, 2))


def _row(name: str, is_baseline: bool, predicted: _Predicted, folds: Sequence[Fold], scored: Sequence[np.ndarray],
         number: int, shown: Shown) -> StackRow:
    """The scores of a method, and what the figure shows of it; number: of the hidden slice that this is."""
    if predicted.failure is not None:
        return StackRow(name, is_baseline, failure=predicted.failure)
    likenesses = tuple(Likeness.of(_normalised(seen, fold)[of], _normalised(fold.hidden.pixels, fold)[of], (0.0, 1.0))
                       for seen, fold, of in zip(predicted.seen, folds, scored, strict=True))
    picture = shown.view.part(_black_outside(predicted.seen[0][number], folds[0], scored[0][number]))
    return StackRow(name, is_baseline, likenesses, predicted.seconds, picture)


def _normalised(pixels: np.ndarray, fold: Fold) -> np.ndarray:
    """Map the range of what is kept of a volume to [0, 1], clipped."""
    kept = fold.observations.stacks[fold.number]
    data = kept.pixels[_holds(kept)]
    low, high = float(data.min()), float(np.percentile(data, _PERCENTILE))
    return ((pixels - low) / max(high - low, 1e-12)).clip(0.0, 1.0)


def _shown(fold: Fold, scored: np.ndarray, own: Sequence[np.ndarray]) -> tuple[int, Shown]:
    """What the figure shows: the hidden slice, and the part of it, of which the volume's own slices tell least.

    own: [plane, row, column], what these tell, first of the volume of `fold`; or nothing.
    """
    truth = _black_outside(fold.hidden.pixels, fold, scored)
    alone = _black_outside(own[0], fold, scored) if own else np.zeros_like(truth)
    errors = np.abs(alone - truth)
    number = int(errors.mean(axis=(1, 2)).argmax())
    index = fold.hidden.numbers[number] if fold.hidden.numbers else number
    view = View.of_slice(fold.volume.image.grid, fold.volume.slice_axis, index, errors[number])
    kept = fold.observations.stacks[fold.number]
    scale = Scale.of(kept.pixels[_holds(kept)]).looking_at(view.part(truth[number]))
    words = _OWN, "other slices of the volume alone"
    return number, Shown(view, scale, view.part(truth[number]), view.part(alone[number]), words,
                         view.part(scored[number]), "the other slices of the volume tell least")


def _black_outside(pixels: np.ndarray, fold: Fold, scored: np.ndarray) -> np.ndarray:
    """Pixels as the figure has them: black where nothing is scored."""
    return np.where(scored, _normalised(pixels, fold), 0.0)


def _holds(stack: SliceStack) -> np.ndarray:
    """Which pixels hold data."""
    return np.ones(stack.pixels.shape, bool) if stack.weights is None else stack.weights > 0


def _part(stack: SliceStack, which: np.ndarray) -> SliceStack:
    """Some slices of a stack, without labels; which: (plane,) bool."""
    taken = np.flatnonzero(which)
    return replace(stack, planes=stack.planes.subset(taken), pixels=stack.pixels[taken], layers=None, labelled=None,
                   weights=None if stack.weights is None else stack.weights[taken],
                   numbers=None if stack.numbers is None else tuple(stack.numbers[n] for n in taken))


def _remarks(folds: Sequence[Fold], scored: Sequence[np.ndarray]) -> tuple[str, ...]:
    held = sum(int(_holds(fold.hidden).sum()) for fold in folds)
    share = sum(int(of.sum()) for of in scored) / held
    hidden = ", ".join(str(len(fold.hidden.planes)) for fold in folds)
    return (f"Every second slice of each volume was hidden in turn ({hidden} slices), and predicted from all others.",
            f"Scores are of {share:.0%} of their pixels: those with data of which every method says something.",
            "Mean of cubics and least squares are of volumes that were registered rigidly.")
