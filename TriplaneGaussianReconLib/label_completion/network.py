"""The network that says which labels lie on a slice, given its image and what the labelled slices beside it say.

A U-Net sees the image, its neighbours, and the labels of both labelled slices as they were carried here.  Its last
layer also sees a tri-plane field: features that depend on the place in the volume alone, and tie all slices together.
What it returns is added to what the labelled slices alone say.
"""
from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config.label_completion import CompletionNetworkConfig
from ..gaussians.triplane import FeaturePlanes
from ..labels.channels import LabelChannels

IMAGES = 2
"""Images of each slice: intensities as they are, and equalised ones."""


class CompletionNetwork(nn.Module):
    """Labels on a slice from its image and two labelled slices.

    Attributes:
        spread: (2,) how fast carried labels become uncertain: natural logarithm of the pixels of signed distance that
            count as much as a factor of e, at a distance of one pixel; and the power of the distance with which it
            grows.
    """

    def __init__(self, channels: LabelChannels, box: Tensor, config: CompletionNetworkConfig) -> None:
        """Start as what the labelled slices say; random numbers are torch's own.

        Args:
            channels: of the labels.
            box: (2, 3) mm, lowest and highest corner of the volume.
            config: how large the network is.
        """
        super().__init__()
        labels = channels.count - 1
        ends = [0, *(n for n in range(1, labels) if channels.layer_numbers[n] != channels.layer_numbers[n - 1]), labels]
        self.layers = [slice(*pair) for pair in pairwise(ends)]
        self.embedding = nn.Conv2d(labels, config.embedding, 1)
        self.field = FeaturePlanes(box, resolution=config.texels, features=config.features)
        self.spread = nn.Parameter(torch.tensor([-0.7, 0.5]))
        inputs = IMAGES * len(config.neighbours) + 3 * config.embedding + 2 + 3
        self.body = _UNet(inputs, config.width, config.levels)
        self.last = nn.Conv2d(config.width + 3 * config.features, labels, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor, carried: Tensor, gaps: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Find the labels on B slices.

        Args:
            images: [B, image, row, column].
            carried: [B, 2, label, row, column] pixels, signed distances carried from the labelled slices on both sides.
            gaps: (B, 2) pixels, how far away these are.
            points: [B, row, column, 3] mm, where the pixels lie.

        Returns:
            [B, label, row, column] natural logarithms of probabilities, and those that the labelled slices alone tell.
        """
        prior = self.prior(carried, gaps)
        sides = [self.log_probabilities(carried[:, n] / self._tolerance(gaps)) for n in (0, 1)]
        seen = [self.embedding(each.exp()) for each in (prior, *sides)]
        size = (len(images), -1, *images.shape[-2:])
        where = self.field.unit(points).movedim(3, 1)
        how_far = gaps.log()[:, :, None, None].expand(*size)
        hidden = self.body(torch.cat([images, *seen, how_far, where], dim=1))
        features = self.field.features(points.reshape(-1, 3)).reshape(*points.shape[:3], -1).movedim(3, 1)
        return self.log_probabilities(prior + self.last(torch.cat([hidden, features], dim=1))), prior

    def prior(self, carried: Tensor, gaps: Tensor) -> Tensor:
        """[B, label, row, column] natural logarithms of probabilities that the labelled slices tell: the nearer counts
        the more.  Arguments: see `forward`.
        """
        shares = (gaps.flip(1) / gaps.sum(dim=1, keepdim=True))[:, :, None, None, None]
        return self.log_probabilities((shares * carried).sum(dim=1) / self._tolerance(gaps))

    def _tolerance(self, gaps: Tensor) -> Tensor:
        """[B, 1, 1, 1] pixels."""
        apart = 2.0 * gaps.prod(dim=1) / gaps.sum(dim=1)
        return (self.spread[0] + self.spread[1] * apart.log()).exp()[:, None, None, None]

    def log_probabilities(self, values: Tensor) -> Tensor:
        """Make [B, label, row, column] natural logarithms of probabilities, each layer of labels for itself."""
        return torch.cat([values[:, layer].log_softmax(dim=1) for layer in self.layers], dim=1)


class _UNet(nn.Module):
    """Down to coarser resolutions and up again; images in, `width` channels of the same size out."""

    def __init__(self, inputs: int, width: int, levels: int) -> None:
        super().__init__()
        widths = [width * min(1 << level, 4) for level in range(levels)]
        self.down = nn.ModuleList(_Block(*pair) for pair in pairwise([inputs, *widths]))
        self.up = nn.ModuleList(_Block(fine + coarse, fine) for fine, coarse in reversed(list(pairwise(widths))))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            images = block(functional.max_pool2d(images, 2, ceil_mode=True) if level else images)
            kept.append(images)
        kept.pop()
        for block in self.up:
            finer = kept.pop()
            images = functional.interpolate(images, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            images = block(torch.cat([images, finer], dim=1))
        return images


class _Block(nn.Module):
    """Two convolutions, each normalised over groups of channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(8, after) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        for convolution, norm in zip((self.first, self.second), self.norms, strict=True):
            images = functional.leaky_relu(norm(convolution(images)), 0.1)
        return images
