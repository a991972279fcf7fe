"""The rasterizer for CPUs: compiled kernels (`cpu_kernels`) as one autograd function.

Forward: the raster is cut into tiles, and lists tell which Gaussians reach which tile.  One thread draws a tile into a
buffer that fits its cache.  Backward: in the modes that are sums, each Gaussian gathers from the pixels that it
reaches.  In ordered modes each tile is peeled front to back and writes a few moments per Gaussian, which are then added
up.  Nothing is stored per pair of Gaussian and pixel, and no two threads write to the same place, so results do not
depend on the number of threads.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..data.geometry import PlaneStack
from ..gaussians.cloud import Gaussians
from ..runtime.threads import in_parallel
from . import cpu_kernels as kernels
from .definitions import SHAPE_MOMENTS, SLOT_MOMENTS, SortedPlanes, depths, sorted_planes
from .modes import MODES
from .simd import LANES

_TILE_BYTES = 192 * 1024  # fits the second-level cache of common processors beside the Gaussians that stream through
_MOST_PLANES, _MOST_ROWS, _FEWEST_ROWS = 8, 32, 8  # of a tile
_SMALLEST_CHUNK, _MOST_CHUNKS = 1024, 64  # Gaussians per chunk, chunks, when lists are made


def _cloud(tensors: Sequence[Tensor]) -> kernels.Cloud:
    return kernels.Cloud(*(tensor.detach().contiguous().numpy() for tensor in tensors))


def _tiling(planes: PlaneStack, channel_count: int, item_size: int, most_planes: int) -> kernels.Tiling:
    """Choose tiles whose buffer fits the cache, and that are a few rows high at least, as Gaussians straddle tiles."""
    row_bytes = (channel_count + 2) * (planes.columns + LANES) * item_size
    slab = int(np.clip(_TILE_BYTES // (row_bytes * _FEWEST_ROWS), 1, most_planes))
    band = int(np.clip(_TILE_BYTES // (row_bytes * slab), _FEWEST_ROWS, _MOST_ROWS))
    return kernels.Tiling(slab, band, -(-planes.rows // band), planes.rows, planes.columns)


@dataclass(frozen=True)
class _Lists:
    """Which Gaussians reach which tile, one entry per pair of the two.

    ids: (entries,) int32, the Gaussians, tile by tile, ascending inside a tile (in ordered modes: front to back).
    tile_starts: (tiles + 1,) int64, where the entries of each tile begin.
    places: (entries,) int64, the number of each entry when counted Gaussian by Gaussian; empty in other than ordered
        modes, as are the starts.
    starts: (N + 1,) int64, the number of each Gaussian's first entry in that count.
    """

    ids: np.ndarray
    tile_starts: np.ndarray
    places: np.ndarray
    starts: np.ndarray


def _list(cloud: kernels.Cloud, stack: SortedPlanes, tiling: kernels.Tiling, cutoff: float, is_ordered: bool
          ) -> _Lists:
    """List the Gaussians of all tiles by a counting sort in chunks, the same for any number of threads."""
    count, tiles = len(cloud.weights), -(-len(stack.depths) // tiling.slab) * tiling.bands
    chunks = int(np.clip(count // _SMALLEST_CHUNK, 1, _MOST_CHUNKS))
    counts, serials = np.zeros((chunks, tiles), np.int64), np.zeros(chunks, np.int64)
    starts = np.zeros(count + 1 if is_ordered else 0, np.int64)
    ids, places = np.empty(0, np.int32), np.empty(0, np.int64)

    def visit(cursors: np.ndarray) -> None:
        in_parallel(kernels.list_tiles, chunks, cloud, stack, tiling, cutoff, -(-count // chunks), cursors, serials,
                     ids, places, starts)

    visit(counts)
    tile_starts = np.concatenate([[0], np.cumsum(counts.sum(0))])
    entries = int(tile_starts[-1])
    if entries:
        ids, places = np.empty(entries, np.int32), np.empty(entries if is_ordered else 0, np.int64)
        serials[1:] = np.cumsum(counts.sum(1))[:-1]
        visit(tile_starts[:-1] + np.cumsum(counts, 0) - counts)
    return _Lists(ids, tile_starts, places, starts)


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, planes: PlaneStack, mode: str, channel_count: int, cutoff: float,
                *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """tensors: those of `Gaussians`, in its order."""
        cloud, stack, is_ordered = _cloud(tensors), sorted_planes(planes), MODES[mode].is_ordered
        item_size = cloud.weights.itemsize
        tiling = _tiling(planes, channel_count, item_size, 1 if is_ordered else _MOST_PLANES)
        lists = _list(cloud, stack, tiling, cutoff, is_ordered)
        tiles = len(lists.tile_starts) - 1
        if is_ordered:
            in_parallel(kernels.sort_tiles, tiles, lists.tile_starts, depths(tensors[0], planes).numpy(), stack,
                         tiling.bands, lists.ids, lists.places)
        channels = np.empty((len(planes), channel_count, planes.rows, planes.columns), cloud.weights.dtype)
        weight_sum = np.empty(planes.shape, cloud.weights.dtype)
        in_parallel(kernels.draw, tiles, cloud, stack, tiling, cutoff, lists.ids, lists.tile_starts, is_ordered,
                     MODES[mode].is_normalised, channels, weight_sum)
        results = torch.from_numpy(channels), torch.from_numpy(weight_sum)
        ctx.save_for_backward(*tensors, *results)
        ctx.stack, ctx.tiling, ctx.mode, ctx.cutoff = stack, tiling, mode, cutoff
        ctx.lists = lists if is_ordered else None  # the other modes gather without
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, channel_gradient: Tensor, sum_gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensors, (channels, weight_sum) = ctx.saved_tensors[:6], ctx.saved_tensors[6:]
        cloud, stack, tiling, lists = _cloud(tensors), ctx.stack, ctx.tiling, ctx.lists
        centres, precisions, _, _, slopes = ctx.needs_input_grad[4:9]
        full, count = centres or precisions, channels.shape[1]
        planes, rows, columns = weight_sum.shape
        source = np.zeros(planes * rows * (count + 2) * columns + LANES, cloud.weights.dtype)
        in_parallel(kernels.prepare, planes * rows, channels.numpy(), weight_sum.numpy(),
                     channel_gradient.contiguous().numpy(), sum_gradient.contiguous().numpy(), lists is not None,
                     MODES[ctx.mode].is_normalised, source)
        computed = (full, full, True, True, slopes, False)
        gradients = kernels.Cloud(*(np.zeros(array.shape if fill else (0,) * array.ndim, array.dtype)
                                    for array, fill in zip(cloud, computed, strict=True)))
        if lists is None:
            in_parallel(kernels.gather, len(cloud.weights), cloud, stack, tiling, ctx.cutoff, source, count, full,
                         slopes, gradients)
        else:
            moments = ((SHAPE_MOMENTS if full else 1)
                       + cloud.values.shape[1] * (SLOT_MOMENTS if slopes else 1))
            entries = np.empty((len(lists.ids), moments), cloud.weights.dtype)
            in_parallel(kernels.peel, len(lists.tile_starts) - 1, cloud, stack, tiling, ctx.cutoff, lists.ids,
                         lists.places, lists.tile_starts, source, count, full, slopes, entries)
            in_parallel(kernels.collect, len(cloud.weights), cloud, stack, lists.starts, entries, full, slopes,
                         gradients)
        return (None, None, None, None,
                *(torch.from_numpy(array) if is_needed else None
                  for array, is_needed in zip(gradients, ctx.needs_input_grad[4:], strict=True)))


def rasterize(gaussians: Gaussians, planes: PlaneStack, mode: str, channel_count: int,
              cutoff: float) -> tuple[Tensor, Tensor]:
    """Return channels (P, channel_count, rows, columns) and weight sum (P, rows, columns) of checked input."""
    channels, weight_sum = _Rasterize.apply(planes, mode, channel_count, cutoff, gaussians.centres,
                                            gaussians.precisions, gaussians.weights, gaussians.values,
                                            gaussians.slopes, gaussians.channels)
    return channels, weight_sum
