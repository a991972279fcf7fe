"""The small residual convolution network that is trained anew on every volume, and a network once it is trained."""
from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config.networks import NetworkConfig
from ..runtime.half_precision import in_half_precision

L = TypeVar("L", bound="TrainedNetwork")


class ResidualNetwork(nn.Module):
    """Convolution, residual blocks of two convolutions each, convolution; images in, images of the same size out.

    Before training it returns zeros: it is trained to return what is to be added to a simple estimate.
    """

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int, kernel: tuple[int, int],
                 generator: torch.Generator, conditions: int = 0) -> None:
        """Create an untrained network.

        Args:
            inputs: channels of the images.
            outputs: channels of the result.
            width: channels in between.
            blocks: number of residual blocks.
            kernel: (rows, columns) of every convolution, odd.
            generator: the same state gives the same network.
            conditions: how many numbers per image steer it, by an offset of the first layer.
        """
        super().__init__()
        padding = kernel[0] // 2, kernel[1] // 2

        def convolution(before: int, after: int) -> nn.Conv2d:
            layer = nn.Conv2d(before, after, kernel, padding=padding)
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            return layer

        self.first = convolution(inputs, width)
        self.steering = nn.Parameter(torch.zeros(conditions, width)) if conditions else None
        self.firsts = nn.ModuleList(convolution(width, width) for _ in range(blocks))
        self.seconds = nn.ModuleList(convolution(width, width) for _ in range(blocks))
        self.last = convolution(width, outputs)
        for layer in (*self.seconds, self.last):
            nn.init.zeros_(layer.weight)
        # As the images are laid out, so are the weights and their gradients.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def inner(self) -> list[Tensor]:
        """Weights of the blocks' convolutions, all of one shape: what `optimizers.Muon` is for."""
        return [layer.weight for layer in (*self.firsts, *self.seconds)]

    @property
    def others(self) -> list[Tensor]:
        """All other parameters."""
        inner = {id(weight) for weight in self.inner}
        return [parameter for parameter in self.parameters() if id(parameter) not in inner]

    def forward(self, images: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Images [n, inputs, rows, columns], conditions (n, conditions) -> [n, outputs, rows, columns]."""
        hidden = self.first(images.contiguous(memory_format=torch.channels_last))
        if self.steering is not None and conditions is not None:
            hidden = hidden + (conditions @ self.steering)[:, :, None, None]
        hidden = functional.relu(hidden)
        with in_half_precision(images.device, hidden.shape[1]):  # what is added; what it is added to stays precise
            for first, second in zip(self.firsts, self.seconds, strict=True):
                hidden = hidden + second(functional.relu(first(hidden)))
        result: Tensor = self.last(hidden)
        return result


@dataclass(frozen=True)
class TrainedNetwork:
    """A network after its training.

    Attributes:
        network: with its weights.
        config: how it was trained, and how it is applied.
    """

    network: ResidualNetwork
    config: NetworkConfig

    def on(self: L, device: torch.device) -> L:
        """Copy to another device."""
        return replace(self, network=copy.deepcopy(self.network).to(device))


@dataclass(frozen=True, kw_only=True)
class BridgingNetwork(TrainedNetwork):
    """A network trained to fill gaps between slices.

    Attributes:
        size: number of slices that it sees around a gap.
        widths: (least, largest) width in mm of the gaps that it can fill.
    """

    size: int
    widths: tuple[float, float]

    def bridges(self, width: float) -> bool:
        """Whether it can fill a gap of `width` mm."""
        return self.widths[0] <= width <= self.widths[1]
