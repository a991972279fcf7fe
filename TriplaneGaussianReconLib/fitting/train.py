"""Training with Adam, the tri-plane field included."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config.presets import Training
from ..gaussians.cloud import GaussianParameters
from ..gaussians.triplane import TriplaneField
from ..rendering.renderer import Renderer
from ..runtime.progress import Tick
from ..runtime.threads import serial_torch
from ..self_supervised.optimizers import Adam, HalfCosine, Plateau, repeat
from .losses import structural_dissimilarity
from .relocation import relocate
from .targets import TargetPlanes


class Trainer:
    """A training that goes step by step: `before`, `step`, and so on; a GPU may record `step` and replay it."""

    def __init__(self, parameters: GaussianParameters, field: TriplaneField, targets: Sequence[TargetPlanes],
                 renderer: Renderer, training: Training, total_variation: float, pixel: float, seed: int = 0) -> None:
        """Prepare; see `train`."""
        self._field, self._targets, self._renderer, self._training = field, targets, renderer, training
        self._total_variation = total_variation
        self._trained, groups = _trainable(parameters, field, training, pixel)
        self._optimizer = Adam(groups)
        self._schedule = (Plateau(self._optimizer.rates, training.patience) if training.final_rates is None
                          else HalfCosine(self._optimizer.rates, training.steps, training.final_rates))
        self._generator = torch.Generator().manual_seed(seed)

    def step(self) -> Tensor:
        """Make a step; return the loss before it."""
        gaussians = self._field.applied_to(self._trained).drawn()
        loss = self._total_variation * self._field.total_variation()
        for target in self._targets:
            loss = loss + planes_loss(self._renderer(gaussians, target.planes), target, self._training)
        self._optimizer.step(torch.autograd.grad(loss, self._optimizer.parameters, allow_unused=True))
        self._schedule.follow(loss.detach())
        return loss.detach()

    def before(self, number: int) -> None:
        """Do what is due before step `number` but is no part of it: move Gaussians that add nothing."""
        relocation = self._training.relocation
        if relocation is None or not number or number % relocation.every:
            return
        if number <= relocation.until * self._training.steps:
            state = self._optimizer.moments_of(getattr(self._trained, name) for name in self._training.learning_rates
                                               if name != "field")
            pulls = self._optimizer.moments_of([self._trained.centres])[1].sum(dim=1).sqrt()
            relocate(self._trained, self.baked().drawn(), pulls, state, relocation, self._generator)

    def baked(self) -> GaussianParameters:
        """The Gaussians as they are now, with the field's residuals baked in."""
        with torch.no_grad():
            baked = self._field.applied_to(self._trained)
        return GaussianParameters(**{name: tensor.detach() for name, tensor in baked.tensors().items()})


def train(parameters: GaussianParameters, field: TriplaneField, targets: Sequence[TargetPlanes], renderer: Renderer,
          training: Training, total_variation: float, pixel: float, tick: Tick, seed: int = 0) -> GaussianParameters:
    """Train with Adam, all planes in every step.

    Args:
        parameters: The Gaussians to begin with; they are left as they are.
        field: The tri-plane field, which is trained in place.
        targets: What the Gaussians are to reproduce.
        renderer: How to draw.
        training: Learning rates, losses and number of steps.
        total_variation: Weight of the field's total variation in the loss.
        pixel: mm; learning rates of lengths are in pixels.
        tick: Called before every step with the latest known loss; may raise to stop.
        seed: Of the choice of Gaussians that are moved.

    Returns:
        The trained Gaussians, with the field's residuals baked in.
    """
    trainer = Trainer(parameters, field, targets, renderer, training, total_variation, pixel, seed)

    def before(number: int, loss: float) -> None:
        tick(number, training.steps, loss)
        trainer.before(number)

    # The decoder's gradients are sums over all Gaussians, which torch splits by the number of its threads.
    with serial_torch():
        repeat(trainer.step, training.steps, parameters.centres.device, before)
        return trainer.baked()


def _trainable(parameters: GaussianParameters, field: TriplaneField, training: Training, pixel: float
               ) -> tuple[GaussianParameters, list[tuple[list[Tensor], float]]]:
    """Return leaf tensors and optimizer groups of everything that has a learning rate."""
    if training.relocation is not None:  # which writes to all tensors
        parameters = GaussianParameters(**{name: tensor.clone() for name, tensor in parameters.tensors().items()})
    leaves: dict[str, Tensor] = {}
    by_rate: dict[float, list[Tensor]] = {}
    for name, rate in training.learning_rates.items():
        if name == "field":
            by_rate.setdefault(rate, []).extend(field.parameters())
            continue
        leaves[name] = getattr(parameters, name).clone().requires_grad_()
        if name == "values":  # empty label slots stay empty
            leaves[name].register_hook(_used_slots(parameters.channels).mul)
        by_rate.setdefault(rate * (pixel if name == "centres" else 1.0), []).append(leaves[name])
    return dataclasses.replace(parameters, **leaves), [(tensors, rate) for rate, tensors in by_rate.items()]


def _used_slots(channels: Tensor) -> Tensor:
    """(N, S) 1 for the image's slot and for label slots in use, else 0."""
    used = (channels > 0).float()
    used[:, 0] = 1.0
    return used


def planes_loss(rendered: Tensor, target: TargetPlanes, training: Training) -> Tensor:
    """Return the loss of a target: weighted image loss and, with labels, mean squared error of the occupancies.

    Args:
        rendered: (P, channel_count, rows, columns).
        target: What it should be.
        training: Which image loss, and the weight of the labels.
    """
    image = rendered[:, 0]
    if training.image_loss == "squared":
        loss = (target.weight * (image - target.image) ** 2).mean()
    else:  # as InnerGS: 0.8 L1 + 0.4 (1 - SSIM)
        loss = (0.8 * (target.weight * (image - target.image).abs()).mean()
                + 0.4 * structural_dissimilarity(image + target.background, target.image + target.background))
    if target.occupancies is not None and training.semantic_loss:
        labels = rendered[:, 1:] if target.labelled is None else rendered[target.labelled, 1:]
        loss = loss + training.semantic_loss * torch.nn.functional.mse_loss(labels, target.occupancies)
    return loss
