"""Between the units of the input and those of the model."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .voxel_types import value_type


@dataclass(frozen=True)
class IntensityScale:
    """Input units <-> the model's units: trusted minimum -> 0, robust maximum -> 1, linear, not clipped.

    background: the model's value where no Gaussian is, in the model's units.
    lowest, highest: range of the trusted pixels, input units; what is drawn is clipped to it.
    """

    offset: float
    scale: float
    background: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, pixels: list[np.ndarray]) -> IntensityScale:
        """Derive the scale from the trusted pixels (input units)."""
        lowest, highest = float(min(p.min() for p in pixels)), float(max(p.max() for p in pixels))
        robust = float(max(np.percentile(p, 99.9) for p in pixels))
        scale = robust - lowest if robust > lowest else highest - lowest
        return cls(lowest, scale, (_padding_value(pixels) - lowest) / scale, lowest, highest)

    @property
    def dtype(self) -> np.dtype:
        """The type of values in input units, see `value_type`."""
        return value_type(self.lowest, self.highest)

    def to_model(self, pixels: np.ndarray) -> np.ndarray:
        """Input units (float32 or float64) -> model units, float32."""
        scaled: np.ndarray = (pixels - pixels.dtype.type(self.offset)).astype(np.float32, copy=False)
        scaled /= np.float32(self.scale)
        return scaled

    def to_input(self, values: np.ndarray) -> np.ndarray:
        """Model units (float32) -> input units of type `dtype`, clipped to the range of the trusted pixels."""
        number = self.dtype.type
        return np.clip(values * number(self.scale) + number(self.offset), number(self.lowest), number(self.highest))


def _padding_value(pixels: list[np.ndarray]) -> float:
    """The value that fills the outside of the image: the one that the outermost rows and columns hold most often."""
    border = np.concatenate([edge.ravel() for p in pixels for edge in (p[:, 0], p[:, -1], p[:, :, 0], p[:, :, -1])])
    values, counts = np.unique(border, return_counts=True)
    return float(values[counts.argmax()])
