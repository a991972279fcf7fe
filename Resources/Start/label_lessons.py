"""What the start of label networks is taught: borders of the labels of synthetic images."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from lessons import LearningConfig, Lessons, Task
from synthetic_images import labelled_images
from torch import Tensor

from TriplaneGaussianReconLib.config.self_supervised import LabelSuperResolutionConfig, SuperResolutionConfig
from TriplaneGaussianReconLib.self_supervised import start
from TriplaneGaussianReconLib.self_supervised.label_patches import Borders, LabelPatchSampler
from TriplaneGaussianReconLib.self_supervised.networks import ResidualNetwork
from TriplaneGaussianReconLib.self_supervised.patches import Lines
from TriplaneGaussianReconLib.self_supervised.super_resolution import SuperResolution


class LabelLessons(Lessons):
    """Masks and images of lines [patch, LABEL_SLICES, pixel], images predicted at LABEL_PLACES, masks wanted, their
    fractions and the blends of the outputs for them, and conditions.

    What lies in the gaps is predicted by the start of the image's network.
    """

    def __init__(self, config: LearningConfig, of_image: SuperResolutionConfig, lines: LabelSuperResolutionConfig,
                 seed: int, device: torch.device) -> None:
        self.of_image, self.lines = of_image, lines
        self.labeller = torch.Generator(device).manual_seed(seed + 1)
        super().__init__(config, seed, device)

    def _of_tasks(self) -> list[list[Tensor]]:
        images, labels = labelled_images(self.config.images, self.config.side, self.painter, self.labeller)
        borders = Borders.of(labels[None].cpu().numpy(), len(labels))
        return [self._of_task(images, borders) for _ in range(self.config.tasks)]

    def _of_task(self, images: Tensor, borders: Borders) -> list[Tensor]:
        """[step * patch, ...] of one task."""
        few = self.random.random() < self.config.few
        size, half = self.of_image.slices_around_few if few else self.of_image.slices_around, start.LABEL_SLICES // 2
        task, device = Task.drawn(few, self.config, self.random), images.device
        task = replace(task, thickness=min(task.thickness, self.lines.thickest))
        lines = Lines(images, (1.0, 1.0), task.thickness, task.context(size, task.places), self.lines)
        all_at_once = replace(self.lines, steps=1, batch=self.patches_of_a_task)
        sampler = LabelPatchSampler(lines, borders, self._predicting(task, size, device), all_at_once, self.order)
        masks, seen, predicted, truth, fractions, conditions, _ = sampler.at(
            torch.zeros(1, dtype=torch.int64, device=device), slice(None))
        inner = slice(size // 2 - half, size // 2 + half)
        course = torch.cat([seen[:, size // 2 - 1, None], predicted, seen[:, size // 2, None]], dim=1)
        course = torch.einsum("pt,ntx->npx", start.straight_to_places(task.places).to(device), course)
        known = start.features(task.width, task.thickness).to(device).expand(len(masks), start.FEATURES)
        wanted = torch.from_numpy(self.random.choice(len(task.places), self.config.wanted)).to(device)
        return [masks[:, inner], seen[:, inner], course, truth[:, wanted], fractions[:, wanted],
                start.bumps(fractions[:, wanted, 0]), torch.cat([conditions[:, inner], known], dim=1)]

    def _predicting(self, task: Task, size: int, device: torch.device) -> SuperResolution:
        """The start of the image's network for gaps of `task` between `size` slices."""
        of_image, wanted = self.of_image, len(task.places)
        network = ResidualNetwork(size, wanted, of_image.width, of_image.blocks, (1, of_image.kernel), self.order,
                                  size + wanted)
        begun = start.begin(network, size, task.places, task.width, task.thickness)
        assert begun, "the start of the image's networks is shipped"
        return SuperResolution(network=network.to(device), config=of_image, size=size, widths=(0.0, np.inf))
