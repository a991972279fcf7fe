"""Where whole stacks lie against the first one, before any volume is known.

The first stack stays, so that nothing drifts.  Each other one starts from several places: as its header says, with the
centres of the fields of view or of the bodies on each other, and turned about each axis.  All stacks are blurred alike
in all directions (`blurred_stacks`), from coarse to fine; the starts that agree best go on.  In the end each stack is
fitted to the mean of all others, so that those that cross correct each other.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from ..config.registration import RigidConfig
from ..data.geometry import Grid
from ..data.observations import SliceStack
from ..data.stack_motion import StackMotion
from ..errors import InputError
from ..runtime.progress import Tick
from ..runtime.threads import serial_torch
from .blurred_stacks import BlurredStack, blur_of, blurred
from .rigid_fit import Comparison, Samples, Target, fitted


def register_stacks(stacks: Sequence[SliceStack], *, config: RigidConfig | None = None, seed: int = 0,
                    tick: Tick | None = None) -> list[StackMotion]:
    """Find where each stack lies against the first one.

    Args:
        stacks: all of one body and one kind of contrast; pixels of weight 0 are not looked at.
        config: how to search; None for the default.
        seed: decides which pixels are compared.
        tick: called often; may raise to stop.

    Returns:
        The motion, gain and bias of each; the first one's change nothing.

    Raises:
        InputError: a stack has one slice alone, or none of its pixels weighs anything.
    """
    config = config or RigidConfig()
    _check(stacks)
    sigmas = _sigmas(stacks, config)
    starts, others = 3 * 7, len(stacks) - 1
    total = others * (starts + (len(sigmas) - 1) * config.kept + config.rounds)
    count = iter(range(total))

    def report() -> None:
        if tick:
            tick(next(count, total), total)

    motions = [StackMotion()]
    with serial_torch():
        first = [blurred(stacks[0], sigma) for sigma in sigmas]
        finest = [first[-1]]
        for stack in stacks[1:]:
            views = [blurred(stack, sigma) for sigma in sigmas]
            motions.append(_found(first, views, config, np.random.default_rng(seed), report))
            finest.append(views[-1])
        return _agreed(finest, motions, config, np.random.default_rng(seed), report)


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


def _found(first: Sequence[BlurredStack], views: Sequence[BlurredStack], config: RigidConfig,
           random: np.random.Generator, report: Callable[[], None]) -> StackMotion:
    """The motion that carries `views` onto `first`; both from coarse to fine."""
    motions = list(_starts(first[0], views[0], config.turns))
    for level, (target, moving) in enumerate(zip(first, views, strict=True)):
        is_last = level == len(views) - 1
        samples, whole = _samples(moving, config.voxels, random), Target(target.values, target.grid, target.weights)
        least = config.least_overlap * min(1.0, _volume(target) / _volume(moving))
        found = []
        for motion in motions:
            report()
            motion, comparison = fitted(samples, whole, motion, config.steps, fit_contrast=False, tolerance=0.02)
            found.append((_score(comparison, least), motion))
        found.sort(key=lambda pair: -pair[0])  # stable: the earlier of equals wins
        motions = [motion for _, motion in found[:1 if is_last else max(config.kept - level, 1)]]
    return fitted(samples, whole, motions[0], config.steps)[0]


def _starts(first: BlurredStack, moving: BlurredStack, turns: float) -> Iterator[StackMotion]:
    """Header, middles of the field of view, centres of the body; each also turned about each axis."""
    middles = [(_middle(v.grid), _centre_of_body(v)) for v in (first, moving)]
    (field, body), (moving_field, moving_body) = middles
    for shift in (np.zeros(3), field - moving_field, body - moving_body):
        for turn in [np.zeros(3), *(sign * turns * axis for axis in np.eye(3) for sign in (-1.0, 1.0))]:
            matrix = np.eye(4)
            matrix[:3, :3] = Rotation.from_rotvec(turn, degrees=True).as_matrix()
            matrix[:3, 3] = moving_body + shift - matrix[:3, :3] @ moving_body
            yield StackMotion(matrix)


def _middle(grid: Grid) -> np.ndarray:
    return grid.index_to_physical(grid.corners.mean(axis=0))


def _centre_of_body(of: BlurredStack) -> np.ndarray:
    """(3,) mm, the centre of what is brighter than the background (Otsu's threshold)."""
    known = of.weights > 0.5 * of.weights.max()
    values = of.values[known]
    bytes_ = np.rint((values - values.min()) / max(float(np.ptp(values)), 1e-30) * 255.0).astype(np.uint8)
    threshold, _ = cv2.threshold(bytes_.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    body = np.argwhere(known)[bytes_ > threshold]
    return of.grid.index_to_physical(body.mean(axis=0)[::-1] if len(body) else of.grid.corners.mean(axis=0))


def _samples(of: BlurredStack, most: int, random: np.random.Generator) -> Samples:
    """Some voxels of a view."""
    chosen = np.flatnonzero(of.weights > 0)
    if len(chosen) > most:
        chosen = np.sort(random.choice(chosen, most, replace=False))
    index = np.stack(np.unravel_index(chosen, of.values.shape)[::-1], axis=1)
    values, weights = (a.reshape(-1)[chosen].astype(np.float64) for a in (of.values, of.weights))
    points = of.grid.index_to_physical(index)[:, None]
    return Samples(*(torch.from_numpy(a) for a in (points, np.ones(1), values, weights)))


def _volume(of: BlurredStack) -> float:
    """Cubic mm that hold data."""
    return float(of.weights.sum(dtype=np.float64) * np.prod(of.grid.spacing))


def _score(comparison: Comparison, least: float) -> float:
    """Correlation where both are known, less where little is: a sliver agrees easily."""
    return comparison.correlation * min(1.0, comparison.overlap / least)


def _agreed(views: Sequence[BlurredStack], motions: Sequence[StackMotion], config: RigidConfig,
            random: np.random.Generator, report: Callable[[], None]) -> list[StackMotion]:
    """Fit each stack but the first to the mean of all others."""
    motions = list(motions)
    if len(views) < 3:  # the first one is all others
        return motions
    grid = _union(views, motions)
    samples = [_samples(v, config.voxels, random) for v in views]
    placed = [_placed(v, motion, grid) for v, motion in zip(views, motions, strict=True)]
    for _ in range(config.rounds):
        for number in range(1, len(views)):
            report()
            others = [pair for n, pair in enumerate(placed) if n != number]
            weights = sum(w for _, w in others)
            mean = sum(v * w for v, w in others) / np.maximum(weights, 1e-6)
            target = Target(mean, grid, np.minimum(weights, 1.0))
            motions[number], _ = fitted(samples[number], target, motions[number], config.steps)
            placed[number] = _placed(views[number], motions[number], grid)
    return motions


def _union(views: Sequence[BlurredStack], motions: Sequence[StackMotion]) -> Grid:
    """The first view's grid, with even voxels, about all views."""
    first = views[0].grid
    corners = []
    for v, motion in zip(views, motions, strict=True):
        points = v.grid.index_to_physical(v.grid.corners)
        corners.append(first.physical_to_index(points @ motion.matrix[:3, :3].T + motion.matrix[:3, 3]))
    low, high = np.floor(np.min(corners, axis=(0, 1))), np.ceil(np.max(corners, axis=(0, 1)))
    shape = tuple((high - low).astype(int)[::-1] + 1)
    return Grid(shape, tuple(first.index_to_physical(low)), first.spacing, first.direction)


def _placed(of: BlurredStack, motion: StackMotion, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """A view's values, as grey values of the first, and weights on `grid`."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")[::-1], axis=-1)
    back = np.linalg.inv(motion.matrix)
    points = grid.index_to_physical(index).reshape(-1, 3) @ back[:3, :3].T + back[:3, 3]
    values, weights = Target(of.values, of.grid, of.weights).at(torch.from_numpy(points[:, None]))
    values = (values - motion.bias) / motion.gain
    return values.numpy().reshape(grid.shape), weights.numpy().reshape(grid.shape)
