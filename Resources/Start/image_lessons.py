"""What the start of the image's networks is taught: patches of synthetic images."""
from __future__ import annotations

from dataclasses import replace

import torch
from lessons import LearningConfig, Lessons, Task
from synthetic_images import synthetic_images
from torch import Tensor

from TriplaneGaussianReconLib.config.self_supervised import SuperResolutionConfig
from TriplaneGaussianReconLib.self_supervised.patches import Lines, PatchSampler
from TriplaneGaussianReconLib.self_supervised.start import FEATURES, bumps, features


class ImageLessons(Lessons):
    """Lines [patch, S, pixel], those wanted, their fractions and the blends of the outputs for them, and conditions."""

    def __init__(self, size: int, config: LearningConfig, lines: SuperResolutionConfig, seed: int,
                 device: torch.device) -> None:
        self.size, self.lines = size, lines
        super().__init__(config, seed, device)

    def _of_tasks(self) -> list[list[Tensor]]:
        images = synthetic_images(self.config.images, self.config.side, self.painter)
        return [self._of_task(images) for _ in range(self.config.tasks)]

    def _of_task(self, images: Tensor) -> list[Tensor]:
        """[step * patch, ...] of one task."""
        task = Task.drawn(self.size > self.lines.slices_around, self.config, self.random)
        lines = Lines(images, (1.0, 1.0), task.thickness, task.context(self.size, task.fractions), self.lines)
        all_at_once = replace(self.lines, steps=1, batch=self.patches_of_a_task)
        around, truth, fractions, conditions = PatchSampler(lines, all_at_once, self.order).at(
            torch.zeros(1, dtype=torch.int64, device=images.device), slice(None))
        known = features(task.width, task.thickness).to(images.device).expand(len(around), FEATURES)
        conditions = torch.cat([conditions[:, :self.size], known], dim=1)
        return [around, truth, torch.cat([fractions, bumps(fractions[..., 0])], dim=2), conditions]
