"""Patches of neighbouring lines across borders of labels, on which a network is trained to find labels in gaps."""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config.self_supervised import LabelSuperResolutionConfig
from .patches import Lines
from .super_resolution import SuperResolution, filled


@dataclass(frozen=True)
class Borders:
    """Pixels that have another label beside them, those of one channel after those of another.

    Attributes:
        numbers: [layer, plane, row, column] as of `LabelChannels.numbered`.
        places: (pixel, 4) layer, plane, row, column.
        counts: (channel,) how many pixels; channels without any are left out.
    """

    numbers: np.ndarray
    places: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray, most_slices: int) -> Borders:
        """All borders in at most `most_slices` slices."""
        border = np.zeros(numbers.shape, bool)
        for axis in (-2, -1):
            first, second = (np.moveaxis(border, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
            differ = np.moveaxis(np.diff(numbers, axis=axis) != 0, axis, 0)
            first |= differ
            second |= differ
        planes = np.flatnonzero(border.any(axis=(0, 2, 3)))
        if len(planes) > most_slices:
            planes = planes[np.linspace(0, len(planes) - 1, most_slices).round().astype(int)]
        places = np.argwhere(border[:, planes])
        places[:, 1] = planes[places[:, 1]]
        channel = numbers[tuple(places.T)]
        return cls(numbers, places[np.argsort(channel, kind="stable")], np.unique(channel, return_counts=True)[1])

    def draw(self, shape: tuple[int, ...], frequency: float, generator: torch.Generator) -> Tensor:
        """[*shape, 4] random places; channels are drawn in proportion to a power `frequency` of their counts."""
        counts = torch.from_numpy(self.counts)
        which = torch.multinomial(counts.double() ** frequency, int(np.prod(shape)), True, generator=generator)
        within = torch.rand(len(which), generator=generator, dtype=torch.float64) * counts[which]
        return torch.from_numpy(self.places)[(counts.cumsum(0) - counts)[which] + within.long()].reshape(*shape, 4)


class LabelPatches(NamedTuple):
    """Where the patches of every step lie, [step, patch] each.

    Attributes:
        gap, channel: which ones.
        places: [.., S + T] of the lines, pixels.
        image, labels: number of the first pixel of either.
        along, across: steps in pixels along a line, and from line to line.
    """

    gap: Tensor
    channel: Tensor
    places: Tensor
    image: Tensor
    labels: Tensor
    along: Tensor
    across: Tensor


class LabelPatchSampler:
    """Patches of neighbouring lines across borders of labels, drawn at random before training begins: the same on every
    device.
    """

    def __init__(self, lines: Lines, borders: Borders, super_resolution: SuperResolution,
                 config: LabelSuperResolutionConfig, generator: torch.Generator) -> None:
        """Draw all patches of a training.

        Args:
            lines: from which they are taken.
            borders: on which they lie.
            super_resolution: predicts the image on the lines wanted.
            config: number of steps, patches per step, how often each label is drawn.
            generator: of random numbers, on the CPU.
        """
        self.lines, self.super_resolution = lines, super_resolution.network
        self.numbers = torch.from_numpy(borders.numbers).to(lines.device).flatten()
        self.patches = self._draw(borders, config, generator)

    def _draw(self, borders: Borders, config: LabelSuperResolutionConfig, generator: torch.Generator) -> LabelPatches:
        """Where the patches of every step lie, and in which directions they are read."""
        lines, length, shape = self.lines, len(self.lines.pixel), (config.steps, config.batch)
        places = borders.draw(shape, config.frequency, generator).to(lines.device)
        layer, plane, row, column = places.unbind(dim=-1)
        random = torch.rand(5, *shape, generator=generator).to(lines.device)
        axis, gap, turns = ((count * share).long()
                            for count, share in zip((2, len(lines.fractions), 4), random, strict=False))
        backwards, mirrored = turns % 2 == 1, turns >= 2
        on, beside = torch.where(axis == 0, torch.stack([row, column]), torch.stack([column, row]))
        width, most = lines.widths[axis, gap], lines.counts[axis] - 1
        # The first of the two lines on either side of the gap, rounded: labels are not defined between pixels.
        first = on - ((1.0 + 2.0 * config.beyond) * random[3] - config.beyond) * width
        first = first.clamp(min=0.0).minimum((most - width).clamp(min=0.0)).round()
        at = lines.places(axis, gap, first + 0.5 * width, backwards)
        at = at.clamp(min=0.0).minimum(most[..., None].float())
        across, along = lines.steps[axis].unbind(dim=-1)
        start = (beside - (length * random[4]).long()).clamp(min=0).minimum(lines.counts[1 - axis] - length)
        start = along * (start + torch.where(mirrored, length - 1, 0))
        planes, rows, columns = lines.shape
        image, labels = ((stack * planes + plane) * rows * columns + start for stack in (axis, layer))
        channel = self.numbers[((layer * planes + plane) * rows + row) * columns + column]
        return LabelPatches(gap, channel, at, image, labels, torch.where(mirrored, -along, along), across)

    def at(self, step: Tensor, part: slice) -> tuple[Tensor, ...]:
        """Some patches of one step.

        Args:
            step: (1,) its number.
            part: which of its patches.

        Returns:
            Masks and images of lines [patch, S, pixel], predicted images and true masks of those wanted [patch, T,
            pixel], fractions [patch, T, 1], conditions (patch, S + T) and channels (patch,).
        """
        gap, channel, places, image, labels, along, across = (column[step][0, part] for column in self.patches)
        lines, size = self.lines, self.lines.size
        inside = along[:, None, None] * lines.pixel
        lower, upper, nearest = ((across[:, None] * each.long())[:, :, None] + inside
                                 for each in (places.floor(), places.ceil(), (places + 0.5).floor()))
        masks = (self.numbers[labels[:, None, None] + nearest] == channel[:, None, None]).float()
        before, after = (lines.pixels[image[:, None, None] + each[:, :size]] for each in (lower, upper))
        images = torch.lerp(before, after, places.frac()[:, :size, None])
        fractions, conditions = lines.fractions[gap][:, :, None], lines.conditions[gap]
        with torch.no_grad():
            predicted = filled(self.super_resolution, images, fractions, conditions)
        return masks[:, :size], images, predicted, masks[:, size:], fractions, conditions, channel
