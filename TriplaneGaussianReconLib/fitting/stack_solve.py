"""One volume from all stacks: the values of Gaussians on a lattice with which every stack sees what it saw.

With places and sizes fixed, what slices see is linear in the values.  So they are found by least squares with conjugate
gradients; smoothness that spares edges comes in by weights that follow the last solution (iteratively reweighted least
squares, which minimise the total variation: Chan and Mulet, SIAM J. Numer. Anal. 36, 1999).
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import torch
from torch import Tensor

from ..runtime.progress import Tick
from ..runtime.threads import workers
from .stack_gaps import between_slices, errors_between
from .stack_view import Sight

_COVERED = 0.1  # of the usual weight that stacks give to a voxel: with less nothing was seen there
_WELL = 0.3  # of the largest weight that a stack gives to a voxel: with less it lies between slices, or beyond


CLOSE = 1e-5
"""What may be left of the target, as a share of its length."""


def solve(sights: Sequence[Sight], start: Tensor, smoothness: float, edge: float, steps: tuple[int, int],
          tick: Tick) -> Tensor:
    """Find values with which all stacks see what they saw.

    Args:
        sights: of the stacks.
        start: [k, j, i] values.
        smoothness: weight of the squared differences between neighbours where there is no edge, beside that of one
            observed pixel.
        edge: difference from which an edge costs less than its square.
        steps: outer ones, which find edges anew, and inner ones of each.
        tick: called before every step with its number and how many there are.

    Returns:
        [k, j, i] values.
    """
    outer, inner = steps
    values, target = start, _together(sights, lambda sight: sight.pull(sight.image))
    for number in range(outer):
        flexible = edge_weights(values, smoothness, edge)

        def curvature(x: Tensor, flexible: Tensor = flexible) -> Tensor:
            return _together(sights, lambda sight: sight.pull(sight.view.seen(x))) + rough(x, flexible)

        def note(step: int, done: int = number) -> None:
            tick(done * inner + step, outer * inner)

        values = conjugate_gradients(curvature, target, values, inner, note)
    return values


def near(sights: Sequence[Sight], prior: Tensor, trust: float, steps: int, tick: Tick) -> Tensor:
    """Find values near `prior` with which all stacks see what they saw.

    Args:
        sights: of the stacks.
        prior: [k, j, i] values that are likely.
        trust: weight of the squared differences from them, beside that of one observed pixel; infinity keeps them.
        steps: of conjugate gradients.
        tick: called before every step with its number and how many there are.

    Returns:
        [k, j, i] values.
    """
    if trust == math.inf:
        return prior
    target = _together(sights, lambda sight: sight.pull(sight.image)) + trust * prior

    def curvature(x: Tensor) -> Tensor:
        return _together(sights, lambda sight: sight.pull(sight.view.seen(x))) + trust * x

    return conjugate_gradients(curvature, target, prior, steps, lambda step: tick(step, steps))


def mean_of(sights: Sequence[Sight]) -> Tensor:
    """Return [k, j, i] values: what all stacks tell of a voxel, by how much they see of it; between slices that leave
    it out what these tell, and 0 beyond.
    """
    coverages = _coverages(sights)
    coverage, total = reduce(torch.add, coverages), _together(sights, lambda sight: sight.pull(sight.image))
    mean = torch.where(coverage > 0, total / coverage.clamp(min=1e-6), 0.0)
    between, is_between = between_slices(sights, sights[0].view.lattice, _left_out(coverages))
    return torch.where(is_between, between, mean)


def is_seen_by(sights: Sequence[Sight]) -> Tensor:
    """Return [k, j, i] bool, of which voxels stacks tell: they see them, or slices on both sides."""
    coverage = coverage_of(sights)
    is_covered = coverage > _COVERED * coverage[coverage > 0].median()
    return is_covered | between_slices(sights, sights[0].view.lattice, ~is_covered)[1]


def gap_errors(sights: Sequence[Sight], blur: float) -> Tensor:
    """Return [k, j, i], the error to expect of voxels between slices that leave them out, 0 elsewhere; see
    `errors_between`.
    """
    return errors_between(sights, sights[0].view.lattice, _left_out(_coverages(sights)), blur)


def coverage_of(sights: Sequence[Sight]) -> Tensor:
    """Return [k, j, i] how much all stacks see of each Gaussian."""
    return reduce(torch.add, _coverages(sights))


def _coverages(sights: Sequence[Sight]) -> list[Tensor]:
    """The same of each stack."""
    return _each(sights, lambda sight: sight.view.back(sight.weights))


def _left_out(coverages: Sequence[Tensor]) -> Tensor:
    """[k, j, i] bool, which voxels no stack sees well."""
    return torch.stack([coverage <= _WELL * coverage.max() for coverage in coverages]).all(dim=0)


def _together(sights: Sequence[Sight], work: Callable[[Sight], Tensor]) -> Tensor:
    """Sum of what `work` returns for each stack, in their order."""
    return reduce(torch.add, _each(sights, work))


def _each(sights: Sequence[Sight], work: Callable[[Sight], Tensor]) -> list[Tensor]:
    """What `work` returns for each stack; on a CPU several stacks at a time."""
    with ThreadPoolExecutor(workers(sights[0].weights.device)) as pool:
        return list(pool.map(work, sights))


def edge_weights(values: Tensor, smoothness: float, edge: float) -> Tensor:
    """Return [k, j, i] the weight of the differences from each voxel to the next ones."""
    squared = torch.zeros_like(values)
    for axis in range(3):
        squared.narrow(axis, 0, values.shape[axis] - 1).add_(torch.diff(values, dim=axis) ** 2)
    return smoothness * edge / (squared + edge ** 2).sqrt()


def neighbour_differences(values: Tensor, within: Tensor) -> Tensor:
    """Return (n,) absolute differences between next voxels of `values` [k, j, i], both of which lie `within`."""
    differences = []
    for axis in range(3):
        count = values.shape[axis] - 1
        both = within.narrow(axis, 0, count) & within.narrow(axis, 1, count)
        differences.append(torch.diff(values, dim=axis).abs()[both])
    return torch.cat(differences)


def rough(values: Tensor, weights: Tensor) -> Tensor:
    """Return half the gradient of the weighted squared differences between neighbours, [k, j, i]."""
    found = torch.zeros_like(values)
    for axis in range(3):
        count = values.shape[axis] - 1
        difference = torch.diff(values, dim=axis) * weights.narrow(axis, 0, count)
        found.narrow(axis, 1, count).add_(difference)
        found.narrow(axis, 0, count).sub_(difference)
    return found


def conjugate_gradients(curvature: Callable[[Tensor], Tensor], target: Tensor, start: Tensor, steps: int,
                        note: Callable[[int], None]) -> Tensor:
    """Solve `curvature(x) = target` to `CLOSE` (Hestenes and Stiefel, 1952), from `start` on.

    note: called before every step with its number.
    """
    x, left = start, target - curvature(start)
    way, squared, enough = left, (left * left).sum(), CLOSE ** 2 * (target * target).sum()
    for step in range(steps):
        if squared < enough:
            break
        note(step)
        bent = curvature(way)
        bend = (way * bent).sum()
        if not bend > 0:  # solved, as far as numbers tell
            break
        length = squared / bend
        x, left = x + length * way, left - length * bent
        former, squared = squared, (left * left).sum()
        way = left + (squared / former) * way
    return x
