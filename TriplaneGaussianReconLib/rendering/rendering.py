"""Drawing a model: on any planes, or on a whole grid."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config.names import Backend
from ..data.geometry import AXES, Axis, Grid, PlaneStack, array_axis
from ..data.model_space import depth_range
from ..gaussians.cloud import Gaussians
from ..labels.channels import LabelChannels
from ..model.model import Model
from ..model.shards import Shard, joined
from ..rasterizer.modes import MODES
from ..rasterizer.rasterize import EPSILON, rasterize
from ..runtime.memory import is_lack, release
from .renderer import Renderer

# Dense channels of so many bytes are drawn at a time; labels are decoded before the next planes are drawn.
CHUNK_BYTES = 128 * 2 ** 20
# Gaussians whose parameters take so many bytes are drawn together.
CLOUD_BYTES = 512 * 2 ** 20
_POINT_BYTES = 200  # that looking up the expected error takes at its peak
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Drawn:
    """What a model shows on planes.

    image: [plane, row, column] in the type of `IntensityScale.dtype`, input units.
    layers: [layer, plane, row, column] label values, or None.
    """

    image: np.ndarray
    layers: np.ndarray | None


def draw(model: Model, planes: PlaneStack, backend: Backend, tick: Callable[[int, int], None] | None = None,
         device: torch.device = CPU) -> Drawn:
    """Draw `model` on `planes` (LPS mm).  tick: called with (planes done, planes)."""
    channels = LabelChannels(model.segments)
    renderer = Renderer(model.mode, model.cutoff, backend, channels.count)
    image = np.empty(planes.shape, model.intensity.dtype)
    layers = _empty_layers(model, planes.shape)
    for some, raster in rasters(renderer, model.parts, model.local(planes), device):
        if tick is not None:
            tick(some.start, len(planes))
        image[some] = _in_input_units(model, raster)
        if layers is not None:
            layers[:, some] = channels.decode(raster, len(layers), layers.dtype)
    return Drawn(image, layers)


def draw_grid(model: Model, grid: Grid, backend: Backend, tick: Callable[[int, int], None] | None = None,
              device: torch.device = CPU) -> Drawn:
    """Draw `model` on every voxel of `grid`; arrays are [k, j, i] (layers: [layer, k, j, i])."""
    volume_renderer = VolumeRenderer(model, grid, model.intensity.dtype)
    volume_renderer.advance(model.parts, np.inf, backend, device, tick)
    return Drawn(volume_renderer.volume, volume_renderer.layers)


class VolumeRenderer:
    """A dense grid that is filled plane by plane, as soon as all Gaussians that reach a plane are known.

    volume: [k, j, i].  layers: [layer, k, j, i] label values, or None.
    """

    def __init__(self, model: Model, grid: Grid, dtype: np.dtype) -> None:
        """model: what to draw; its parts are given later.  dtype: voxel type of the volume."""
        axis = slicing_axis(model.frame, grid)
        self._model, self._across = model, array_axis(axis)
        self._channels = LabelChannels(model.segments)
        self._planes = model.local(grid.planes(axis, np.arange(grid.count(axis))))
        self._depths = depth_range(self._planes)
        self._waiting = np.ones(len(self._planes), bool)
        self.volume = np.empty(grid.shape, dtype)
        self.layers = _empty_layers(model, grid.shape)

    @property
    def needs(self) -> float:
        """Depth (mm) from which Gaussians are still needed."""
        return float(self._depths[self._waiting, 0].min(initial=np.inf))

    def plane(self, index: int) -> np.ndarray | None:
        """Slice `index` of the volume, [row, column]; None as long as it is not drawn."""
        return None if self._waiting[index] else self.volume.take(index, self._across)

    def advance(self, parts: Sequence[Shard], depth: float, backend: Backend, device: torch.device,
                tick: Callable[[int, int], None] | None = None) -> None:
        """Draw the planes that do not go beyond `depth` (mm), below which all Gaussians are among `parts`.

        tick: called with (planes done, planes).  Where memory does not suffice less is drawn at a time.
        """
        renderer = Renderer(self._model.mode, self._model.cutoff, backend, self._channels.count)
        chunk = CHUNK_BYTES
        while True:
            ready = np.flatnonzero(self._waiting & (self._depths[:, 1] < depth))
            try:
                for some, raster in rasters(renderer, parts, self._planes.subset(ready), device, chunk):
                    if tick is not None:
                        tick(int((~self._waiting).sum()), len(self._waiting))
                    self._put(ready[some], raster)
                return
            except (MemoryError, RuntimeError) as error:
                if not is_lack(error) or chunk < 4 * self._planes.rows * self._planes.columns:
                    raise
            chunk //= 4
            release(device)

    def _put(self, numbers: np.ndarray, raster: Tensor) -> None:
        np.moveaxis(self.volume, self._across, 0)[numbers] = as_type(_in_input_units(self._model, raster),
                                                                     self.volume.dtype)
        if self.layers is not None:
            np.moveaxis(self.layers, self._across + 1, 1)[:, numbers] = self._channels.decode(
                raster, len(self.layers), self.layers.dtype)
        self._waiting[numbers] = False


def rasters(renderer: Renderer, parts: Sequence[Shard], planes: PlaneStack, device: torch.device,
            chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[slice, Tensor]]:
    """Draw `parts` on `planes` (model's frame), some at a time; yields which, and [plane, channel, row, column].

    Only parts that reach these planes are brought into memory, and no more at a time than CLOUD_BYTES.
    """
    size = max(1, chunk_bytes // (4 * renderer.channel_count * planes.rows * planes.columns))
    depths, clouds = depth_range(planes), _Clouds(device)
    with torch.no_grad():
        for start in range(0, len(planes), size):
            some = slice(start, min(start + size, len(planes)))
            here = planes.subset(some)
            groups = _groups([part for part in parts if part.reaches(*_hull(depths[some]))], renderer.mode)
            if not groups:
                yield some, torch.zeros(len(here), renderer.channel_count, here.rows, here.columns)
            elif len(groups) == 1:
                yield some, renderer(clouds.of(groups[0]), here)
            else:
                yield some, _in_turn(renderer, groups, clouds, here, depths[some])


def expected_error_on_grid(model: Model, grid: Grid, device: torch.device = CPU) -> np.ndarray:
    """Expected absolute error [k, j, i] on every voxel of `grid`, float32, input units; computed on `device`."""
    axis = slicing_axis(model.frame, grid)
    errors = np.empty(grid.shape, np.float32)
    planes = grid.planes(axis, np.arange(grid.count(axis)))
    _fill_expected_error(model, planes, np.moveaxis(errors, array_axis(axis), 0), device)
    return errors


def slicing_axis(frame: np.ndarray, grid: Grid) -> Axis:
    """The axis of `grid` nearest to the depth axis of a model's `frame`: slices across it are quickest to draw."""
    return AXES[int(np.abs(np.asarray(grid.direction).T @ frame[:3, 2]).argmax())]


def as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert float `values` to the voxel type `dtype`, rounded; the ends of wide integer types do not wrap."""
    if np.issubdtype(dtype, np.integer):
        largest = values.dtype.type(np.iinfo(dtype).max)
        if int(largest) > np.iinfo(dtype).max:  # there is no such number in floats, and it was rounded up
            largest = np.nextafter(largest, values.dtype.type(0))
        values = np.minimum(np.rint(values), largest)
    return values.astype(dtype)


class _Clouds:
    """Groups of parts as the rasterizer wants them; the last one is kept, since the next planes mostly need it too."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._parts = device, list[Shard]()
        self._cloud: Gaussians | None = None

    def of(self, parts: list[Shard]) -> Gaussians:
        if self._cloud is None or parts != self._parts:
            self._cloud = None  # goes before the next one comes
            self._cloud = joined([part.load() for part in parts]).to(self._device).drawn()
            self._parts = parts
        return self._cloud


def _groups(parts: Sequence[Shard], mode: str) -> list[list[Shard]]:
    """Parts that are drawn together: as many as CLOUD_BYTES allows, or all where their order matters."""
    groups: list[list[Shard]] = []
    for part in parts:
        if groups and (MODES[mode].is_ordered or sum(p.size for p in groups[-1]) + part.size <= CLOUD_BYTES):
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def _in_turn(renderer: Renderer, groups: list[list[Shard]], clouds: _Clouds, planes: PlaneStack, depths: np.ndarray
             ) -> Tensor:
    """Draw groups one after another: sums of numerators and weights, divided at the end."""
    total: Tensor | None = None
    for group in groups:
        reached = np.flatnonzero([any(part.reaches(*ends) for part in group) for ends in depths])
        raster = rasterize(clouds.of(group), planes.subset(reached), mode="additive", backend=renderer.backend,
                           channel_count=renderer.channel_count, cutoff=renderer.cutoff)
        both = torch.cat([raster.channels, raster.weight_sum[:, None]], dim=1)
        if total is None:
            total = both.new_zeros(len(planes), *both.shape[1:])
        total.index_add_(0, torch.from_numpy(reached).to(both.device), both)
    assert total is not None
    return total[:, :-1] / (total[:, -1:] + EPSILON) if MODES[renderer.mode].is_normalised else total[:, :-1]


def _hull(depths: np.ndarray) -> tuple[float, float]:
    return float(depths[:, 0].min()), float(depths[:, 1].max())


def _empty_layers(model: Model, shape: tuple[int, int, int]) -> np.ndarray | None:
    """[layer, *shape] of the smallest type that holds all label values; None without labels."""
    if not model.segments:
        return None
    values = [0, *(s.value for s in model.segments)]
    dtype = np.result_type(np.min_scalar_type(min(values)), np.min_scalar_type(max(values)))
    return np.zeros((1 + max(s.layer for s in model.segments), *shape), dtype)


def _in_input_units(model: Model, raster: Tensor) -> np.ndarray:
    return model.intensity.to_input(raster[:, 0].cpu().numpy() + np.float32(model.intensity.background))


def _fill_expected_error(model: Model, planes: PlaneStack, errors: np.ndarray, device: torch.device) -> None:
    local = model.local(planes)
    at_a_time = max(1, CHUNK_BYTES // (_POINT_BYTES * planes.rows * planes.columns))
    for first in range(0, len(local), at_a_time):
        some = slice(first, first + at_a_time)
        errors[some] = model.expected_error.at(_points(local.subset(some), device)).cpu().numpy()


def _points(planes: PlaneStack, device: torch.device) -> Tensor:
    """(planes, rows, columns, 3) mm, float64, all pixel centres."""
    origins, row_step, column_step = (torch.from_numpy(part).to(device)
                                      for part in (planes.origins, planes.row_step, planes.column_step))
    rows = torch.arange(planes.rows, device=device)[:, None, None] * row_step
    columns = torch.arange(planes.columns, device=device)[:, None] * column_step
    return origins[:, None, None] + rows + columns
