"""What a volume's own slices teach about the space between them: a prior learnt along lines.

Within a trusted slice the lines of pixels lie close; across slices they lie a gap apart.  A small network learns to
restore in-plane lines from others as far apart as the trusted slices are, and then does the same through-plane, along
the rows and along the columns; the mean of both is the prediction.  No data but the volume's own trusted slices is
used.  The idea is that of self-supervised super-resolution (Zhao et al., SMORE, IEEE TMI 2021,
doi:10.1109/TMI.2020.3037187; Remedios et al., ECLARE, 2025): here on several neighbouring lines at their true
distances, with the planes between them as output, so that uneven gaps and ratios that are not whole need no resampling.
"""
from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from threading import Event

import numpy as np
import torch
from torch import Tensor

from ..config.presets import NetworkConfig
from ..runtime.image_operations import constants, transferred
from ..runtime.threads import serial_torch
from .networks import BridgingNetwork, ResidualNetwork
from .optimizers import learn
from .patches import Lines, PatchSampler
from .slice_context import SliceContext, turned

# Pixels by which a convolution reaches along a line.
KERNEL = 5
# A gap narrower than this (pixels) hides nothing that lines in a slice could teach.
NARROWEST = 1.5
# Gaps of fewer pixels than this are bridged from six slices, wider ones from four.
FEW_PIXELS = 3.0
# At most so many slices teach, spread over the stack.
MOST_SLICES = 96
# Below this an error counts squared, above it by its size (Charbonnier).
SMALL_ERROR = 1e-3
# Small volumes have told all they know after a step for every so many pixels; more steps learn them by heart.
PIXELS_PER_STEP = 8
# How often those who wait for threads look after them.
TICK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class SuperResolution(BridgingNetwork):
    """A network that has learnt to bridge gaps.

    views: 1, or 2 to look in both orders of the slices, or 4 to mirror the lines as well.
    in_plane_error: mean squared error towards the end of its learning, in the units of the slices.
    """

    in_plane_error: float

    def predict(self, slices: Tensor, context: SliceContext) -> Tensor:
        """[gap, T, row, column]: the wanted planes of gaps, from `slices` [plane, row, column] on the network's device.
        """
        return self.directions(slices, context).mean(dim=0)

    def directions(self, slices: Tensor, context: SliceContext) -> Tensor:
        """[2, gap, T, row, column]: the same from lines along rows alone, and from lines along columns alone."""
        device, size = slices.device, self.size
        around = slices[transferred(context.planes, device)]
        fractions, steering = constants(context.fractions, device), constants(context.conditions(), device)
        result = slices.new_zeros(2, *context.fractions.shape, *slices.shape[1:])
        with torch.no_grad():
            for view in range(self.views):
                images, conditions = (around.flip(1), turned(steering, size)) if view % 2 else (around, steering)
                for axis in (0, 1):
                    lines = images.transpose(2, 3) if axis else images
                    found = self.network(lines.flip(3) if view >= 2 else lines, conditions)
                    found = found.flip(3) if view >= 2 else found
                    found = found.transpose(2, 3) if axis else found
                    result[axis] += found.flip(1) if view % 2 else found
        first, second = around[:, size // 2 - 1, None], around[:, size // 2, None]
        return torch.lerp(first, second, fractions[:, :, None, None]) + result / self.views


@dataclass(frozen=True)
class Trainer:
    """What there is to learn from.

    slices: [plane, row, column] on the device where the work is to be done; positions: (plane,) mm, ascending.
    pitches: mm between rows and between columns.  thickness: mm, of the slices.
    """

    slices: Tensor
    positions: np.ndarray
    pitches: tuple[float, float]
    thickness: float
    effort: NetworkConfig
    seed: int

    def context(self, gaps: np.ndarray, fractions: np.ndarray, step: int = 1) -> SliceContext:
        """Those of `gaps`, see `SliceContext.around`; few pixels are bridged from more slices."""
        widths = self.positions[step:] - self.positions[:-step]
        size = 6 if len(widths) and np.median(widths) < FEW_PIXELS * min(self.pitches) else 4
        return SliceContext.around(gaps, self.positions, fractions, size, step)

    @property
    def trainable(self) -> tuple[float, float]:
        """Least and largest width (mm) of gaps that lines within the slices can teach to bridge."""
        extent = min((n - 1) * pitch for n, pitch in zip(self.slices.shape[1:], self.pitches, strict=True))
        return NARROWEST * max(self.pitches), extent

    def only_trainable(self, context: SliceContext) -> SliceContext:
        """Those of the gaps whose width is `trainable`."""
        low, high = self.trainable
        return context.only((context.widths >= low) & (context.widths <= high))

    def teach(self, context: SliceContext, tick: Callable[[int, int, float], None], share: float = 1.0
              ) -> SuperResolution | None:
        """Learn to bridge the gaps of `context`.

        tick: called with step, steps and loss before every step, may raise to stop.  share: of the effort's steps.
        Returns None where no line can teach that.
        """
        context = self.only_trainable(context)
        alive = torch.nonzero(self.slices.flatten(1).std(dim=1) > 1e-3)[:, 0]
        if not len(context.planes) or not len(alive):
            return None
        chosen = np.unique(np.linspace(0, len(alive) - 1, MOST_SLICES).round().astype(int))
        most = len(chosen) * self.slices[0].numel() // PIXELS_PER_STEP
        effort = replace(self.effort, steps=max(min(round(share * self.effort.steps), most), 1))
        generator = torch.Generator().manual_seed(self.seed)
        lines = Lines(self.slices[alive[transferred(chosen, self.slices.device)]], self.pitches, self.thickness,
                      context)
        pieces = PatchSampler(lines, effort, generator)
        size, wanted = context.planes.shape[1], context.fractions.shape[1]
        network = ResidualNetwork(size, wanted, effort.width, effort.blocks, (1, KERNEL), generator, size + wanted)
        network = network.to(self.slices.device)
        errors = torch.zeros(effort.steps, device=self.slices.device)

        def loss_at(step: Tensor) -> Tensor:
            around, truth, fractions, conditions = pieces.at(step)
            wrong = bridged(network, around, fractions, conditions) - truth
            errors.scatter_(0, step, (wrong.detach() ** 2).mean()[None])
            return torch.sqrt(wrong ** 2 + SMALL_ERROR ** 2).mean()

        learn(network.others, loss_at, effort.steps, effort.rate,
              lambda step, loss: tick(step, effort.steps, loss), network.inner)
        error = float(errors[-max(effort.steps // 10, 1):].mean())
        return SuperResolution(network, effort.views, size=size, widths=self.trainable, in_plane_error=error)


def train_all(trainer: Trainer, training_tasks: Sequence[tuple[SliceContext, float]],
              tick: Callable[[int, int, float], None]) -> list[SuperResolution | None]:
    """Teach several lessons, each stencils and their share of the effort; see `Trainer.teach`.

    On the CPU each has a thread of its own and torch one thread in it: as fast as one after another with several, and
    the bits do not depend on how many there are.  tick: called now and then by the calling thread, with the steps of
    all and the loss of the first that has one, may raise to stop.
    """
    shares = [share for _, share in training_tasks]
    total = round(sum(shares) * trainer.effort.steps)
    if trainer.slices.is_cuda:
        before = np.cumsum([0.0, *shares]) * trainer.effort.steps
        return [trainer.teach(context, lambda step, _, loss, done=done: tick(  # type: ignore[misc]
            round(done) + step, total, loss), share)
            for (context, share), done in zip(training_tasks, before, strict=False)]
    known, stop = [(0, math.nan)] * len(training_tasks), Event()

    def first_loss() -> float:
        return next((loss for _, loss in known if not math.isnan(loss)), math.nan)

    def teach(number: int) -> SuperResolution | None:
        def note(step: int, _: int, loss: float) -> None:
            known[number] = step, loss
            if stop.is_set():
                raise CancelledError
        return trainer.teach(training_tasks[number][0], note, shares[number])

    with serial_torch(), ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(teach, number) for number in range(len(training_tasks))]
        try:
            while wait(running, TICK_SECONDS).not_done:
                tick(sum(step for step, _ in known), total, first_loss())
        except BaseException:
            stop.set()
            raise
    if training_tasks:
        tick(total, total, first_loss())  # what is noted last must not depend on when one looked
    return [each.result() for each in running]


def bridged(network: ResidualNetwork, lines: Tensor, fractions: Tensor, conditions: Tensor) -> Tensor:
    """[n, T, pixel]: lines between `lines` [n, S, pixel], at fractions [n, T, 1] of the gap's width."""
    half = lines.shape[1] // 2
    straight = torch.lerp(lines[:, half - 1, None], lines[:, half, None], fractions)
    corrections: Tensor = network(lines[:, :, None], conditions)[:, :, 0]
    return corrections + straight
