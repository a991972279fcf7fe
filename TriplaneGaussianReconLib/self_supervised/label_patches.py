"""Pieces of neighbouring lines across borders of labels, drawn at random: what a network learns from to find labels."""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config.presets import NetworkConfig
from .patches import Lines
from .super_resolution import MOST_SLICES, SuperResolution, bridged

# Labels are learnt from as often as this power of the number of their border pixels says: large ones need not be seen
# as often, and all count the same in the end.
FREQUENCY = 0.5
# Borders that teach lie between the two lines on either side of the gap, or so many gap widths beyond.
BEYOND = 0.1


@dataclass(frozen=True)
class Borders:
    """Pixels that have another label beside them, those of one channel after those of another.

    numbers: [layer, plane, row, column] as of `LabelChannels.numbered`.  places: (pixel, 4) layer, plane, row, column.
    counts: (channel,) how many pixels; channels without any are left out.
    """

    numbers: np.ndarray
    places: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray) -> Borders:
        """All borders in at most MOST_SLICES slices."""
        border = np.zeros(numbers.shape, bool)
        for axis in (-2, -1):
            first, second = (np.moveaxis(border, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
            differ = np.moveaxis(np.diff(numbers, axis=axis) != 0, axis, 0)
            first |= differ
            second |= differ
        planes = np.flatnonzero(border.any(axis=(0, 2, 3)))
        if len(planes) > MOST_SLICES:
            planes = planes[np.linspace(0, len(planes) - 1, MOST_SLICES).round().astype(int)]
        places = np.argwhere(border[:, planes])
        places[:, 1] = planes[places[:, 1]]
        channel = numbers[tuple(places.T)]
        return cls(numbers, places[np.argsort(channel, kind="stable")], np.unique(channel, return_counts=True)[1])

    def drawn(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """[*shape, 4] places, of all channels by FREQUENCY."""
        counts = torch.from_numpy(self.counts)
        which = torch.multinomial(counts.double() ** FREQUENCY, int(np.prod(shape)), True, generator=generator)
        within = torch.rand(len(which), generator=generator, dtype=torch.float64) * counts[which]
        return torch.from_numpy(self.places)[(counts.cumsum(0) - counts)[which] + within.long()].reshape(*shape, 4)


class Drawn(NamedTuple):
    """What is read in every step, [step, piece] each: which gap and channel; places (S + T) of the lines, pixels; first
    pixel of the image and of the labels; pixels along and across lines."""

    gap: Tensor
    channel: Tensor
    places: Tensor
    image: Tensor
    labels: Tensor
    along: Tensor
    across: Tensor


class LabelPatchSampler:
    """Pieces of neighbouring lines across borders of labels, drawn at random before learning begins: the same on every
    device.  `prior` predicts the image on the lines wanted."""

    def __init__(self, lines: Lines, borders: Borders, prior: SuperResolution, effort: NetworkConfig,
                 generator: torch.Generator) -> None:
        self.lines, self.prior = lines, prior.network
        self.numbers = torch.from_numpy(borders.numbers).to(lines.device).flatten()
        self.drawn = self._drawn(borders, (effort.steps, effort.batch), generator)

    def _drawn(self, borders: Borders, shape: tuple[int, int], generator: torch.Generator) -> Drawn:
        """Draw where the pieces of every step lie, and in which directions they are read."""
        lines, length = self.lines, len(self.lines.pixel)
        places = borders.drawn(shape, generator).to(lines.device)
        layer, plane, row, column = places.unbind(dim=-1)
        random = torch.rand(5, *shape, generator=generator).to(lines.device)
        axis, gap, turns = ((count * share).long()
                            for count, share in zip((2, len(lines.fractions), 4), random, strict=False))
        backwards, mirrored = turns % 2 == 1, turns >= 2
        on, beside = torch.where(axis == 0, torch.stack([row, column]), torch.stack([column, row]))
        width, most = lines.widths[axis, gap], lines.counts[axis] - 1
        # The first of the two lines on either side of the gap, rounded: labels are not defined between pixels.
        first = on - ((1.0 + 2.0 * BEYOND) * random[3] - BEYOND) * width
        first = first.clamp(min=0.0).minimum((most - width).clamp(min=0.0)).round()
        at = lines.places(axis, gap, first + 0.5 * width, backwards)
        at = at.clamp(min=0.0).minimum(most[..., None].float())
        across, along = lines.steps[axis].unbind(dim=-1)
        start = (beside - (length * random[4]).long()).clamp(min=0).minimum(lines.counts[1 - axis] - length)
        start = along * (start + torch.where(mirrored, length - 1, 0))
        planes, rows, columns = lines.shape
        image, labels = ((stack * planes + plane) * rows * columns + start for stack in (axis, layer))
        channel = self.numbers[((layer * planes + plane) * rows + row) * columns + column]
        return Drawn(gap, channel, at, image, labels, torch.where(mirrored, -along, along), across)

    def at(self, step: Tensor) -> tuple[Tensor, ...]:
        """Of a step (1,): masks and images of lines [piece, S, pixel], predicted images and true masks of those wanted
        [piece, T, pixel], fractions [piece, T, 1], conditions (piece, S + T) and channels (piece,)."""
        gap, channel, places, image, labels, along, across = (column[step][0] for column in self.drawn)
        lines, size = self.lines, self.lines.size
        inside = along[:, None, None] * lines.pixel
        lower, upper, nearest = ((across[:, None] * each.long())[:, :, None] + inside
                                 for each in (places.floor(), places.ceil(), (places + 0.5).floor()))
        masks = (self.numbers[labels[:, None, None] + nearest] == channel[:, None, None]).float()
        before, after = (lines.pixels[image[:, None, None] + each[:, :size]] for each in (lower, upper))
        images = torch.lerp(before, after, places.frac()[:, :size, None])
        fractions, conditions = lines.fractions[gap][:, :, None], lines.conditions[gap]
        with torch.no_grad():
            predicted = bridged(self.prior, images, fractions, conditions)
        return masks[:, :size], images, predicted, masks[:, size:], fractions, conditions, channel
