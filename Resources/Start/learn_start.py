#!/usr/bin/env python3
"""Learn what the networks of preset `fast` start from, on synthetic images alone.

    python Resources/Start/learn_start.py [--steps 35000] [--seed 0] [--device cuda] [--output FILE.safetensors]

For each number of slices around a gap one network is trained as on a volume, but for the images: new ones again and
again, with gaps of all widths and slices of all thicknesses.  No scan is read.  Without --output the file that the
library ships is written; that took five minutes on an NVIDIA H200.  On one processor the same seed gives the same file.
"""
from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from synthetic_images import synthetic_images
from torch import Tensor

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.config.self_supervised import SuperResolutionConfig
from TriplaneGaussianReconLib.data.gap_sampling import evenly
from TriplaneGaussianReconLib.self_supervised.minimise import minimise
from TriplaneGaussianReconLib.self_supervised.networks import ResidualNetwork
from TriplaneGaussianReconLib.self_supervised.patches import Lines, PatchSampler
from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext
from TriplaneGaussianReconLib.self_supervised.start import FEATURES, FILE, NARROWEST, WAVES, WIDEST, bumps, features


@dataclass(frozen=True)
class LearningConfig:
    """How a start is learnt.

    Attributes:
        steps, batch, rate: of the training; the batch is shared by the tasks.
        tasks: gaps of so many widths and slices of so many thicknesses are looked at together.
        renewed: steps after which images and tasks are new.
        images, side: how many there are at a time, and their pixels.
        wanted: planes looked for in each gap.
        counts: numbers of planes in a gap, of whose places `wanted` are drawn.
        whole: share of tasks whose lines lie whole pixels apart.
        thin: share of tasks whose slices are no thicker than a pixel.
    """

    steps: int = 35000
    batch: int = 384
    rate: float = 4e-3
    tasks: int = 12
    renewed: int = 200
    images: int = 64
    side: int = 144
    wanted: int = 3
    counts: tuple[int, ...] = (1, 2, 3, 3, 3, 5, 7)
    whole: float = 0.6
    thin: float = 0.5


@dataclass(frozen=True)
class Task:
    """Gaps of one width (pixels) between slices of one thickness, and the places in them that are wanted."""

    width: float
    thickness: float
    fractions: np.ndarray

    @classmethod
    def drawn(cls, narrow: bool, config: LearningConfig, random: np.random.Generator) -> Task:
        """Draw a task; `narrow` gaps are those that are filled from more slices."""
        is_whole = random.random() < config.whole
        width = (random.uniform(NARROWEST, 3.0) if narrow else
                 2.0 ** random.uniform(math.log2(2.8), math.log2(WIDEST)))
        width = float(max(round(width), 2 if narrow else 3)) if is_whole else width
        counts = [n for n in config.counts if not is_whole or width % (n + 1) == 0] or [round(width) - 1]
        places = evenly(int(random.choice(counts)))
        thickness = 1.0 if random.random() < config.thin else random.uniform(1.0, width)
        return cls(width, thickness, random.choice(places, config.wanted))

    def context(self, size: int, slices: int = 9) -> SliceContext:
        """All gaps of a stack, whose first and last slices are repeated beyond its ends."""
        return SliceContext.around(np.arange(slices - 1), self.width * np.arange(slices), self.fractions, size)


class Lessons:
    """Patches of synthetic images, renewed in place every `renewed` steps: what is recorded on a GPU stays valid."""

    def __init__(self, size: int, config: LearningConfig, lines: SuperResolutionConfig, seed: int,
                 device: torch.device) -> None:
        self.size, self.config, self.lines = size, config, lines
        self.random = np.random.default_rng(seed)
        self.order = torch.Generator().manual_seed(seed)
        self.painter = torch.Generator(device).manual_seed(seed)
        self.patches = self._drawn()

    def renew(self, step: int) -> None:
        """New images and tasks, if it is time."""
        if step and step % self.config.renewed == 0:
            for old, new in zip(self.patches, self._drawn(), strict=True):
                old.copy_(new)

    def at(self, step: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of one step: lines [patch, S, pixel], those wanted, blends of the outputs for them, and conditions."""
        number = step % self.config.renewed
        lines, truth, blends, conditions = (column[number][0] for column in self.patches)
        return lines, truth, blends, conditions

    def _drawn(self) -> list[Tensor]:
        """[step, patch, ...] of all tasks."""
        images = synthetic_images(self.config.images, self.config.side, self.painter)
        tasks = [self._of_task(images) for _ in range(self.config.tasks)]
        return [torch.cat(columns, dim=1) for columns in zip(*tasks, strict=True)]

    def _of_task(self, images: Tensor) -> list[Tensor]:
        """[step, patch, ...] of one task."""
        task = Task.drawn(self.size > self.lines.slices_around, self.config, self.random)
        lines = Lines(images, (1.0, 1.0), task.thickness, task.context(self.size), self.lines)
        each = self.config.batch // self.config.tasks
        all_at_once = replace(self.lines, steps=1, batch=each * self.config.renewed)
        around, truth, fractions, conditions = PatchSampler(lines, all_at_once, self.order).at(
            torch.zeros(1, dtype=torch.int64, device=images.device), slice(None))
        known = features(task.width, task.thickness).to(images.device).expand(len(around), FEATURES)
        conditions = torch.cat([conditions[:, :self.size], known], dim=1)
        columns = around, truth, torch.cat([fractions, bumps(fractions[..., 0])], dim=2), conditions
        return [column.reshape(self.config.renewed, each, *column.shape[1:]) for column in columns]


def learnt(size: int, config: LearningConfig, seed: int, device: torch.device) -> ResidualNetwork:
    """Train a network that sees `size` slices; its outputs are to be blended by `bumps`."""
    lines = PRESETS["fast"].super_resolution
    assert lines is not None
    lessons = Lessons(size, config, lines, seed, device)
    network = ResidualNetwork(size, WAVES, lines.width, lines.blocks, (1, lines.kernel),
                              torch.Generator().manual_seed(seed), size + FEATURES).to(device)

    def loss_at(step: Tensor, part: slice) -> Tensor:
        around, truth, places, conditions = (each[part] for each in lessons.at(step))
        half = size // 2
        straight = torch.lerp(around[:, half - 1, None], around[:, half, None], places[..., :1])
        waves = network(around[:, :, None], conditions)[:, :, 0]
        wrong = straight + places[..., 1:] @ waves - truth
        return torch.sqrt(wrong ** 2 + lines.small_error ** 2).mean()

    def tick(step: int, steps: int, loss: float) -> None:
        lessons.renew(step)
        if step % 1000 == 0:
            print(f"{size} slices: step {step} of {steps}, loss {loss:.5f}", flush=True)

    learning = replace(lines, steps=config.steps, batch=config.batch, rate=config.rate)
    minimise(loss_at, network.others, learning, tick, network.inner)
    return network


def learn(config: LearningConfig, seed: int, device: torch.device, sizes: Sequence[int], path: Path) -> None:
    """Train a network for each number of slices around a gap, and write all of them into one file."""
    tensors = {f"{size}.{name}": tensor.half().contiguous().cpu() for size in sizes
               for name, tensor in learnt(size, config, seed, device).state_dict().items()}
    save_file(tensors, path)


def main() -> None:
    """Read the arguments, learn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=LearningConfig.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--output", type=Path, default=FILE)
    args = parser.parse_args()
    config = LearningConfig(steps=args.steps)
    lines = PRESETS["fast"].super_resolution
    assert lines is not None
    learn(config, args.seed, args.device, (lines.slices_around, lines.slices_around_few), args.output)


if __name__ == "__main__":
    main()
