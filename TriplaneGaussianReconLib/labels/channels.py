"""Label maps <-> semantic channels.

Channel 0 is the image.  Each layer of the segmentation adds a background channel and one channel per segment, so that
segments stay independent of each other and may overlap.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..data.images import Segment


@dataclass(frozen=True)
class LabelChannels:
    """Which channel is which label.

    Example:
        >>> channels = LabelChannels((Segment("liver", 1), Segment("tumour", 2), Segment("cyst", 1, layer=1)))
        >>> channels.table
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
        >>> channels.count
        6
    """

    segments: tuple[Segment, ...]

    @cached_property
    def table(self) -> list[tuple[int, int]]:
        """(layer, label value) of channels 1, 2, ...; value 0 is the layer's background."""
        layers = sorted({segment.layer for segment in self.segments})
        return [(layer, value) for layer in layers
                for value in (0, *(s.value for s in self.segments if s.layer == layer))]

    @cached_property
    def layer_numbers(self) -> list[int]:
        """For channels 1, 2, ...: number of the layer among those that have segments."""
        layers = sorted({segment.layer for segment in self.segments})
        return [layers.index(layer) for layer, _ in self.table]

    @property
    def of_segments(self) -> list[int]:
        """Channel of each segment, in their order."""
        numbers = {label: number for number, label in enumerate(self.table, start=1)}
        return [numbers[segment.layer, segment.value] for segment in self.segments]

    def is_background(self, channel: int) -> bool:
        """Whether `channel` is the background of a layer."""
        return self.table[channel - 1][1] == 0

    @property
    def count(self) -> int:
        """Number of channels, the image included."""
        return 1 + len(self.table)

    def mask(self, layers: np.ndarray, channel: int) -> np.ndarray:
        """Where `channel` is in `layers` [layer, ...] of label values; boolean [...]."""
        layer, value = self.table[channel - 1]
        if value:
            return layers[layer] == value
        return ~np.isin(layers[layer], [v for at, v in self.table if at == layer and v])

    def numbered(self, layers: np.ndarray) -> np.ndarray:
        """Label values [layer, ...] -> channel of each pixel [layer that has segments, ...] int16."""
        return np.stack([np.maximum.reduce([
            np.where(self.mask(layers, n), np.int16(n), np.int16(0))
            for n, (at, _) in enumerate(self.table, start=1) if at == layer])
            for layer in sorted({layer for layer, _ in self.table})])

    def one_hot(self, layers: np.ndarray) -> np.ndarray:
        """Label values [layer, plane, row, column] -> masks [plane, channel - 1, row, column] float32."""
        return np.stack([self.mask(layers, n) for n in range(1, self.count)], axis=1).astype(np.float32)

    def decode(self, occupancies: Tensor | np.ndarray, layer_count: int, dtype: np.dtype) -> np.ndarray:
        """Occupancies -> label values.

        In each layer the label of largest occupancy wins, the background on a tie.

        Args:
            occupancies: [plane, channel, row, column], the image's channel included.  Of a tensor on a device only the
                winners leave it.
            layer_count: layers of the result; those without segments are 0.
            dtype: of the result.

        Returns:
            [layer, plane, row, column] of `dtype`.
        """
        occupancies = torch.as_tensor(occupancies)
        layers = sorted({layer for layer, _ in self.table})
        winners = torch.stack([self._winners(occupancies, layer) for layer in layers]).cpu().numpy()
        return self.values(winners, layer_count, dtype)

    def values(self, numbers: np.ndarray, layer_count: int, dtype: np.dtype) -> np.ndarray:
        """Channel of each pixel [layer that has segments, ...] -> label values [layer, ...]; undoes `numbered`.

        Args:
            numbers: as of `numbered`.
            layer_count: layers of the result; those without segments are 0.
            dtype: of the result.
        """
        decoded = np.zeros((layer_count, *numbers.shape[1:]), dtype)
        layers = sorted({layer for layer, _ in self.table})
        decoded[layers] = np.array([0, *(value for _, value in self.table)], dtype)[numbers]
        return decoded

    def _winners(self, occupancies: Tensor, layer: int) -> Tensor:
        """[plane, row, column] the first channel of `layer` that has the largest occupancy."""
        background, *others = (n for n, (at, _) in enumerate(self.table, start=1) if at == layer)
        numbers = torch.uint8 if self.count <= 256 else torch.int16
        largest = occupancies[:, background].clone()
        winners = torch.full_like(largest, background, dtype=numbers)
        # One channel after the other: `argmax` along an inner axis is many times slower on a CPU.
        for channel in others:  # as the channels ascend, the last that was larger is the largest number
            larger = (occupancies[:, channel] > largest).to(numbers)
            torch.maximum(winners, larger.mul_(channel), out=winners)
            torch.maximum(largest, occupancies[:, channel], out=largest)
        return winners
