"""The reconstruction as a model: everything that is needed to draw any plane of it."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.geometry import PlaneStack
from ..data.images import Segment
from ..data.intensity import IntensityScale
from ..gaussians.cloud import GaussianParameters
from ..prediction.expected_error import ExpectedError
from .shards import Shard, joined


@dataclass(frozen=True)
class Model:
    """A trained cloud of Gaussians, the tri-plane's residuals baked in.

    parts: the Gaussians, in memory or on disk.
    frame: (4, 4) rigid matrix from the model's frame (x along columns, y along rows, z along the slice normal; mm) to
        LPS mm.
    segments: one per label; empty without labels.  Channels: 0 is the image, see `segmentation.LabelChannels`.
    provenance: how the model was made (JSON-compatible).
    """

    parts: tuple[Shard, ...]
    frame: np.ndarray
    mode: str
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
