"""Drawing a model on a whole grid, plane by plane, and its expected error there."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..config.names import Backend
from ..data.geometry import Axis, Grid, array_axis
from ..data.model_space import depth_range
from ..labels.channels import LabelChannels
from ..model.model import Model
from ..model.shards import Shard
from ..runtime import memory
from ..runtime.image_operations import CPU
from .planes import empty_layers, image_of, rasters
from .renderer import Renderer


class VolumeRenderer:
    """A dense grid that is filled plane by plane, as soon as all Gaussians whose support touches a plane are known.

    Attributes:
        volume: [k, j, i], input units.
        layers: [layer, k, j, i] label values, or None.
    """

    def __init__(self, model: Model, grid: Grid, dtype: np.dtype) -> None:
        """Start with nothing drawn.

        Args:
            model: What to draw; its shards are given later.
            grid: Where.
            dtype: Voxel type of the volume.
        """
        axis = slicing_axis(model.frame, grid)
        self._model, self._across = model, array_axis(axis)
        self._channels = LabelChannels(model.segments)
        self._planes = model.local(grid.planes(axis, np.arange(grid.count(axis))))
        self._depths = depth_range(self._planes)
        self._is_waiting = np.ones(len(self._planes), bool)
        self.volume = np.empty(grid.shape, dtype)
        self.layers = empty_layers(model.segments, grid.shape)

    @property
    def needs(self) -> float:
        """Depth (mm) from which Gaussians are still needed."""
        return float(self._depths[self._is_waiting, 0].min(initial=np.inf))

    def plane(self, index: int) -> np.ndarray | None:
        """Slice `index` of the volume, [row, column]; None as long as it is not drawn."""
        return None if self._is_waiting[index] else self.volume.take(index, self._across)

    def advance(self, shards: Sequence[Shard], depth: float, backend: Backend, device: torch.device,
                tick: Callable[[int, int], None] | None = None) -> None:
        """Draw the planes that lie below a depth.  Where memory does not suffice, less is drawn at a time.

        Args:
            shards: All Gaussians whose support begins below `depth`, and perhaps others.
            depth: mm; planes that end below it are drawn.
            backend: Implementation of the rasterizer.
            device: Where to compute.
            tick: Called with (planes done, planes); may raise to stop.
        """
        renderer = Renderer(self._model.mode, self._model.cutoff, backend, self._channels.count)

        def draw(chunk_bytes: int) -> None:
            ready = np.flatnonzero(self._is_waiting & (self._depths[:, 1] < depth))
            for indices, raster in rasters(renderer, shards, self._planes.subset(ready), device, chunk_bytes):
                if tick is not None:
                    tick(int((~self._is_waiting).sum()), len(self._is_waiting))
                self._put(ready[indices], raster)

        def draw_at_most(chunk_bytes: int) -> None:
            if chunk_bytes < 4 * self._planes.rows * self._planes.columns:
                draw(chunk_bytes)  # less than a plane cannot be drawn
            else:
                memory.with_less_memory(lambda: draw(chunk_bytes), lambda: draw_at_most(chunk_bytes // 4), device)

        draw_at_most(memory.RASTER_BYTES)

    def _put(self, numbers: np.ndarray, raster: Tensor) -> None:
        """Take over the planes `numbers`."""
        image = image_of(raster, self._model.intensity)
        np.moveaxis(self.volume, self._across, 0)[numbers] = as_type(image, self.volume.dtype)
        if self.layers is not None:
            np.moveaxis(self.layers, self._across + 1, 1)[:, numbers] = self._channels.decode(
                raster, len(self.layers), self.layers.dtype)
        self._is_waiting[numbers] = False


def expected_error_on_grid(model: Model, grid: Grid, device: torch.device = CPU) -> np.ndarray:
    """Return the expected absolute error on every voxel of `grid`, [k, j, i] float32, input units."""
    axis = slicing_axis(model.frame, grid)
    errors = np.empty(grid.shape, np.float32)
    by_plane = np.moveaxis(errors, array_axis(axis), 0)
    planes = model.local(grid.planes(axis, np.arange(grid.count(axis))))
    size = max(1, memory.RASTER_BYTES // (memory.EXPECTED_ERROR_PER_POINT * planes.rows * planes.columns))
    for start in range(0, len(planes), size):
        points = planes.subset(slice(start, start + size)).points(lambda array: torch.from_numpy(array).to(device))
        by_plane[start:start + size] = model.expected_error.at(points).cpu().numpy()
    return errors


def slicing_axis(frame: np.ndarray, grid: Grid) -> Axis:
    """Return the axis of `grid` nearest to the depth axis of a model's `frame`: slices across it draw fastest."""
    return grid.axis_along(frame[:3, 2])


def as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert floats to a voxel type, rounded; the ends of wide integer types do not wrap.

    Example:
        >>> as_type(np.array([0.6, 2.0 ** 31]), np.dtype(np.int32)).tolist()
        [1, 2147483647]
    """
    if np.issubdtype(dtype, np.integer):
        largest = values.dtype.type(np.iinfo(dtype).max)
        if int(largest) > np.iinfo(dtype).max:  # there is no such float, and it was rounded up
            largest = np.nextafter(largest, values.dtype.type(0))
        values = np.minimum(np.rint(values), largest)
    return values.astype(dtype)
