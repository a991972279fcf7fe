"""Drawing a model on planes, with as much of it in memory at a time as fits."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config.names import Backend
from ..data.geometry import PlaneStack
from ..data.images import Segment
from ..data.intensity import IntensityScale
from ..data.model_space import depth_range
from ..gaussians.cloud import Gaussians
from ..labels.channels import LabelChannels
from ..model.model import Model
from ..model.shards import Shard, joined
from ..rasterizer.modes import MODES
from ..rasterizer.sums import composited
from ..runtime import memory
from ..runtime.image_operations import CPU
from .renderer import Renderer


@dataclass(frozen=True)
class RenderedPlanes:
    """What a model shows on planes.

    Attributes:
        image: [plane, row, column] in the type of `IntensityScale.dtype`, input units.
        layers: [layer, plane, row, column] label values, or None.
    """

    image: np.ndarray
    layers: np.ndarray | None


def draw(model: Model, planes: PlaneStack, backend: Backend, tick: Callable[[int, int], None] | None = None,
         device: torch.device = CPU) -> RenderedPlanes:
    """Draw a model on any planes.

    Args:
        model: What to draw.
        planes: Where, in LPS mm.
        backend: Implementation of the rasterizer.
        tick: Called with (planes done, planes); may raise to stop.
        device: Where to compute.
    """
    channels = LabelChannels(model.segments)
    renderer = Renderer(model.mode, model.cutoff, backend, channels.count)
    image = np.empty(planes.shape, model.intensity.dtype)
    layers = empty_layers(model.segments, planes.shape)
    for indices, raster in rasters(renderer, model.shards, model.local(planes), device):
        if tick is not None:
            tick(indices.start, len(planes))
        image[indices] = image_of(raster, model.intensity)
        if layers is not None:
            layers[:, indices] = channels.decode(raster, len(layers), layers.dtype)
    return RenderedPlanes(image, layers)


def rasters(renderer: Renderer, shards: Sequence[Shard], planes: PlaneStack, device: torch.device,
            chunk_bytes: int | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Draw shards on planes, chunk by chunk.

    Only shards whose support touches the planes of a chunk are loaded, and no more at a time than `memory.CLOUD_BYTES`.

    Args:
        renderer: How to draw.
        shards: What to draw.
        planes: Where, in the model's frame.
        device: Where to compute.
        chunk_bytes: Size of what is drawn at a time; `memory.RASTER_BYTES` by default.

    Yields:
        Which planes were drawn, and their (P, channel_count, rows, columns).
    """
    plane_bytes = 4 * renderer.channel_count * planes.rows * planes.columns
    size = max(1, (memory.RASTER_BYTES if chunk_bytes is None else chunk_bytes) // plane_bytes)
    depths, clouds = depth_range(planes), _LatestCloud(device)
    with torch.no_grad():
        for start in range(0, len(planes), size):
            indices = slice(start, min(start + size, len(planes)))
            chunk, low, high = planes.subset(indices), depths[indices, 0].min(), depths[indices, 1].max()
            groups = _groups([shard for shard in shards if shard.touches(float(low), float(high))], renderer.mode)
            if not groups:
                yield indices, torch.zeros(len(chunk), renderer.channel_count, chunk.rows, chunk.columns)
            elif len(groups) == 1:
                yield indices, renderer(clouds.of(groups[0]), chunk)
            else:
                yield indices, _in_turn(renderer, groups, clouds, chunk, depths[indices])


def image_of(raster: Tensor, scale: IntensityScale) -> np.ndarray:
    """Return the image channel of `raster` in input units, [plane, row, column]."""
    return scale.to_input(raster[:, 0].cpu().numpy() + np.float32(scale.background))


def empty_layers(segments: Sequence[Segment], shape: tuple[int, int, int]) -> np.ndarray | None:
    """[layer, *shape] of the smallest type that holds all label values; None without labels."""
    if not segments:
        return None
    values = [0, *(s.value for s in segments)]
    dtype = np.result_type(np.min_scalar_type(min(values)), np.min_scalar_type(max(values)))
    return np.zeros((1 + max(s.layer for s in segments), *shape), dtype)


class _LatestCloud:
    """The Gaussians of a group of shards, kept until another group is asked for: the next planes mostly need it too."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._shards = device, list[Shard]()
        self._cloud: Gaussians | None = None

    def of(self, shards: list[Shard]) -> Gaussians:
        if self._cloud is None or shards != self._shards:
            self._cloud = None  # goes before the next one comes
            self._cloud = joined([shard.load() for shard in shards]).to(self._device).drawn()
            self._shards = shards
        return self._cloud


def _groups(shards: Sequence[Shard], mode: str) -> list[list[Shard]]:
    """Shards that are drawn together: as many as CLOUD_BYTES allow, or all where their order matters."""
    groups: list[list[Shard]] = []
    for shard in shards:
        if groups and (MODES[mode].is_ordered or sum(s.size for s in groups[-1]) + shard.size <= memory.CLOUD_BYTES):
            groups[-1].append(shard)
        else:
            groups.append([shard])
    return groups


def _in_turn(renderer: Renderer, groups: list[list[Shard]], clouds: _LatestCloud, planes: PlaneStack,
             depths: np.ndarray) -> Tensor:
    """Draw groups one after another and add up their sums, each on the planes that its support touches."""
    total: Tensor | None = None
    for group in groups:
        touched = np.flatnonzero([any(shard.touches(*ends) for shard in group) for ends in depths])
        sums = renderer.sums(clouds.of(group), planes.subset(touched))
        if total is None:
            total = sums.new_zeros(len(planes), *sums.shape[1:])
        total.index_add_(0, torch.from_numpy(touched).to(sums.device), sums)
    assert total is not None
    return composited(total[:, :-1], total[:, -1:], renderer.mode)
