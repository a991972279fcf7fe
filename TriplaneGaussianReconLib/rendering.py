"""Drawing a model: on any planes, or on a whole grid."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from .geometry import AXES, Axis, Grid, PlaneStack, array_axis
from .model import Model
from .rasterizer import Backend, rasterize
from .segmentation import LabelChannels

# Dense channels of so many bytes are drawn at a time; labels are decoded before the next planes are drawn.
CHUNK_BYTES = 128 * 2 ** 20


@dataclass(frozen=True)
class Drawn:
    """What a model shows on planes.

    image: [plane, row, column] float32, input units.  layers: [layer, plane, row, column] label values, or None.
    """

    image: np.ndarray
    layers: np.ndarray | None


def draw(model: Model, planes: PlaneStack, backend: Backend, tick: Callable[[int, int], None] | None = None) -> Drawn:
    """Draw `model` on `planes` (LPS mm).  tick: called with (planes done, planes)."""
    channels = LabelChannels(model.segments)
    image = np.empty(planes.shape, np.float32)
    layer_count = 1 + max((s.layer for s in model.segments), default=0)
    values = [0, *(s.value for s in model.segments)]
    dtype = np.result_type(np.min_scalar_type(min(values)), np.min_scalar_type(max(values)))
    layers = np.zeros((layer_count, *planes.shape), dtype) if model.segments else None
    with torch.no_grad():
        drawn = model.parameters.drawn()
        for part, some in _chunks(model.local(planes), channels.count):
            if tick is not None:
                tick(part.start, len(planes))
            raster = rasterize(drawn, some, mode=model.mode, channel_count=channels.count, backend=backend,
                               cutoff=model.cutoff).channels.cpu().numpy()
            image[part] = model.intensity.to_input(raster[:, 0] + np.float32(model.intensity.background))
            if layers is not None:
                layers[:, part] = channels.decode(raster, layer_count, dtype)
    return Drawn(image, layers)


def draw_grid(model: Model, grid: Grid, backend: Backend, tick: Callable[[int, int], None] | None = None) -> Drawn:
    """Draw `model` on every voxel of `grid`; arrays are [k, j, i] (layers: [layer, k, j, i])."""
    axis = slicing_axis(model, grid)
    drawn = draw(model, grid.planes(axis, np.arange(grid.count(axis))), backend, tick)
    to = array_axis(axis)
    return Drawn(np.ascontiguousarray(np.moveaxis(drawn.image, 0, to)),
                 None if drawn.layers is None else np.ascontiguousarray(np.moveaxis(drawn.layers, 1, to + 1)))


def expected_error(model: Model, planes: PlaneStack) -> np.ndarray:
    """Expected absolute error [plane, row, column] on `planes` (LPS mm), float32, input units."""
    local = model.local(planes)
    return np.stack([model.expected_error.at(_points(local, n)) for n in range(len(local))])


def expected_error_on_grid(model: Model, grid: Grid) -> np.ndarray:
    """Expected absolute error [k, j, i] on every voxel of `grid`, float32, input units."""
    axis = slicing_axis(model, grid)
    errors = expected_error(model, grid.planes(axis, np.arange(grid.count(axis))))
    return np.ascontiguousarray(np.moveaxis(errors, 0, array_axis(axis)))


def slicing_axis(model: Model, grid: Grid) -> Axis:
    """The axis of `grid` nearest to the model's depth axis: slices across it are quickest to draw."""
    return AXES[int(np.abs(np.asarray(grid.direction).T @ model.frame[:3, 2]).argmax())]


def _chunks(planes: PlaneStack, channel_count: int) -> Iterator[tuple[slice, PlaneStack]]:
    per_plane = 4 * channel_count * planes.rows * planes.columns
    size = max(1, CHUNK_BYTES // per_plane)
    for start in range(0, len(planes), size):
        part = slice(start, min(start + size, len(planes)))
        yield part, planes.subset(part)


def _points(planes: PlaneStack, plane: int) -> np.ndarray:
    """(rows, columns, 3) mm, the pixel centres of one plane."""
    return (planes.origins[plane] + np.arange(planes.rows)[:, None, None] * planes.row_step
            + np.arange(planes.columns)[None, :, None] * planes.column_step)
