"""What a start is taught: patches of synthetic images, with gaps of all widths and slices of all thicknesses."""
from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from TriplaneGaussianReconLib.data.gap_sampling import evenly
from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext
from TriplaneGaussianReconLib.self_supervised.start import NARROWEST, WIDEST


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
        few: share of the tasks for labels whose gaps are narrow.
    """

    steps: int
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
    few: float = 0.4


@dataclass(frozen=True)
class Task:
    """Gaps of one width (pixels) between slices of one thickness.

    places: in them, evenly spaced.  fractions: those of them that are wanted.
    """

    width: float
    thickness: float
    places: np.ndarray
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
        return cls(width, thickness, places, random.choice(places, config.wanted))

    def context(self, size: int, fractions: np.ndarray, slices: int = 9) -> SliceContext:
        """All gaps of a stack, whose first and last slices are repeated beyond its ends, with planes at `fractions`."""
        return SliceContext.around(np.arange(slices - 1), self.width * np.arange(slices), fractions, size)


class Lessons(ABC):
    """Patches of synthetic images, renewed in place every `renewed` steps: what is recorded on a GPU stays valid."""

    def __init__(self, config: LearningConfig, seed: int, device: torch.device) -> None:
        self.config = config
        self.random = np.random.default_rng(seed)
        self.order = torch.Generator().manual_seed(seed)
        self.painter = torch.Generator(device).manual_seed(seed)
        self.patches = self._drawn()

    def renew(self, step: int) -> None:
        """New images and tasks, if it is time."""
        if step and step % self.config.renewed == 0:
            for old, new in zip(self.patches, self._drawn(), strict=True):
                old.copy_(new)

    def at(self, step: Tensor) -> list[Tensor]:
        """[patch, ...] of one step; what they are, each kind of lessons tells."""
        number = step % self.config.renewed
        return [column[number][0] for column in self.patches]

    def _drawn(self) -> list[Tensor]:
        """[step, patch, ...] of all tasks."""
        tasks = self._of_tasks()
        steps, each = self.config.renewed, self.config.batch // self.config.tasks
        return [torch.cat([column.reshape(steps, each, *column.shape[1:]) for column in columns], dim=1)
                for columns in zip(*tasks, strict=True)]

    @property
    def patches_of_a_task(self) -> int:
        """As many as are looked at until all are new."""
        return self.config.renewed * (self.config.batch // self.config.tasks)

    @abstractmethod
    def _of_tasks(self) -> list[list[Tensor]]:
        """Paint new images, and draw [step * patch, ...] for each of `tasks` new tasks."""
