"""Self-supervised super-resolution across the slices, trained on lines within them.

Within an observed slice the lines of pixels lie close together; across slices they lie a gap apart.  A small network is
trained to restore in-plane lines from others as far apart as the observed slices are.  Then it is applied
through-plane, along rows and along columns; the mean of both is the prediction.  No other scan is used: the training
begins at random or, where the configuration says so, from weights learnt on synthetic images, see `start`.

The idea is that of SMORE (Zhao et al., IEEE TMI 2021, doi:10.1109/TMI.2020.3037187) and ECLARE (Remedios et al., 2025).
Here the network sees several neighbouring lines at their true distances and returns the planes between them, so that
uneven gaps and ratios that are not whole need no resampling.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from threading import Event

import numpy as np
import torch
from torch import Tensor

from ..config.self_supervised import SuperResolutionConfig
from ..data.trainable import image_widths
from ..runtime.image_operations import constants, transferred
from ..runtime.processors import usable_threads
from ..runtime.threads import serial_torch
from . import start
from .augmentation import of_lines
from .minimise import minimise
from .networks import BridgingNetwork, ResidualNetwork
from .optimizers import on_own_stream, repeatable
from .patches import Lines, PatchSampler
from .slice_context import SliceContext, reversed_conditions

# How often the calling thread reports while others train.
TICK_SECONDS = 0.1

Tick = Callable[[int, int, float], None]  # step, steps, loss; may raise to stop


@dataclass(frozen=True, kw_only=True)
class SuperResolution(BridgingNetwork):
    """A network trained to fill gaps of the image; for its augmentations see `augmentation.of_lines`."""

    config: SuperResolutionConfig

    def predict(self, slices: Tensor, context: SliceContext) -> Tensor:
        """Predict the wanted planes of gaps.

        Args:
            slices: [plane, row, column] on the network's device.
            context: the gaps, with as many slices around and planes wanted as the network was trained for.

        Returns:
            [gap, T, row, column] on that device.
        """
        return self.directions(slices, context).mean(dim=0)

    def directions(self, slices: Tensor, context: SliceContext) -> Tensor:
        """[2, gap, T, row, column]: as `predict`, from lines along rows alone, and from lines along columns alone."""
        device, size = slices.device, self.size
        around = slices[transferred(context.planes, device)]
        fractions, conditions = constants(context.fractions, device), constants(context.conditions(), device)
        result = slices.new_zeros(2, *context.fractions.shape, *slices.shape[1:])
        with torch.no_grad():
            for axis, along_rows in enumerate((True, False)):
                for augmentation in of_lines(self.config.augmentations, along_rows):
                    steering = reversed_conditions(conditions, size) if augmentation.is_reversed else conditions
                    result[axis] += augmentation.undone(self.network(augmentation.applied(around), steering))
        first, second = around[:, size // 2 - 1, None], around[:, size // 2, None]
        return torch.lerp(first, second, fractions[:, :, None, None]) + result / self.config.augmentations


@dataclass(frozen=True)
class Trainer:
    """What a network is trained on, and how.

    Attributes:
        slices: [plane, row, column] on the device where the work is to be done.
        positions: (plane,) mm, ascending.
        pitches: mm between rows and between columns.
        thickness: mm, of the slices.
        config: of the network and its training.
        seed: the same one gives the same network, on the CPU to the last bit.
    """

    slices: Tensor
    positions: np.ndarray
    pitches: tuple[float, float]
    thickness: float
    config: SuperResolutionConfig
    seed: int

    def context(self, gaps: np.ndarray, fractions: np.ndarray, step: int = 1) -> SliceContext:
        """As `SliceContext.around`; gaps of few pixels are filled from more slices."""
        widths = self.positions[step:] - self.positions[:-step]
        has_few_pixels = len(widths) and np.median(widths) < self.config.few_pixels * min(self.pitches)
        size = self.config.slices_around_few if has_few_pixels else self.config.slices_around
        return SliceContext.around(gaps, self.positions, fractions, size, step)

    @property
    def trainable(self) -> tuple[float, float]:
        """Least and largest width (mm) of the gaps that lines within the slices can train a network for."""
        rows, columns = self.slices.shape[1:]
        return image_widths(rows, columns, self.pitches, self.config)

    def only_trainable(self, context: SliceContext) -> SliceContext:
        """Those of the gaps whose width is `trainable`."""
        low, high = self.trainable
        return context.only((context.widths >= low) & (context.widths <= high))

    def train(self, context: SliceContext, tick: Tick, share: float = 1.0) -> SuperResolution | None:
        """Train a network to fill the gaps of `context`.

        Args:
            context: gaps, and the planes wanted in them.
            tick: called with step, steps and loss before every step, may raise to stop.
            share: of the configured steps that are made.

        Returns:
            The network, or None if no line can train it for that.
        """
        context, slices = self.only_trainable(context), self._with_structure()
        if not len(context.planes) or not len(slices):
            return None
        most = slices.numel() // self.config.pixels_per_step
        config = replace(self.config, steps=max(min(round(share * self.config.steps), most), 1))
        generator = torch.Generator().manual_seed(self.seed)
        sampler = PatchSampler(Lines(slices, self.pitches, self.thickness, context, config), config, generator)
        size, wanted = context.size, context.fractions.shape[1]
        network = ResidualNetwork(size, wanted, config.width, config.blocks, (1, config.kernel), generator,
                                  size + wanted)
        if config.starts_learnt:
            pixel = float(np.mean(self.pitches))
            start.begin(network, size, context.fractions.mean(axis=0), float(np.median(context.widths)) / pixel,
                        self.thickness / pixel)
        network = network.to(self.slices.device)

        def loss_at(step: Tensor, part: slice) -> Tensor:
            around, truth, fractions, conditions = sampler.at(step, part)
            wrong = filled(network, around, fractions, conditions) - truth
            return torch.sqrt(wrong ** 2 + config.small_error ** 2).mean()

        minimise(loss_at, network.others, config, tick, network.inner)
        return SuperResolution(network=network, config=self.config, size=size, widths=self.trainable)

    def _with_structure(self) -> Tensor:
        """Slices that are not blank, at most so many, spread over the stack."""
        alive = torch.nonzero(self.slices.flatten(1).std(dim=1, correction=0) > 1e-3)[:, 0]
        if not len(alive):
            return self.slices[:0]
        chosen = np.unique(np.linspace(0, len(alive) - 1, self.config.most_slices).round().astype(int))
        return self.slices[alive[transferred(chosen, self.slices.device)]]


def train_all(trainer: Trainer, training_tasks: Sequence[tuple[SliceContext, float]], tick: Tick
              ) -> list[SuperResolution | None]:
    """Train several networks.

    Each is trained by a thread of its own, at the same time.  On the CPU that has a single thread in torch: as fast as
    one after another with several threads in torch, and the bits do not depend on the number of threads.  On a GPU it
    has a stream: a single network does not keep a GPU busy.

    Args:
        trainer: what they are trained on.
        training_tasks: context and share of the steps of each, see `Trainer.train`.
        tick: called now and then by the calling thread, with the steps of all and the loss of the first network that
            has one; may raise to stop.
    """
    shares = [share for _, share in training_tasks]
    total = round(sum(shares) * trainer.config.steps)
    known, stop = [(0, math.nan)] * len(training_tasks), Event()

    def first_loss() -> float:
        return next((loss for _, loss in known if not math.isnan(loss)), math.nan)

    def train(number: int) -> SuperResolution | None:
        def note(step: int, _: int, loss: float) -> None:
            known[number] = step, loss
            if stop.is_set():
                raise CancelledError
        with on_own_stream(trainer.slices.device):
            return trainer.train(training_tasks[number][0], note, shares[number])

    workers = max(len(training_tasks), 1) if trainer.slices.is_cuda else usable_threads()
    with serial_torch(), repeatable(trainer.slices.device), ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(train, number) for number in range(len(training_tasks))]
        try:
            while wait(running, TICK_SECONDS).not_done:
                tick(sum(step for step, _ in known), total, first_loss())
        except BaseException:
            stop.set()
            raise
    if training_tasks:
        tick(total, total, first_loss())  # what is noted last must not depend on when one looked
    return [each.result() for each in running]


def filled(network: ResidualNetwork, lines: Tensor, fractions: Tensor, conditions: Tensor) -> Tensor:
    """[n, T, pixel]: lines between `lines` [n, S, pixel], at fractions [n, T, 1] of the gap's width."""
    half = lines.shape[1] // 2
    straight = torch.lerp(lines[:, half - 1, None], lines[:, half, None], fractions)
    corrections: Tensor = network(lines[:, :, None], conditions)[:, :, 0]
    return corrections + straight
