"""Where whole stacks lie against the first one, before any volume is known.

The first stack stays, so that nothing drifts.  Each other one starts from several places: as its header says, with the
centres of the fields of view or of the bodies on each other, and turned about each axis.  All stacks are blurred alike
in all directions (`stack_image`), from coarse to fine; the starts that agree best go on.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from ..config.registration import RigidConfig
from ..data.observations import SliceStack
from ..data.stack_motion import StackMotion
from ..errors import InputError
from ..runtime.progress import Tick
from ..runtime.threads import workers
from .alignment import aligned, one_thread_and_quiet, seen
from .stack_image import StackImage, blur_of, blurred

T = TypeVar("T")

_STARTS = 3 * 7  # see `_starts`
_NO_GAIN = 1e-3  # of the ratio of contrasts, below which a gain is not believed


def register_stacks(stacks: Sequence[SliceStack], *, config: RigidConfig | None = None, seed: int = 0,
                    tick: Tick | None = None) -> list[StackMotion]:
    """Find where each stack lies against the first one.

    Args:
        stacks: all of one body and one kind of contrast; pixels of weight 0 are not looked at.
        config: how to search; None for the default.
        seed: decides which voxels are compared where there are many.
        tick: called often; may raise to stop.

    Returns:
        The motion, gain and bias of each; the first one's change nothing.

    Raises:
        InputError: a stack has one slice alone, or none of its pixels weighs anything.
        MissingPackageError: SimpleITK is not installed.
    """
    config = config or RigidConfig()
    _check(stacks)
    sigmas = _sigmas(stacks, config)
    kept = [max(config.kept - level, 1) for level in range(len(sigmas) - 1)] + [1]
    total = (len(stacks) - 1) * (_STARTS + sum(kept))
    done = iter(range(1, total + 1))

    def report() -> None:
        if tick:
            tick(next(done), total)

    with one_thread_and_quiet(), ThreadPoolExecutor(workers(torch.device("cpu"))) as pool:
        levels = list(zip(*pool.map(lambda stack: [blurred(stack, sigma) for sigma in sigmas], stacks), strict=True))
        placings = [_Placing(number, matrix) for number, view in enumerate(levels[0][1:], start=1)
                    for matrix in _starts(levels[0][0], view, config.turns)]
        for views, sigma, count in zip(levels, sigmas, kept, strict=True):
            search = partial(_improved, views, sigma, config, seed)
            placings = _best(_each(pool, search, placings, report), count)
        return [StackMotion(), *_each(pool, partial(_finished, views, sigma, config, seed), placings, report)]


def _check(stacks: Sequence[SliceStack]) -> None:
    for number, stack in enumerate(stacks, start=1):
        if len(stack.planes) < 2:
            raise InputError(f"Volume {number} has one slice alone, too little to find how the body lies there. Use "
                             "more of its slices, leave that volume out, or choose the motion 'none'.")
        if stack.weights is not None and not stack.weights.any():
            raise InputError(f"No pixel of volume {number} holds data. Leave that volume out.")


def _sigmas(stacks: Sequence[SliceStack], config: RigidConfig) -> list[float]:
    """Standard deviations (mm) of the blur, from coarse to fine, each half of that before it or a little more."""
    finest = config.finest * max(blur_of(stack) for stack in stacks)
    coarsest = max(finest, config.coarsest * float(np.median([min(_sides(stack)) for stack in stacks])))
    count = int(np.ceil(np.log2(coarsest / finest) - 1e-6)) + 1
    return list(np.geomspace(coarsest, finest, count)) if count > 1 else [finest]


def _sides(stack: SliceStack) -> tuple[float, float, float]:
    """Mm along planes, rows and columns."""
    planes = stack.planes
    return (float(np.ptp(planes.offsets)), float(np.linalg.norm(planes.row_step)) * planes.rows,
            float(np.linalg.norm(planes.column_step)) * planes.columns)


@dataclass(frozen=True, eq=False)
class _Placing:
    """number: of the stack.  matrix: (4, 4), where it may lie.  score: how well it agrees with the first one there."""

    number: int
    matrix: np.ndarray
    score: float = 0.0


def _improved(views: Sequence[StackImage], sigma: float, config: RigidConfig, seed: int, placing: _Placing) -> _Placing:
    """Move a stack to where it agrees better; views: of all stacks, blurred by `sigma`."""
    target, moving = views[0], views[placing.number]
    matrix = aligned(moving, target, placing.matrix, config.search, sigma, samples=config.voxels, seed=seed)
    least = config.least_overlap * min(1.0, target.volume / moving.volume)
    return _Placing(placing.number, matrix, _score(moving, seen(target, moving.grid, matrix), least))


def _finished(views: Sequence[StackImage], sigma: float, config: RigidConfig, seed: int, placing: _Placing
              ) -> StackMotion:
    """Move a stack to the end of the valley, and compare its grey values there; arguments as for `_improved`."""
    target, moving = views[0], views[placing.number]
    matrix = aligned(moving, target, placing.matrix, config.finish, sigma, samples=config.voxels, seed=seed)
    return StackMotion(matrix, *_contrast(moving, seen(target, moving.grid, matrix)))


def _each(pool: ThreadPoolExecutor, work: Callable[[_Placing], T], placings: Sequence[_Placing],
          report: Callable[[], None]) -> list[T]:
    """What `work` makes of each, in their order; where `report` raises, what has not begun is given up."""
    made = []
    with closing(pool.map(work, placings)) as results:  # type: ignore[type-var]
        for each in results:
            made.append(each)
            report()
    return made


def _best(placings: Sequence[_Placing], count: int) -> list[_Placing]:
    """So many of each stack."""
    ranked = sorted(placings, key=lambda each: -each.score)  # stable: the earlier of equals wins
    numbers = sorted({each.number for each in placings})
    return [each for number in numbers for each in [one for one in ranked if one.number == number][:count]]


def _starts(first: StackImage, moving: StackImage, turns: float) -> Iterator[np.ndarray]:
    """Header, middles of the field of view, centres of the body; each also turned about each axis."""
    body, moving_body = _centre_of_body(first), _centre_of_body(moving)
    for shift in (np.zeros(3), first.middle - moving.middle, body - moving_body):
        for turn in [np.zeros(3), *(sign * turns * axis for axis in np.eye(3) for sign in (-1.0, 1.0))]:
            matrix = np.eye(4)
            matrix[:3, :3] = Rotation.from_rotvec(turn, degrees=True).as_matrix()
            matrix[:3, 3] = moving_body + shift - matrix[:3, :3] @ moving_body
            yield matrix


def _centre_of_body(of: StackImage) -> np.ndarray:
    """(3,) mm, the centre of what is brighter than the background (Otsu's threshold)."""
    values = of.values[of.known]
    bytes_ = np.rint((values - values.min()) / max(float(np.ptp(values)), 1e-30) * 255.0).astype(np.uint8)
    threshold, _ = cv2.threshold(bytes_.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    body = np.argwhere(of.known)[bytes_ > threshold]
    return of.grid.index_to_physical(body.mean(axis=0)[::-1]) if len(body) else of.middle


def _score(moving: StackImage, under: StackImage, least: float) -> float:
    """Correlation, or its opposite, where both are known; less where little is: a sliver agrees easily."""
    both = moving.known & under.known
    a, b = under.values[both], moving.values[both]
    if not (both.any() and np.ptp(a) > 0 and np.ptp(b) > 0):
        return 0.0
    return abs(float(np.corrcoef(a, b)[0, 1])) * min(1.0, both.sum() / moving.known.sum() / least)


def _contrast(moving: StackImage, under: StackImage) -> tuple[float, float]:
    """Gain and bias by which `moving` follows from what lies under it; a gain of about 0 is not believed."""
    both = moving.known & under.known
    a, b = under.values[both].astype(np.float64), moving.values[both].astype(np.float64)
    if not (both.any() and np.ptp(a) > 0 and np.ptp(b) > 0):
        return 1.0, 0.0
    gain = max(float(np.cov(a, b)[0, 1] / np.var(a, ddof=1)), _NO_GAIN * float(b.std() / a.std()))
    return gain, float(b.mean() - gain * a.mean())
