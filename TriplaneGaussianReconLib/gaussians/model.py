"""The reconstruction as a model: everything that is needed to draw any plane of it."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.geometry import PlaneStack
from ..data.images import Segment, value_type
from ..prediction.expected_error import ExpectedError
from ..rasterizer.rasterize import Mode
from .cloud import GaussianParameters
from .shards import Part, joined


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


@dataclass(frozen=True)
class Model:
    """A trained cloud of Gaussians, the tri-plane's residuals baked in.

    parts: the Gaussians, in memory or on disk.
    frame: (4, 4) rigid matrix from the model's frame (x along columns, y along rows, z along the slice normal; mm) to
        LPS mm.
    segments: one per label; empty without labels.  Channels: 0 is the image, see `segmentation.LabelChannels`.
    provenance: how the model was made (JSON-compatible).
    """

    parts: tuple[Part, ...]
    frame: np.ndarray
    mode: Mode
    cutoff: float
    intensity: IntensityScale
    expected_error: ExpectedError
    segments: tuple[Segment, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of Gaussians."""
        return sum(part.count for part in self.parts)

    @property
    def parameters(self) -> GaussianParameters:
        """All Gaussians, brought into memory."""
        return joined([part.load() for part in self.parts])

    def local(self, planes: PlaneStack) -> PlaneStack:
        """Bring planes from LPS into the model's frame."""
        return planes.transformed(np.linalg.inv(self.frame))


def frame_of(planes: PlaneStack) -> np.ndarray:
    """(4, 4) rigid frame of a stack: x along the columns, z along the normal, origin at pixel [0, 0] of plane 0."""
    x = planes.column_step / np.linalg.norm(planes.column_step)
    frame = np.eye(4)
    frame[:3, :3] = np.stack([x, np.cross(planes.normal, x), planes.normal], axis=1)
    frame[:3, 3] = planes.origins[0]
    return frame
