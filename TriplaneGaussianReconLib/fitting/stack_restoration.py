"""What a network that learns from the solution itself adds to the solution of several stacks.

Turned and mirrored, a first solution is as good an example of the body as any.  The stacks see it, with noise of
their own; it is solved for again; and the network learns what is lost on the way.  (So single slices are sharpened by
Zhao et al., SMORE, IEEE TMI 40, 2021; here it is a whole inverse problem.)
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..config.stacks import StackConfig
from ..runtime.progress import Tick
from ..self_supervised.restoration import Example, RestorationNetwork, restored, train
from .stack_solve import mean_of, near, solve
from .stack_view import Sight


@dataclass(frozen=True)
class Restoration:
    """Solves for values, and restores what was found.

    Attributes:
        smoothness: weight of the smoothness of the first guess.
        config: of all steps.
        network: trained.
    """

    smoothness: float
    config: StackConfig
    network: RestorationNetwork

    def of(self, sights: Sequence[Sight], tick: Tick) -> Tensor:
        """Return [k, j, i] values that the stacks are likely to have seen."""
        return restored(self.network, guesses(sights, self.smoothness, self.config, tick))

    def closed(self, sights: Sequence[Sight], found: Tensor, trust: float, steps: tuple[int, int], tick: Tick
               ) -> Tensor:
        """Bring what was found, [k, j, i], closer to what was seen.

        trust: in what was found, see `near`; with 0 it only is where smooth values begin from.  steps: (outer, inner).
        """
        if trust == 0.0:
            return solve(sights, found, self.smoothness, self.config.smoothness.edge, steps, tick)
        return near(sights, found, trust, math.prod(steps), tick)


def guesses(sights: Sequence[Sight], smoothness: float, config: StackConfig, tick: Tick) -> Tensor:
    """Return [2, k, j, i]: a smooth solution, and one that keeps more of the detail and of the noise."""
    start, edge = mean_of(sights), config.smoothness.edge
    return torch.stack([solve(sights, start, smoothness, edge, config.guess, tick),
                        solve(sights, start, config.detailed * smoothness, edge, (1, config.guess[1]), tick)])


def seen_again(sights: Sequence[Sight], values: Tensor, random: np.random.Generator) -> list[Sight]:
    """Return what the stacks would have seen of `values` [k, j, i], each with as much noise as it has."""
    again = []
    for each in sights:
        added = random.normal(0.0, each.noise, each.weights.shape).astype(np.float32)
        again.append(replace(each, image=each.view.seen(values) + torch.from_numpy(added).to(values.device)))
    return again


def learn(sights: Sequence[Sight], smoothness: float, is_seen: Tensor, config: StackConfig, seed: int, tick: Tick
          ) -> Restoration:
    """Train a network on a first solution.

    Args:
        sights: of the stacks.
        smoothness: weight of the smoothness of the first guess.
        is_seen: [k, j, i], whether any stack sees a voxel.
        config: of all steps.
        seed: of the random numbers.
        tick: called often with a step and their number.
    """
    random = np.random.default_rng(seed)
    body = guesses(sights, smoothness, config, tick)[0]
    examples = []
    for _ in range(config.examples):
        truth = turned(sights, body, random)
        examples.append(Example(guesses(seen_again(sights, truth, random), smoothness, config, tick), truth))
    places = is_seen.nonzero().cpu().numpy()
    return Restoration(smoothness, config, train(examples, places, config.restoration, seed, tick))


def _thick_axis(sights: Sequence[Sight]) -> int | None:
    """The index axis of the lattice along which all stacks are thick; None where they look from different sides."""
    axes = {2 - int(np.abs(each.view.stack.planes.normal).argmax()) for each in sights}
    return axes.pop() if len(axes) == 1 else None


def turned(sights: Sequence[Sight], body: Tensor, random: np.random.Generator) -> Tensor:
    """Return axes of `body` [k, j, i] in another order, some mirrored, cut or continued by its mirror image to its old
    shape.

    Where all stacks are thick along one axis the body is known too coarsely there to be seen along another.
    """
    thick = _thick_axis(sights)
    while True:
        order = random.permutation(3).tolist()
        if thick is None or order[thick] != thick:
            break
    found = body.permute(order)
    for axis, size in enumerate(body.shape):
        there = found.shape[axis]
        at = (np.arange(size) + random.integers(max(there - size, 0) + 1)) % (2 * there)
        at = np.minimum(at, 2 * there - 1 - at)
        at = at[::-1].copy() if random.random() < 0.5 else at
        found = found.index_select(axis, torch.from_numpy(at).to(body.device))
    return found.contiguous()
