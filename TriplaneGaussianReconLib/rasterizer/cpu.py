"""The rasterizer for processors: numba kernels (`cpu_kernels`) as one autograd function.

Forward: the raster is cut into tiles; lists say which Gaussians reach which tile, and every tile is drawn by one thread
into a buffer that fits its cache.  Nothing is stored per pair of Gaussian and pixel, and no thread adds to what another
one writes, so results do not depend on the number of threads.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..gaussians import Gaussians
from ..geometry import PlaneStack
from . import cpu_kernels as kernels
from .definitions import Mode, depths
from .simd import LANES

_TILE_BYTES = 192 * 1024  # fits the second-level cache of common processors beside the Gaussians that stream through
_MOST_PLANES, _MOST_ROWS, _FEWEST_ROWS = 8, 32, 8  # of a tile


def _sheets(planes: PlaneStack) -> kernels.Sheets:
    """Return the stack as the kernels want it."""
    steps = np.stack([planes.column_step, planes.row_step, planes.normal])
    duals = np.linalg.inv(steps.T)[:2]
    order = np.argsort(planes.offsets, kind="stable")
    origins = planes.origins[order]
    return kernels.Sheets(planes.offsets[order], origins @ duals[0], origins @ duals[1], order,
                          np.concatenate([steps, duals]))


def _cloud(*tensors: Tensor) -> kernels.Cloud:
    return kernels.Cloud(*(tensor.detach().contiguous().numpy() for tensor in tensors))


def _tiling(planes: PlaneStack, channel_count: int, item_size: int, most_planes: int) -> kernels.Tiling:
    """Choose tiles whose buffer fits the cache; at least a few rows high, since Gaussians straddle tiles."""
    row_bytes = (channel_count + 2) * (planes.columns + LANES) * item_size
    slab = int(np.clip(_TILE_BYTES // (row_bytes * _FEWEST_ROWS), 1, most_planes))
    band = int(np.clip(_TILE_BYTES // (row_bytes * slab), _FEWEST_ROWS, _MOST_ROWS))
    return kernels.Tiling(slab, band, -(-planes.rows // band), planes.rows, planes.columns)


class _Lists:
    def __init__(self, cloud: kernels.Cloud, sheets: kernels.Sheets, tiling: kernels.Tiling, cutoff: float) -> None:
        count, tiles = len(cloud.weights), -(-len(sheets.depths) // tiling.slab) * tiling.bands
        chunks = int(np.clip(count // 1024, 1, 64))
        share = -(-count // chunks)
        cursors = np.zeros((chunks, tiles), np.int64)
        serials = np.zeros(chunks, np.int64)
        self.ids, self.places = np.empty(0, np.int32), np.empty(0, np.int64)
        self.starts = np.zeros(count + 1, np.int64)
        kernels.list_tiles(cloud, sheets, tiling, cutoff, share, cursors, serials, self.ids, self.places, self.starts)
        ends = np.cumsum(cursors.T.ravel())
        entries = int(ends[-1]) if len(ends) else 0
        self.tile_starts = np.concatenate([[0], ends.reshape(tiles, chunks)[:, -1]])
        serials[1:] = np.cumsum(cursors.sum(1))[:-1]
        self.ids, self.places = np.empty(entries, np.int32), np.empty(entries, np.int64)
        starts = np.ascontiguousarray((ends.reshape(tiles, chunks).T - cursors))
        if entries:
            kernels.list_tiles(cloud, sheets, tiling, cutoff, share, starts, serials, self.ids, self.places, self.starts)
