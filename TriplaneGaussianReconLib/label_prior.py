"""What a volume's own labels teach about labels between the trusted slices: a prior learnt along lines.

As `line_prior` does for the image: a small network learns, within the trusted slices, to restore the labels of in-plane
lines from lines as far apart as the slices are, and then does the same through-plane.  It sees one label at a time, as
a mask, with the image on the same lines and the predicted image in between.  All labels share it, told apart by one
offset each: the borders of many teach more than those of each, thin ones included, and segments may overlap.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .descent import learn
from .image_operations import constants, transferred
from .line_prior import KERNEL, MOST_SLICES, PIECE, LearningEffort, LinePrior, Stencils, _averaged
from .networks import ResidualNetwork
from .segmentation import Boxed, LabelChannels

# Slices thicker than this (pixels) are averages; labels within them say too little about labels across them.
THICKEST = 2.0
# Signed distance (pixels) where the slices on either side of a gap agree, before anything is learnt.
AGREED = 4.0
# Odds grow by this factor, as a natural logarithm, with every pixel of signed distance.
STEEPNESS = 1.5
# Labels are learnt from as often as this power of the number of their border pixels says: large ones need not be seen
# as often, and all count the same in the end.
FREQUENCY = 0.5
# Borders that teach lie between the two lines on either side of the gap, or so many gap widths beyond.
BEYOND = 0.1
# Intensities in [0, 1] are stretched and shifted to about [-1, 3], as far apart as masks of -1 and 1.
STRETCH, SHIFT = 4.0, -1.0
# Pixels that the network looks at in one call.
PIXELS_AT_A_TIME = 1 << 18


@dataclass(frozen=True)
class LabelPrior:
    """A network that has learnt to find labels in gaps.

    size: how many slices it looks at.  views: how often it looks, see `LearningEffort`.
    widths: least and largest width (mm) of the gaps that it can bridge.
    channels: how many there are, see `LabelChannels.count`.
    """

    network: ResidualNetwork
    size: int
    views: int
    widths: tuple[float, float]
    channels: int

    def bridges(self, width: float) -> bool:
        """Whether it can bridge a gap of `width` mm."""
        return self.widths[0] <= width <= self.widths[1]

    def on(self, device: torch.device) -> LabelPrior:
        """The same on another device."""
        return replace(self, network=copy.deepcopy(self.network).to(device))

    def distances(self, slices: Tensor, numbers: Tensor, predicted: Tensor, stencil: Stencils, outlines: Boxed
                  ) -> Tensor:
        """[T, pixel] signed distances (pixels) on the wanted planes of a gap, at the pixels of the boxes of `outlines`.

        slices: [plane, row, column] on the network's device.  numbers: [layer, plane, row, column] there, see
        `numbered`.  predicted: [T, row, column], the image on the wanted planes.  stencil: of this gap alone.
        """
        device, columns = slices.device, slices.shape[-1]
        planes = transferred(stencil.planes[0], device)
        seen = _stretched(torch.cat([slices[planes], predicted])).flatten(1)
        labels = numbers[:, planes].flatten(2)
        weighing = constants(stencil.fractions, device), constants(stencil.conditions(), device)
        result = slices.new_empty(len(predicted), int(outlines.sizes.sum()))
        starts, heights = np.cumsum(outlines.sizes) - outlines.sizes, outlines.sizes // outlines.boxes[:, -1]
        shapes = np.column_stack([heights, outlines.boxes[:, -1]])
        for height, width in np.unique(shapes, axis=0).tolist():
            alike = np.flatnonzero((shapes == (height, width)).all(axis=1))
            for some in np.array_split(alike, -(-len(alike) * height * width // PIXELS_AT_A_TIME)):
                channel, top, left, _ = transferred(outlines.boxes[some], device).T[:, :, None, None]
                row, column = torch.meshgrid(*(torch.arange(n, device=device) for n in (height, width)), indexing="ij")
                pixels = (top + row) * columns + left + column
                masks = (labels[:, :, pixels] == channel).any(dim=0).movedim(1, 0).float()
                found = self._seen(masks, seen[:, pixels].movedim(1, 0), channel[:, 0, 0], *weighing)
                places = transferred(starts[some], device)[:, None] + torch.arange(height * width, device=device)
                result[:, places] = found.flatten(2).movedim(0, 1)
        return result

    def _seen(self, masks: Tensor, images: Tensor, channels: Tensor, fractions: Tensor, conditions: Tensor) -> Tensor:
        """Mean over both in-plane axes and all views, [n, T, row, column]; masks: [n, S, row, column]; images: [n,
        S + T, row, column]; channels: (n,)."""
        result, size = images.new_zeros(len(masks), fractions.shape[1], *masks.shape[2:]), self.size
        turned = torch.cat([-conditions[:, :size].flip(1), -conditions[:, size:].flip(1)], dim=1)
        with torch.no_grad():
            for view in range(self.views):
                backwards, mirrored = view % 2 == 1, view >= 2
                looked_at = [masks, images[:, :size], images[:, size:]]
                looked_at = [each.flip(1) for each in looked_at] if backwards else looked_at
                shares, steering = (1.0 - fractions.flip(1), turned) if backwards else (fractions, conditions)
                for axis in (2, 3):
                    lines = [each.transpose(axis, 3) for each in looked_at]
                    lines = [each.flip(3) for each in lines] if mirrored else lines
                    found = _bridged(self.network, lines, shares[:, :, None, None],
                                     _steering(steering.expand(len(masks), -1), channels, self.channels))
                    found = (found.flip(3) if mirrored else found).transpose(axis, 3)
                    result += found.flip(1) if backwards else found
        return result / (2 * self.views)


@dataclass(frozen=True)
class LabelTeacher:
    """What there is to learn from.

    slices: [plane, row, column] on the device where the work is to be done.  layers: [layer, plane, row, column] label
    values on them; channels: what they mean.  pitches: mm between rows and between columns.  thickness: mm, of the
    slices.
    """

    slices: Tensor
    layers: np.ndarray
    channels: LabelChannels
    pitches: tuple[float, float]
    thickness: float
    effort: LearningEffort
    seed: int

    def teach(self, stencils: Stencils, prior: LinePrior, tick: Callable[[int, int, float], None]) -> LabelPrior | None:
        """Learn to find labels in the gaps of `stencils`, whose image `prior` predicts.

        tick: called with step, steps and loss before every step, may raise to stop.
        Returns None where labels cannot teach that: slices are thick, there are no borders, or no gap is of a width
        that `prior` bridges.
        """
        stencils = stencils.only(np.array([prior.bridges(width) for width in stencils.widths], bool))
        borders = _Borders.of(self.channels.numbered(self.layers))
        if self.thickness > THICKEST * min(self.pitches) or not len(stencils.planes) or not len(borders.places):
            return None
        generator = torch.Generator().manual_seed(self.seed)
        pieces = _Pieces(self, stencils, prior, borders, generator)
        size, wanted, effort = stencils.planes.shape[1], stencils.fractions.shape[1], self.effort
        network = ResidualNetwork(2 * size + wanted, wanted, effort.width, effort.blocks, (1, KERNEL), generator,
                                  size + wanted + self.channels.count)
        network = network.to(self.slices.device)

        def loss_at(step: Tensor) -> Tensor:
            masks, images, predicted, truth, fractions, conditions, channel = pieces.at(step)
            lines = [each[:, :, None] for each in (masks, _stretched(images), _stretched(predicted))]
            steering = _steering(conditions, channel, self.channels.count)
            found = _bridged(network, lines, fractions[..., None], steering)[:, :, 0]
            return functional.binary_cross_entropy_with_logits(STEEPNESS * found, truth)

        learn(list(network.parameters()), loss_at, effort.steps, effort.rate,
              lambda step, loss: tick(step, effort.steps, loss))
        return LabelPrior(network, size, effort.views, prior.widths, self.channels.count)


@dataclass(frozen=True)
class _Borders:
    """Pixels that have another label beside them, those of one channel after those of another.

    numbers: [layer, plane, row, column] as of `LabelChannels.numbered`.  places: (pixel, 4) layer, plane, row, column.
    counts: (channel,) how many pixels; channels without any are left out.
    """

    numbers: np.ndarray
    places: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray) -> _Borders:
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


class _Drawn(NamedTuple):
    """What is read in every step, [step, piece] each: which gap and channel; places (S + T) of the lines, pixels; first
    pixel of the image and of the labels; pixels along and across lines."""

    gap: Tensor
    channel: Tensor
    places: Tensor
    image: Tensor
    labels: Tensor
    along: Tensor
    across: Tensor


class _Pieces:
    """Pieces of neighbouring lines across borders of labels, drawn at random before learning begins: the same on every
    device."""

    def __init__(self, teacher: LabelTeacher, stencils: Stencils, prior: LinePrior, borders: _Borders,
                 generator: torch.Generator) -> None:
        device, (_, rows, columns) = teacher.slices.device, teacher.slices.shape
        self.prior, self.size = prior.network, prior.size
        self.images = torch.stack([_averaged(teacher.slices, teacher.thickness / pitch, axis)
                                   for axis, pitch in enumerate(teacher.pitches, start=1)]).flatten()
        self.numbers = torch.from_numpy(borders.numbers).to(device).flatten()
        pitches, half = np.array(teacher.pitches)[:, None, None], prior.size // 2
        wanted = stencils.knots[:, half - 1:half] + stencils.widths[:, None] * stencils.fractions
        self.offsets = constants(np.concatenate([stencils.knots, wanted], axis=1) / pitches, device)
        self.counts = transferred(np.array([rows, columns]), device)
        self.steps = transferred(np.array([[columns, 1], [1, columns]]), device)
        self.fractions, self.conditions = (constants(each, device)
                                           for each in (stencils.fractions, stencils.conditions()))
        self.pixel = torch.arange(min(PIECE, rows, columns), device=device)
        self.drawn = self._drawn(borders, (teacher.effort.steps, teacher.effort.batch), generator)

    def _drawn(self, borders: _Borders, shape: tuple[int, int], generator: torch.Generator) -> _Drawn:
        """Draw where the pieces of every step lie, and in which directions they are read."""
        device, half, length = self.images.device, self.size // 2, len(self.pixel)
        places = borders.drawn(shape, generator).to(device)
        layer, plane, row, column = places.unbind(dim=-1)
        random = torch.rand(5, *shape, generator=generator).to(device)
        axis, gap, turns = ((count * share).long()
                            for count, share in zip((2, len(self.fractions), 4), random, strict=False))
        backwards, mirrored = turns % 2 == 1, turns >= 2
        on, along = torch.where(axis == 0, torch.stack([row, column]), torch.stack([column, row]))
        offsets, most = self.offsets[axis, gap], self.counts[axis] - 1
        width = offsets[..., half] - offsets[..., half - 1]
        # The first of the two lines on either side of the gap, rounded: labels are not defined between pixels.
        first = on - ((1.0 + 2.0 * BEYOND) * random[3] - BEYOND) * width
        first = first.clamp(min=0.0).minimum((most - width).clamp(min=0.0)).round()
        lines = first[..., None] + 0.5 * width[..., None] + torch.where(backwards, -1.0, 1.0)[..., None] * offsets
        across, step = self.steps[axis].unbind(dim=-1)
        start = (along - (length * random[4]).long()).clamp(min=0).minimum(self.counts[1 - axis] - length)
        start = step * (start + torch.where(mirrored, length - 1, 0))
        rows, columns = self.counts.tolist()
        planes = borders.numbers.shape[1]
        image, labels = ((at * planes + plane) * rows * columns + start for at in (axis, layer))
        channel = self.numbers[((layer * planes + plane) * rows + row) * columns + column]
        return _Drawn(gap, channel, _ended(lines, half, most[..., None]), image, labels,
                      torch.where(mirrored, -step, step), across)

    def at(self, step: Tensor) -> tuple[Tensor, ...]:
        """Of a step (1,): masks and images of lines [piece, S, pixel], predicted images and true masks of those wanted
        [piece, T, pixel], fractions [piece, T, 1], conditions (piece, S + T) and channels (piece,)."""
        gap, channel, places, image, labels, along, across = (column[step][0] for column in self.drawn)
        inside = along[:, None, None] * self.pixel
        lower, upper, nearest = ((across[:, None] * each.long())[:, :, None] + inside
                                 for each in (places.floor(), places.ceil(), (places + 0.5).floor()))
        masks = (self.numbers[labels[:, None, None] + nearest] == channel[:, None, None]).float()
        before, after = (self.images[image[:, None, None] + each[:, :self.size]] for each in (lower, upper))
        images = torch.lerp(before, after, places.frac()[:, :self.size, None])
        fractions, conditions = self.fractions[gap][:, :, None], self.conditions[gap]
        with torch.no_grad():
            first, second = images[:, self.size // 2 - 1, None], images[:, self.size // 2, None]
            predicted = self.prior(images[:, :, None], conditions)[:, :, 0] + torch.lerp(first, second, fractions)
        return masks[:, :self.size], images, predicted, masks[:, self.size:], fractions, conditions, channel


def _ended(places: Tensor, half: int, most: Tensor) -> Tensor:
    """Places [..., S + T] of lines within 0 to `most`: where the image ends the last line stands again, as slices do.
    """
    lines = list(places.unbind(dim=-1))
    for inner in range(1, half):
        for outer, last in ((half - 1 - inner, half - inner), (half + inner, half + inner - 1)):
            out = (lines[outer] < -0.01) | (lines[outer] > most[..., 0] + 0.01)
            lines[outer] = torch.where(out, lines[last], lines[outer])
    return torch.stack(lines, dim=-1).clamp(min=0.0).minimum(most.float())


def _steering(conditions: Tensor, channels: Tensor, count: int) -> Tensor:
    """(n, S + T + count) what steers the network: conditions (n, S + T), and which of `count` channels (n,) it is."""
    which = (channels[:, None] == torch.arange(count, device=channels.device)).to(conditions.dtype)
    return torch.cat([conditions, which], dim=1)


def _stretched(images: Tensor) -> Tensor:
    return STRETCH * images + SHIFT


def _bridged(network: ResidualNetwork, lines: Sequence[Tensor], fractions: Tensor, conditions: Tensor) -> Tensor:
    """Signed distance [n, T, row, column] along `lines`: masks and images [n, S, row, column], predicted images [n, T,
    row, column], images stretched; fractions: [n or 1, T, 1, 1]."""
    signs, half = 2.0 * lines[0] - 1.0, lines[0].shape[1] // 2
    agreed = torch.lerp(signs[:, half - 1, None], signs[:, half, None], fractions)
    corrections: Tensor = network(torch.cat([signs, *lines[1:]], dim=1), conditions)
    return AGREED * agreed + corrections
