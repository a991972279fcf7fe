"""Conversion between the units of the input and those of the model."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from .voxel_types import value_type


@dataclass(frozen=True)
class IntensityScale:
    """Linear scale from input units to the model's: observed minimum to 0, robust maximum to 1, not clipped.

    Attributes:
        offset: What becomes 0, input units.
        scale: What becomes 1, less `offset`, input units.
        background: Value where no Gaussian is, model units.
        lowest: Smallest observed pixel, input units.
        highest: Largest observed pixel, input units.  What is drawn is clipped to this range.

    Example:
        >>> scale = IntensityScale.of([np.float32([[[0, 0, 0], [0, 100, 200], [0, 0, 0]]])], percentile=100.0)
        >>> scale.to_model(np.float32([50, 200])).tolist()
        [0.25, 1.0]
        >>> scale.to_input(np.float32([0.25, 1.5])).tolist()
        [50.0, 200.0]
    """

    offset: float
    scale: float
    background: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, pixels: list[np.ndarray], percentile: float, weights: Sequence[np.ndarray | None] = ()
           ) -> IntensityScale:
        """Derive the scale from observed pixels.

        Args:
            pixels: [plane, row, column] of each stack, input units.
            percentile: Of the pixels of a stack, up to which they count for the robust maximum.
            weights: Likewise; pixels without weight do not count.  By default, and where None, all do.
        """
        lowest, highest = float(min(p.min() for p in pixels)), float(max(p.max() for p in pixels))
        counted = [p if w is None else p[w > 0] for p, w in zip_longest(pixels, weights)]
        robust = float(max(np.percentile(p, percentile) for p in counted))
        scale = robust - lowest if robust > lowest else highest - lowest
        return cls(lowest, scale, (_padding_value(pixels) - lowest) / scale, lowest, highest)

    @property
    def dtype(self) -> np.dtype:
        """The type of values in input units, see `value_type`."""
        return value_type(self.lowest, self.highest)

    def to_model(self, pixels: np.ndarray) -> np.ndarray:
        """Convert input units (float32 or float64) to model units, float32."""
        scaled: np.ndarray = (pixels - pixels.dtype.type(self.offset)).astype(np.float32, copy=False)
        scaled /= np.float32(self.scale)
        return scaled

    def to_input(self, values: np.ndarray) -> np.ndarray:
        """Convert model units (float32) to input units of type `dtype`, clipped to the range of the observed pixels."""
        number = self.dtype.type
        return np.clip(values * number(self.scale) + number(self.offset), number(self.lowest), number(self.highest))


def _padding_value(pixels: list[np.ndarray]) -> float:
    """The value that fills the outside of the image: the one that the outermost rows and columns hold most often."""
    border = np.concatenate([edge.ravel() for p in pixels for edge in (p[:, 0], p[:, -1], p[:, :, 0], p[:, :, -1])])
    values, counts = np.unique(border, return_counts=True)
    return float(values[counts.argmax()])
