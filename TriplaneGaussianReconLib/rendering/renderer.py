"""How Gaussians are drawn: everything but which Gaussians, and on which planes."""
from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..config.names import Backend
from ..data.geometry import PlaneStack
from ..gaussians.cloud import Gaussians
from ..rasterizer.rasterize import rasterize


@dataclass(frozen=True)
class Renderer:
    """How Gaussians are drawn."""

    mode: str
    cutoff: float
    backend: Backend
    channel_count: int = 1

    def __call__(self, gaussians: Gaussians, planes: PlaneStack) -> Tensor:
        """(P, channel, rows, columns)."""
        return rasterize(gaussians, planes, mode=self.mode, channel_count=self.channel_count, backend=self.backend,
                         cutoff=self.cutoff).channels
