"""A small network that takes from a solution what noise and missing views did to it, trained on the volume at hand.

It has no offsets anywhere and is applied to differences from a local mean.  So it restores an image of any contrast and
brightness alike, and from noise that it has not met it carries over gracefully (Mohan et al., ICLR 2020).
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config.self_supervised import RestorationConfig
from ..runtime.progress import Tick
from ..runtime.threads import workers
from .minimise import PARTS, minimise_in_parts, warm_up_and_cosine

SLOPE = 0.1  # of what is negative
PLANES = 24  # that a trained network is applied to at a time


@dataclass(frozen=True)
class Example:
    """guesses: [guess, k, j, i] solutions of different smoothness.  truth: [k, j, i] what they were to find."""

    guesses: Tensor
    truth: Tensor


class RestorationNetwork(nn.Module):
    """Convolutions [n, guess, k, j, i] -> [n, k, j, i].  Before training it returns the first guess."""

    def __init__(self, guesses: int, config: RestorationConfig, generator: torch.Generator) -> None:
        """Create an untrained network; the same state of `generator` gives the same one."""
        super().__init__()
        widths = [guesses, *[config.width] * (config.layers - 1), 1]
        self.layers = nn.ModuleList(nn.Conv3d(before, after, 3, padding=1, bias=False)
                                    for before, after in zip(widths, widths[1:], strict=False))
        for layer in self.layers:
            nn.init.kaiming_uniform_(layer.weight, a=SLOPE, generator=generator)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        self.mean_over = config.mean_over
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @property
    def reach(self) -> int:
        """Voxels around one that matter to it."""
        return len(self.layers) + self.mean_over // 2

    def forward(self, guesses: Tensor) -> Tensor:
        over = [min(self.mean_over, size - 1 + size % 2) for size in guesses.shape[2:]]  # odd, and not beyond a side
        mean = functional.avg_pool3d(guesses[:, :1], over, 1, [n // 2 for n in over], count_include_pad=False)
        hidden = (guesses - mean).contiguous(memory_format=torch.channels_last_3d)
        for layer in self.layers[:-1]:
            hidden = functional.leaky_relu(layer(hidden), SLOPE)
        added: Tensor = self.layers[-1](hidden)
        return guesses[:, 0] + added[:, 0]


def train(examples: Sequence[Example], places: np.ndarray, config: RestorationConfig, seed: int,
          tick: Tick) -> RestorationNetwork:
    """Train a network to find the truth of every example.

    Args:
        examples: of one shape, on the device where to work; on a CPU torch is to use one thread per call, see
            `runtime.threads.serial_torch`.
        places: (n, 3) indices k, j, i around which patches may lie.
        config: of network and training.
        seed: the same gives the same bits on the CPU.
        tick: called before every step with its number and how many there are; may raise to stop.
    """
    first = examples[0].guesses
    device, shape = first.device, np.array(first.shape[1:])
    network = RestorationNetwork(len(first), config, torch.Generator().manual_seed(seed)).to(device)
    side = np.minimum(config.patch, shape)
    # Voxels of all examples one after another, each with its guesses and its truth.
    voxels = torch.stack([torch.cat([each.guesses, each.truth[None]]) for each in examples]).movedim(1, -1)
    voxels = voxels.reshape(-1, len(first) + 1)
    within = torch.from_numpy(np.ravel_multi_index(tuple(np.indices(side)), tuple(shape))).to(device)
    steps = min(config.steps, -(-config.passes * len(voxels) // (config.batch * int(np.prod(side)))))
    starts = _starts(len(examples), places, shape, side, (steps, config.batch), seed).to(device)
    rates = [config.rate * warm_up_and_cosine(n, steps, config.optimizer.warm_up) for n in range(steps)]

    def loss_at(number: Tensor, part: int) -> Tensor:
        here = starts[number][0, part::PARTS]
        patches = voxels[here[:, None, None, None] + within].movedim(-1, 1)
        return (network(patches[:, :-1]) - patches[:, -1]).square().mean()

    minimise_in_parts(loss_at, list(network.parameters()), rates, config.optimizer.second_moment,
                      lambda done, _: tick(done, steps))
    return network


def _starts(examples: int, places: np.ndarray, shape: np.ndarray, side: np.ndarray, size: tuple[int, int], seed: int
            ) -> Tensor:
    """(step, batch) the number of the first voxel of every patch; size: of that."""
    random = np.random.default_rng(seed)
    corners = np.clip(places[random.integers(len(places), size=size)] - side // 2, 0, shape - side)
    first = np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), tuple(shape))
    return torch.from_numpy(random.integers(examples, size=size) * int(np.prod(shape)) + first)


def restored(network: RestorationNetwork, guesses: Tensor) -> Tensor:
    """Apply a trained network to a whole volume, slab by slab; [guess, k, j, i] -> [k, j, i]."""
    def slab(span: tuple[int, int]) -> Tensor:
        first, last = span
        low = max(first - network.reach, 0)
        with torch.no_grad():
            return network(guesses[None, :, low:last + network.reach])[0, first - low:last - low]

    with ThreadPoolExecutor(workers(guesses.device)) as pool:
        return torch.cat(list(pool.map(slab, _spans(guesses.shape[1]))))


def _spans(count: int) -> Iterator[tuple[int, int]]:
    for first in range(0, count, PLANES):
        yield first, min(first + PLANES, count)
