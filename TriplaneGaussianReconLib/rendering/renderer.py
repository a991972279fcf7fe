"""How Gaussians are drawn: everything but which Gaussians, and on which planes."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.names import Backend
from ..data.geometry import PlaneStack
from ..gaussians.cloud import Gaussians
from ..rasterizer.modes import PLAIN_SUMS
from ..rasterizer.rasterize import rasterize
from ..runtime import memory


@dataclass(frozen=True)
class Renderer:
    """How Gaussians are drawn.

    Attributes:
        mode: Name of the compositing mode.
        cutoff: Squared Mahalanobis distance beyond which a Gaussian is 0.
        backend: Implementation of the rasterizer.
        channel_count: Number of channels, the image included.
    """

    mode: str
    cutoff: float
    backend: Backend
    channel_count: int = 1

    def __call__(self, gaussians: Gaussians, planes: PlaneStack) -> Tensor:
        """Draw `gaussians` on `planes` (model's frame): (P, channel_count, rows, columns)."""
        return rasterize(gaussians, planes, mode=self.mode, channel_count=self.channel_count, backend=self.backend,
                         cutoff=self.cutoff).channels

    def in_chunks(self, gaussians: Gaussians, planes: PlaneStack) -> Iterator[tuple[slice, Tensor]]:
        """Draw as many planes at a time as fit into `memory.RASTER_BYTES`; yield which these are, and what is drawn."""
        size = max(1, memory.RASTER_BYTES // (4 * self.channel_count * planes.rows * planes.columns))
        for start in range(0, len(planes), size):
            some = slice(start, min(start + size, len(planes)))
            yield some, self(gaussians, planes.subset(some))

    def sums(self, gaussians: Gaussians, planes: PlaneStack) -> Tensor:
        """Draw the plain sums of all channels, and the weight sum after them: (P, channel_count + 1, rows, columns)."""
        raster = rasterize(gaussians, planes, mode=PLAIN_SUMS, channel_count=self.channel_count, backend=self.backend,
                           cutoff=self.cutoff)
        return torch.cat([raster.channels, raster.weight_sum[:, None]], dim=1)
