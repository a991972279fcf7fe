"""Occupancies of labels: what Gaussians carry.

The occupancy of a label is 1/2 on its border, rises to 1 inside and falls to 0 outside, linear in the signed distance.
Occupancies can be mixed linearly, as rendering does.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def occupancy(distance: Tensor, band: float) -> Tensor:
    """Signed distance -> occupancy in [0, 1].

    Args:
        distance: pixels, positive inside; any shape.
        band: pixels, distance from the border at which the occupancy reaches 0 or 1.

    Example:
        >>> occupancy(torch.tensor([-9.0, 0.0, 1.5, 9.0]), 3.0)
        tensor([0.0000, 0.5000, 0.7500, 1.0000])
    """
    return (0.5 + distance / (2.0 * band)).clamp(0.0, 1.0)


@dataclass(frozen=True)
class Occupancies:
    """Sparse occupancies on one plane: parallel arrays, one entry per (pixel, channel) that is not 0.

    Attributes:
        pixels: flat index row * columns + column.
        channels: as of `LabelChannels`.
        values: occupancies.
        trends: change of the occupancy per whole gap, along the gated displacement.
    """

    pixels: Tensor
    channels: Tensor
    values: Tensor
    trends: Tensor

    def slots(self, size: int, most_slots: int) -> tuple[Tensor, Tensor, Tensor]:
        """Channels, values and trends of every pixel, largest value first.

        Args:
            size: number of pixels of the plane.
            most_slots: entries that are kept per pixel.

        Returns:
            Three arrays (pixel, slot); unused slots are 0.
        """
        # One integer says it all: first by pixel, then by falling value, whose bits sort as it does (none is negative).
        key = (self.pixels.long() << 32) - self.values.view(torch.int32)
        order = key.sort(stable=True).indices
        pixels = self.pixels[order]
        number = torch.arange(len(order), device=pixels.device)
        starts = torch.ones_like(pixels, dtype=torch.bool)
        starts[1:] = pixels[1:] != pixels[:-1]
        rank = number - torch.where(starts, number, 0).cummax(dim=0).values if len(order) else number
        # Entries beyond the last slot are written to one place more, which is dropped.
        to = torch.where(rank < most_slots, pixels * most_slots + rank, size * most_slots)

        def table(source: Tensor) -> Tensor:
            filled = source.new_zeros(size * most_slots + 1)
            filled[to] = source[order]
            return filled[:-1].reshape(size, most_slots)

        return table(self.channels), table(self.values), table(self.trends)
