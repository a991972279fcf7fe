"""What a volume's own labels teach about labels between the trusted slices: a prior learnt along lines.

As `line_prior` does for the image: a small network learns, within the trusted slices, to restore the label of in-plane
lines from lines as far apart as the slices are, and then does the same through-plane.  It sees one label at a time, as a
mask, with the image on the same lines and the predicted image in between, and all labels share it: borders of many
labels teach more than those of each, thin ones included, and segments may overlap.
"""
from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .descent import learn
from .image_operations import constants, transferred
from .line_prior import KERNEL, MOST_SLICES, LearningEffort, LinePrior, Stencils, _Pieces
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
    """

    network: ResidualNetwork
    size: int
    views: int
    widths: tuple[float, float]

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
                masks = (labels[:, :, pixels] == channel).any(dim=0).movedim(1, 0)
                found = self._seen(masks, seen[:, pixels].movedim(1, 0), *weighing)
                places = transferred(starts[some], device)[:, None] + torch.arange(height * width, device=device)
                result[:, places] = found.flatten(2).movedim(0, 1)
        return result

    def _seen(self, masks: Tensor, images: Tensor, fractions: Tensor, conditions: Tensor) -> Tensor:
        """Mean over both in-plane axes and all views, [n, T, row, column]; masks: [n, S, row, column]; images: [n,
        S + T, row, column]."""
        result, size = images.new_zeros(len(masks), fractions.shape[1], *masks.shape[2:]), self.size
        turned = torch.cat([-conditions[:, :size].flip(1), -conditions[:, size:].flip(1)], dim=1)
        with torch.no_grad():
            for view in range(self.views):
                backwards, mirrored = view % 2 == 1, view >= 2
                looked_at = masks, images[:, :size], images[:, size:]
                looked_at = tuple(each.flip(1) for each in looked_at) if backwards else looked_at
                shares, steering = (1.0 - fractions.flip(1), turned) if backwards else (fractions, conditions)
                for axis in (2, 3):
                    lines = tuple(each.transpose(axis, 3) for each in looked_at)
                    lines = tuple(each.flip(3) for each in lines) if mirrored else lines
                    found = _bridged(self.network, *lines, shares[:, :, None, None], steering.expand(len(masks), -1))
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
        pieces = _LabelledPieces(self, stencils, prior, borders, generator)
        size, wanted, effort = stencils.planes.shape[1], stencils.fractions.shape[1], self.effort
        network = ResidualNetwork(2 * size + wanted, wanted, effort.width, effort.blocks, (1, KERNEL), generator,
                                  size + wanted).to(self.slices.device)

        def loss_at(step: Tensor) -> Tensor:
            masks, images, predicted, truth, fractions, conditions = pieces.at(step)
            lines = masks[:, :, None], _stretched(images[:, :, None]), _stretched(predicted[:, :, None])
            found = _bridged(network, *lines, fractions[..., None], conditions)[:, :, 0]
            return functional.binary_cross_entropy_with_logits(STEEPNESS * found, truth.float())

        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True):
            learn(list(network.parameters()), loss_at, effort.steps, effort.rate,
                  lambda step, loss: tick(step, effort.steps, loss))
        return LabelPrior(network, size, effort.views, prior.widths)


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


class _LabelledPieces:
    """Pieces of neighbouring lines across borders of labels, drawn at random before learning begins."""

    def __init__(self, teacher: LabelTeacher, stencils: Stencils, prior: LinePrior, borders: _Borders,
                 generator: torch.Generator) -> None:
        device, shape = teacher.slices.device, (teacher.effort.steps, teacher.effort.batch)
        self.prior, self.size = prior.network, prior.size
        numbers = torch.from_numpy(borders.numbers).to(device)
        one = replace(teacher.effort, steps=1, batch=1)
        self.images = _Pieces(teacher.slices, teacher.pitches, stencils, teacher.thickness, one, generator)
        self.numbers = _Pieces(numbers.flatten(0, 1).float(), teacher.pitches, stencils, 0.0, one, generator)
        self.numbers.whole = True
        places, random = borders.drawn(shape, generator).to(device), torch.rand(5, *shape, generator=generator)
        random = random.to(device)
        self.channels = numbers[places.unbind(-1)]
        layer, plane, *_ = places.unbind(-1)
        axis, gap, turns = (2 * random[0]).long(), (len(stencils.planes) * random[1]).long(), (4 * random[2]).long()
        across, along = places[..., 2:].gather(-1, torch.stack([axis, 1 - axis], dim=-1)).unbind(-1)
        width, counts = self.images.widths[axis, gap], self.images.counts
        most = (counts[axis] - 1 - width).clamp(min=0.0)
        first = (across - ((1.0 + 2.0 * BEYOND) * random[3] - BEYOND) * width).clamp(min=0.0).minimum(most)
        middle = (first.round() if self.images.whole else first) + 0.5 * width
        length = self.images.length
        start = (along - (length * random[4]).long()).clamp(min=0).minimum(counts[1 - axis] - length)
        self.images.table = [axis, gap, plane, middle, start, turns]
        self.numbers.table = [axis, gap, layer * borders.numbers.shape[1] + plane, middle, start, turns]

    def at(self, step: Tensor) -> tuple[Tensor, ...]:
        """Of a step (1,): masks and images of lines [piece, S, pixel], predicted images and true masks of those wanted
        [piece, T, pixel], fractions [piece, T, 1], conditions (piece, S + T)."""
        images, _, fractions, conditions = self.images.at(step)
        masks = torch.cat(self.numbers.at(step)[:2], dim=1) == self.channels[step][0][:, None, None]
        with torch.no_grad():
            first, second = images[:, self.size // 2 - 1, None], images[:, self.size // 2, None]
            predicted = self.prior(images[:, :, None], conditions)[:, :, 0] + torch.lerp(first, second, fractions)
        return masks[:, :self.size], images, predicted, masks[:, self.size:], fractions, conditions


def _stretched(images: Tensor) -> Tensor:
    return STRETCH * images + SHIFT


def _bridged(network: ResidualNetwork, masks: Tensor, images: Tensor, predicted: Tensor, fractions: Tensor,
             conditions: Tensor) -> Tensor:
    """Signed distance [n, T, row, column] along lines; masks, images (stretched): [n, S, row, column]; predicted
    (stretched): [n, T, row, column]; fractions: [n or 1, T, 1, 1]."""
    signs, half = 2.0 * masks - 1.0, masks.shape[1] // 2
    agreed = torch.lerp(signs[:, half - 1, None], signs[:, half, None], fractions)
    corrections: Tensor = network(torch.cat([signs, images, predicted], dim=1), conditions)
    return AGREED * agreed + corrections
