"""Compares ways of making one volume of several stacks that were simulated from a dense one."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial

import numpy as np

from ..config.presets import Preset
from ..data.geometry import AXES, array_axis
from ..data.images import Image
from ..data.observations import Observations
from ..data.selection import Selection
from ..data.stack_motion import StackMotion
from ..errors import ReconstructionError
from ..pipeline.reconstruction import Memory, reconstruct
from .ours import Ours
from .scale import Scale
from .shown import Shown
from .stack_baselines import cubic, edge_preserving, least_squares, mean_of_cubics
from .stack_report import Likeness, StackEvaluation, StackRow
from .stack_simulation import SimulatedStack, Simulation, simulate

_SMOOTHNESS = (0.003, 0.01, 0.03, 0.1, 0.3)  # weights that least squares may choose from, with the truth at hand
_EDGES = ((0.003, 0.005, (8, 25)), (0.01, 0.005, (8, 25)))  # smoothness, edge and steps, likewise
_EDGES_IN_NOISE = ((0.1, 0.02, (6, 12)), (0.2, 0.02, (6, 12)), (0.4, 0.02, (6, 12)))
_FIRST, _BLIND, _GOAL, _SHARP_GOAL = "stack 1, cubic", "least squares", "clean least squares", "clean edge-preserving"


Rows = list[tuple[str, bool, Callable[[], np.ndarray]]]  # name, whether it is a baseline, and what makes the volume


def evaluate_simulated(truth: Image, simulation: Simulation, ours: Ours,
                       announce: Callable[[str], None] = lambda name: None) -> StackEvaluation:
    """Simulate stacks and score what methods make of them, over the whole volume.

    A reconstruction that fails gives a row that says why; the others go on.

    Args:
        truth: the volume, see `stack_simulation.central`.
        simulation: which stacks.
        ours: how this library is asked.
        announce: called with each method's number and name before it starts.
    """
    stacks, clean = simulate(truth, simulation, ours.seed), simulate(truth, simulation.clean, ours.seed)
    moved = dict[str, float]()
    methods = [*_baselines(truth, stacks, clean, simulation), *_of_library(truth, stacks, ours, moved)]
    shown, rows = _shown(truth, stacks[0]), []
    for number, (name, is_baseline, make) in enumerate(methods, start=1):
        announce(f"{number} of {len(methods)}: {name}")
        rows.append(_scored(truth, name, is_baseline, make, shown))
    by_name = {row.name: row for row in rows}
    goal = by_name.get(_GOAL, by_name[_BLIND])
    rows = [replace(row, share=_share(row, by_name[_FIRST], goal)) for row in rows]
    what = f"{simulation.stacks} simulated stack{'s' * (simulation.stacks > 1)}"
    return StackEvaluation(tuple(rows), ("volume",), shown, what, "the whole volume",
                           tuple(_remarks(simulation, goal.name, moved)),
                           {"simulation": asdict(simulation), "seed": ours.seed, "shape": truth.grid.shape,
                            "spacing_mm": truth.grid.spacing, "misplaced_voxels": moved})


def _baselines(truth: Image, stacks: Sequence[SimulatedStack], clean: Sequence[SimulatedStack],
               simulation: Simulation) -> Rows:
    """The methods that are not ours; weights are the best, chosen with the truth at hand."""
    edges = _EDGES_IN_NOISE if simulation.noise else _EDGES

    def plain(of: Sequence[SimulatedStack]) -> np.ndarray:
        return _best([partial(least_squares, of, weight) for weight in _SMOOTHNESS], truth)

    def sharp() -> np.ndarray:
        return _best([partial(edge_preserving, clean, *setting) for setting in edges], truth)

    rows: Rows = [(f"stack {n}, cubic", True, partial(cubic, stack)) for n, stack in enumerate(stacks, start=1)]
    if len(stacks) > 1:
        rows.append(("mean of cubics", True, partial(mean_of_cubics, stacks)))
    rows.append((_BLIND, True, partial(plain, stacks)))
    if simulation == simulation.clean:
        return [*rows, ("edge-preserving", True, sharp)]
    return [*rows, (_GOAL, True, partial(plain, clean)), (_SHARP_GOAL, True, sharp)]


def _of_library(truth: Image, stacks: Sequence[SimulatedStack], ours: Ours, moved: dict[str, float]) -> Rows:
    """Our methods; moved: gets, by method, how far stacks are from where they should be."""
    observations = Observations.from_volumes([stack.given for stack in stacks])

    def alone(preset: Preset, stack: SimulatedStack) -> np.ndarray:
        everything = Selection.every(stack.image.grid.count(stack.axis), 1)
        return reconstruct(Observations.from_volume(stack.image, {stack.axis: everything}), truth.grid, preset=preset,
                           device=ours.device, seed=ours.seed,
                           memory=Memory(keep_model=False, limit=ours.limit)).volume.array

    def together(name: str, preset: Preset) -> np.ndarray:
        made = ours.together(observations, truth.grid, preset)
        if len(stacks) > 1:
            moved[name] = _misplaced(truth, stacks[1:], made.motions[1:])
        return made.volume.array

    rows: Rows = []
    for name, preset in ours.presets.items():
        if ours.alone:
            rows += [(f"{name}, stack {n} alone", False, partial(alone, preset, stack))
                     for n, stack in enumerate(stacks, start=1)]
        rows.append((name, False, partial(together, name, preset)))
    return rows


def _best(ways: Sequence[Callable[[], np.ndarray]], truth: Image) -> np.ndarray:
    """What comes closest to the truth; ways are tried as long as they get better."""
    best, least = None, np.inf
    for way in ways:
        volume = way()
        error = float(np.mean((volume - truth.array) ** 2))
        if error >= least:
            break
        best, least = volume, error
    assert best is not None, "a finite error is less than infinity"
    return best


def _shown(truth: Image, first: SimulatedStack) -> Shown:
    """What the figure shows of the truth: a plane on which the first stack, which did not move, shows its steps."""
    scale = Scale.of(truth.array)
    kept = Selection.every(truth.grid.count(first.axis), first.factor)
    shown = Shown.across(Image(scale.normalised(truth.array), truth.grid), None, first.axis, kept, scale)
    thick = np.repeat(first.image.array, first.factor, axis=array_axis(first.axis))
    return replace(shown, kept=scale.normalised(shown.view.of(thick)), hidden=np.ones_like(shown.hidden),
                   kept_words=("stack 1 as it is", f"slices of {first.factor} voxels"))


def _scored(truth: Image, name: str, is_baseline: bool, make: Callable[[], np.ndarray], shown: Shown) -> StackRow:
    start = time.perf_counter()
    try:
        volume = make()
    except ReconstructionError as error:
        return StackRow(name, is_baseline, failure=str(error))
    seconds = time.perf_counter() - start
    extent = float(truth.array.min()), float(truth.array.max())
    return StackRow(name, is_baseline, (Likeness.of(volume, truth.array, extent),), round(seconds, 2),
                    shown.scale.normalised(shown.view.of(volume)) if name not in (_GOAL, _SHARP_GOAL) else None)


def _share(row: StackRow, first: StackRow, goal: StackRow) -> float | None:
    """How much of the way in dB a method goes."""
    way = goal.psnr - first.psnr
    return round((row.psnr - first.psnr) / way, 4) if row.failure is None and way > 0 else None


def _misplaced(truth: Image, stacks: Sequence[SimulatedStack], motions: Sequence[StackMotion]) -> float:
    """Mean distance, in voxels, between where stacks were found and where they lie, over what is bright."""
    grid = truth.grid
    bright = np.argwhere(truth.array > truth.array.mean())[::97, ::-1]
    points = grid.index_to_physical(bright)
    distances = [np.linalg.norm(points @ (found.matrix - true)[:3, :3].T + (found.matrix - true)[:3, 3], axis=1).mean()
                 for found, true in ((found, stack.true_motion(grid)) for stack, found in
                                     zip(stacks, motions, strict=True))]
    return round(float(np.mean(distances)) / min(grid.spacing), 4)


def _remarks(simulation: Simulation, goal: str, moved: Mapping[str, float]) -> list[str]:
    along = ", ".join(AXES[2 - n] for n in range(simulation.stacks))
    remarks = [f"Stacks thick along {along}, {simulation.factor} voxels a slice; scores are of the whole volume.",
               f"Share: of the way in dB from the first stack by cubic splines to {goal}, whose weight is the best."]
    return remarks + [f"{name} places stacks within {off:.2f} voxels of where they lie, in the mean."
                      for name, off in moved.items()]
