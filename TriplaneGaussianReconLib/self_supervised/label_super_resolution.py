"""What a volume's own labels teach about labels between the trusted slices: a prior learnt along lines.

As `line_prior` does for the image: a small network learns, within the trusted slices, to restore the labels of in-plane
lines from lines as far apart as the slices are, and then does the same through-plane.  It sees one label at a time, as
a mask, with the image on the same lines and the predicted image in between.  All labels share it, told apart by one
offset each: the borders of many teach more than those of each, thin ones included, and segments may overlap.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..config.presets import NetworkConfig
from ..labels.segmentation import Boxed, LabelChannels
from ..runtime.image_operations import constants, transferred
from .label_patches import Borders, LabelPatchSampler
from .networks import BridgingNetwork, ResidualNetwork
from .optimizers import learn
from .patches import Lines
from .slice_context import SliceContext, turned
from .super_resolution import KERNEL, SuperResolution

# Slices thicker than this (pixels) are averages; labels within them say too little about labels across them.
THICKEST = 2.0
# Signed distance (pixels) where the slices on either side of a gap agree, before anything is learnt.
AGREED = 4.0
# Odds grow by this factor, as a natural logarithm, with every pixel of signed distance.
STEEPNESS = 1.5
# Intensities in [0, 1] are stretched and shifted to about [-1, 3], as far apart as masks of -1 and 1.
STRETCH, SHIFT = 4.0, -1.0
# Pixels that the network looks at in one call.
PIXELS_AT_A_TIME = 1 << 18


@dataclass(frozen=True, kw_only=True)
class LabelSuperResolution(BridgingNetwork):
    """A network that has learnt to find labels in gaps.

    views: as those of `SuperResolution`.  channels: how many there are, see `LabelChannels.count`.
    """

    channels: int

    def distances(self, slices: Tensor, numbers: Tensor, predicted: Tensor, stencil: SliceContext, outlines: Boxed
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
        with torch.no_grad():
            for view in range(self.views):
                backwards, mirrored = view % 2 == 1, view >= 2
                looked_at = [masks, images[:, :size], images[:, size:]]
                looked_at = [each.flip(1) for each in looked_at] if backwards else looked_at
                shares, steering = fractions, conditions
                if backwards:
                    shares, steering = 1.0 - fractions.flip(1), turned(conditions, size)
                for axis in (2, 3):
                    lines = [each.transpose(axis, 3) for each in looked_at]
                    lines = [each.flip(3) for each in lines] if mirrored else lines
                    found = _bridged(self.network, lines, shares[:, :, None, None],
                                     _steering(steering.expand(len(masks), -1), channels, self.channels))
                    found = (found.flip(3) if mirrored else found).transpose(axis, 3)
                    result += found.flip(1) if backwards else found
        return result / (2 * self.views)


@dataclass(frozen=True)
class LabelTrainer:
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
    effort: NetworkConfig
    seed: int

    def teach(self, context: SliceContext, prior: SuperResolution, tick: Callable[[int, int, float], None]
              ) -> LabelSuperResolution | None:
        """Learn to find labels in the gaps of `context`, whose image `prior` predicts.

        tick: called with step, steps and loss before every step, may raise to stop.
        Returns None where labels cannot teach that: slices are thick, there are no borders, or no gap is of a width
        that `prior` bridges.
        """
        context = context.only(np.array([prior.bridges(width) for width in context.widths], bool))
        borders = Borders.of(self.channels.numbered(self.layers))
        if self.thickness > THICKEST * min(self.pitches) or not len(context.planes) or not len(borders.places):
            return None
        generator = torch.Generator().manual_seed(self.seed)
        size, wanted, effort = context.planes.shape[1], context.fractions.shape[1], self.effort
        lines = Lines(self.slices, self.pitches, self.thickness, context)
        pieces = LabelPatchSampler(lines, borders, prior, effort, generator)
        network = ResidualNetwork(2 * size + wanted, wanted, effort.width, effort.blocks, (1, KERNEL), generator,
                                  size + wanted + self.channels.count)
        network = network.to(self.slices.device)

        def loss_at(step: Tensor) -> Tensor:
            masks, images, predicted, truth, fractions, conditions, channel = pieces.at(step)
            lines = [each[:, :, None] for each in (masks, _stretched(images), _stretched(predicted))]
            steering = _steering(conditions, channel, self.channels.count)
            found = _bridged(network, lines, fractions[..., None], steering)[:, :, 0]
            return functional.binary_cross_entropy_with_logits(STEEPNESS * found, truth)

        learn(network.others, loss_at, effort.steps, effort.rate,
              lambda step, loss: tick(step, effort.steps, loss), network.inner)
        return LabelSuperResolution(network, effort.views, size=size, widths=prior.widths, channels=self.channels.count)


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
