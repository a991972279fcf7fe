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

    Attributes:
        shards: The Gaussians, in memory or on disk.
        frame: (4, 4) rigid matrix from the model's frame (x along columns, y along rows, z along the slice normal; mm)
            to LPS mm.
        mode: Name of the compositing mode, see `rasterizer.modes`.
        cutoff: Squared Mahalanobis distance beyond which a Gaussian is 0.
        intensity: Between the model's units and those of the input.
        expected_error: How far the image is to be observed, anywhere.
        segments: One per label; empty without labels.  `LabelChannels` tells their channels; channel 0 is the image.
        provenance: How the model was made (JSON-compatible).
    """

    shards: tuple[Shard, ...]
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
        return sum(shard.count for shard in self.shards)

    @property
    def parameters(self) -> GaussianParameters:
        """All Gaussians, loaded into memory."""
        return joined([shard.load() for shard in self.shards])

    def local(self, planes: PlaneStack) -> PlaneStack:
        """Return planes (LPS mm) in the model's frame."""
        return planes.transformed(np.linalg.inv(self.frame))
