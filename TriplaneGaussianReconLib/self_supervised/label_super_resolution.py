"""Self-supervised super-resolution of labels, trained on labels along lines within the slices.

As `super_resolution` does for the image: a small network is trained to restore the labels of in-plane lines from lines
as far apart as the slices are, and is then applied through-plane.  It sees one label at a time, as a mask, with the
image on the same lines and the predicted image in between.  All labels share it, told apart by one offset each: many
borders train it better than the few of one label, thin labels included, and segments may overlap.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..config.self_supervised import LabelSuperResolutionConfig
from ..data.trainable import trains_labels
from ..labels.channels import LabelChannels
from ..labels.signed_distance import Boxed
from ..runtime.image_operations import constants, transferred
from . import start
from .augmentation import of_lines
from .label_patches import Borders, LabelPatchSampler
from .minimise import made_ahead, minimise
from .networks import BridgingNetwork, ResidualNetwork
from .patches import Lines
from .slice_context import SliceContext, reversed_conditions
from .super_resolution import SuperResolution, Tick

# Pixels that the network is applied to in one call.
PIXELS_AT_A_TIME = 1 << 18


@dataclass(frozen=True, kw_only=True)
class LabelSuperResolution(BridgingNetwork):
    """A network trained to find labels in gaps; for its augmentations see `augmentation.of_lines`.

    Attributes:
        channels: number of channels, see `LabelChannels.count`.
    """

    config: LabelSuperResolutionConfig
    channels: int

    def distances(self, slices: Tensor, numbers: Tensor, predicted: Tensor, context: SliceContext, outlines: Boxed
                  ) -> Tensor:
        """Signed distances to labels on the wanted planes of a gap.

        Args:
            slices: [plane, row, column] on the network's device.
            numbers: [layer, plane, row, column] there, see `LabelChannels.numbered`.
            predicted: [T, row, column], the image on the wanted planes.
            context: of this gap alone.
            outlines: in whose boxes distances are wanted.

        Returns:
            [T, pixel] pixels, positive inside; all boxes one after another.
        """
        device, columns = slices.device, slices.shape[-1]
        planes = transferred(context.planes[0], device)
        images = _stretched(torch.cat([slices[planes], predicted]), self.config).flatten(1)
        labels = numbers[:, planes].flatten(2)
        steering = constants(context.fractions, device), constants(context.conditions(), device)
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
                found = self._mean(masks, images[:, pixels].movedim(1, 0), channel[:, 0, 0], *steering)
                places = transferred(starts[some], device)[:, None] + torch.arange(height * width, device=device)
                result[:, places] = found.flatten(2).movedim(0, 1)
        return result

    def _mean(self, masks: Tensor, images: Tensor, channels: Tensor, fractions: Tensor, conditions: Tensor) -> Tensor:
        """Mean over both in-plane axes and all augmentations, [n, T, row, column]; masks: [n, S, row, column]; images:
        [n, S + T, row, column]; channels: (n,).
        """
        result, size = images.new_zeros(len(masks), fractions.shape[1], *masks.shape[2:]), self.size
        by_axis = [of_lines(self.config.augmentations, along_rows) for along_rows in (False, True)]
        with torch.no_grad():
            for augmentation in (each for pair in zip(*by_axis, strict=True) for each in pair):
                lines = [augmentation.applied(each) for each in (masks, images[:, :size], images[:, size:])]
                shares, steering = fractions, conditions
                if augmentation.is_reversed:
                    shares, steering = 1.0 - fractions.flip(1), reversed_conditions(conditions, size)
                steering = _with_channels(steering.expand(len(masks), -1), channels, self.channels)
                result += augmentation.undone(_found(self.network, lines, shares[:, :, None, None], steering,
                                                     self.config.agreed))
        return result / (2 * self.config.augmentations)


@dataclass(frozen=True)
class LabelTrainer:
    """What a network for labels is trained on, and how.

    Attributes:
        slices: [plane, row, column] on the device where the work is to be done.
        layers: [layer, plane, row, column] label values on them.
        channels: which value is which label.
        pitches: mm between rows and between columns.
        thickness: mm, of the slices.
        config: of the network and its training.
        seed: the same one gives the same network, on the CPU to the last bit.
    """

    slices: Tensor
    layers: np.ndarray
    channels: LabelChannels
    pitches: tuple[float, float]
    thickness: float
    config: LabelSuperResolutionConfig
    seed: int

    def train(self, context: SliceContext, super_resolution: SuperResolution, tick: Tick
              ) -> LabelSuperResolution | None:
        """Train a network to find labels in the gaps of `context`.

        Args:
            context: gaps, and the planes wanted in them.
            super_resolution: predicts the image there.
            tick: called with step, steps and loss before every step, may raise to stop.

        Returns:
            The network, or None if labels cannot train it for that: slices are thick, there are no borders, or no gap
            is of a width that `super_resolution` bridges.
        """
        config = self.config
        context = context.only(np.array([super_resolution.bridges(width) for width in context.widths], bool))
        borders = Borders.of(self.channels.numbered(self.layers), config.most_slices)
        trains = trains_labels(self.pitches, self.thickness, config)
        if not trains or not len(context.planes) or not len(borders.places):
            return None
        generator, count = torch.Generator().manual_seed(self.seed), self.channels.count
        size, wanted = context.size, context.fractions.shape[1]
        lines = Lines(self.slices, self.pitches, self.thickness, context, config)
        sampler = LabelPatchSampler(lines, borders, super_resolution, config, generator)
        network = ResidualNetwork(2 * size + wanted, wanted, config.width, config.blocks, (1, config.kernel), generator,
                                  size + wanted + count)
        if config.starts_learnt:
            pixel = float(np.mean(self.pitches))
            start.begin_labels(network, size, context.fractions.mean(axis=0), float(np.median(context.widths)) / pixel,
                               self.thickness / pixel)
        network = network.to(self.slices.device)

        def loss_at(step: Tensor, part: slice) -> Tensor:
            masks, images, predicted, truth, fractions, conditions, channel = batch_at(step, part)
            images, predicted = _stretched(images, config), _stretched(predicted, config)
            lines = [each[:, :, None] for each in (masks, images, predicted)]
            steering = _with_channels(conditions, channel, count)
            found = _found(network, lines, fractions[..., None], steering, config.agreed)[:, :, 0]
            return functional.binary_cross_entropy_with_logits(config.steepness * found, truth)

        with made_ahead(sampler.at, config.steps, self.slices.device) as batch_at:
            minimise(loss_at, network.others, config, tick, network.inner)
        return LabelSuperResolution(network=network, config=config, size=size, widths=super_resolution.widths,
                                    channels=count)


def _with_channels(conditions: Tensor, channels: Tensor, count: int) -> Tensor:
    """(n, S + T + count) what steers the network: conditions (n, S + T), and which of `count` channels (n,) it is."""
    which = (channels[:, None] == torch.arange(count, device=channels.device)).to(conditions.dtype)
    return torch.cat([conditions, which], dim=1)


def _stretched(images: Tensor, config: LabelSuperResolutionConfig) -> Tensor:
    """Intensities as the network sees them."""
    return config.stretch * images + config.shift


def _found(network: ResidualNetwork, lines: Sequence[Tensor], fractions: Tensor, conditions: Tensor, agreed: float
           ) -> Tensor:
    """Signed distance [n, T, row, column] along `lines`: masks and images [n, S, row, column], predicted images [n, T,
    row, column], images stretched; fractions: [n or 1, T, 1, 1]; agreed: where the slices agree.
    """
    signs, half = 2.0 * lines[0] - 1.0, lines[0].shape[1] // 2
    between = torch.lerp(signs[:, half - 1, None], signs[:, half, None], fractions)
    corrections: Tensor = network(torch.cat([signs, *lines[1:]], dim=1), conditions)
    return agreed * between + corrections
