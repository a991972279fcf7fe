"""The rasterizer for NVIDIA GPUs: kernels as one autograd function.

In the modes that are sums (`cuda_sums.cu`) every Gaussian adds itself to the pixels that it reaches, and collects its
gradients from them.  There are no lists and no sorting, and a Gaussian visits only the channels that it has.

In mode `alpha` (`cuda_alpha.cu`) every tile sorts the Gaussians that touch it and composites them front to back.  The
backward pass goes front to back once more and takes away what it has passed.

Sums are sums of scaled integers, so that results repeat bit by bit.  Nothing waits for the GPU, and all memory comes
from torch's allocator.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..cuda.program import Kernels, kernels
from ..cuda.source import Source
from ..data.geometry import PlaneStack
from ..errors import InputError
from ..gaussians.cloud import Gaussians
from .definitions import EPSILON, MAX_ALPHA, SHAPE_MOMENTS, SLOT_MOMENTS, depths, sorted_planes
from .modes import MODES

# Threads of a block: of kernels that need few registers, and of those that need many.
_LIGHT_THREADS, _HEAVY_THREADS = 256, 128

_TILE = 16  # pixels along each side of a tile in mode alpha; each pixel has a thread
_MOST_SLOTS = 512  # of one Gaussian in mode alpha
_BOUNDS, _GAINS, _OUTLINE_NUMBERS = 4, 2, 8  # how many numbers the kernels `bound`, `prepare` and `outline` write

# The kernels number pixels, and in mode alpha Gaussians, with 32 bits.
_MOST_PIXELS = _MOST_IN_ORDER = 2 ** 31 - 1

# Entries of all lists of mode alpha together.  If a list overflows, its tiles look through more Gaussians, no fewer.
_LISTED = 2 ** 24

_FOLDER = Path(__file__).parent
_CONSTANTS = {"LIGHT_THREADS": _LIGHT_THREADS, "HEAVY_THREADS": _HEAVY_THREADS, "BOUNDS": _BOUNDS, "GAINS": _GAINS,
              "SHAPE_MOMENTS": SHAPE_MOMENTS, "SLOT_MOMENTS": SLOT_MOMENTS, "EPSILON": EPSILON}

SUMS = Source(_FOLDER, ("cuda_planes.cuh", "cuda_gradients.cuh", "cuda_sums.cu"), _CONSTANTS)
ALPHA = Source(_FOLDER, ("cuda_planes.cuh", "cuda_gradients.cuh", "cuda_alpha.cu"), {
    **_CONSTANTS, "MAX_ALPHA": MAX_ALPHA, "TILE": _TILE, "TILE_THREADS": _TILE ** 2, "MOST_SLOTS": _MOST_SLOTS,
    "OUTLINE_NUMBERS": _OUTLINE_NUMBERS})

_stacks: WeakKeyDictionary[PlaneStack, dict[torch.device, Tensor]] = WeakKeyDictionary()


def _stack(planes: PlaneStack, device: torch.device) -> tuple[Tensor, int, int, int]:
    """Return the arguments that describe `planes` to a kernel, which are uploaded once."""
    uploaded = _stacks.setdefault(planes, {})
    if device not in uploaded:
        sheets = sorted_planes(planes)
        packed = np.concatenate([sheets.frame.ravel(), sheets.depths, sheets.columns, sheets.rows, sheets.places])
        uploaded[device] = torch.from_numpy(packed).to(device)
    return uploaded[device], *planes.shape


class _Launcher:
    """Runs kernels over a cloud and a stack of planes."""

    def __init__(self, tensors: tuple[Tensor, ...], planes: PlaneStack, mode: str, cutoff: float) -> None:
        self.device, self.dtype = tensors[0].device, tensors[0].dtype
        self.kernels: Kernels = kernels(self.device, ALPHA if MODES[mode].is_ordered else SUMS, self.dtype)
        self.count, self.slots = tensors[3].shape
        self.planes, self.area, self.cutoff = len(planes), planes.rows * planes.columns, cutoff
        if self.planes * self.area > _MOST_PIXELS or (MODES[mode].is_ordered and self.count > _MOST_IN_ORDER):
            raise InputError(f"{self.planes * self.area} pixels, or {self.count} Gaussians in order, are more than a "
                             "GPU draws at a time. Draw fewer planes at a time.")
        self.tiles = self.planes * -(-planes.rows // _TILE) * -(-planes.columns // _TILE)
        self.cloud: tuple[Tensor | int, ...] = (self.count, self.slots, *tensors)
        self.stack: tuple[Tensor | int, ...] = _stack(planes, self.device)

    def per_gaussian(self, name: str, threads: int, *arguments: Any) -> None:
        if self.count:
            self.kernels.launch(name, -(-self.count // threads), threads, *self.cloud, *self.stack, *arguments)

    def per_pixel(self, name: str, *arguments: Any) -> None:
        pixels = self.planes * self.area
        if pixels:
            self.kernels.launch(name, -(-pixels // _LIGHT_THREADS), _LIGHT_THREADS, *arguments)

    def per_tile(self, name: str, *arguments: Any) -> None:
        if self.tiles:
            self.kernels.launch(name, self.tiles, _TILE ** 2, *self.cloud, *self.stack, *arguments)

    def zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.zeros(shape, dtype=dtype or self.dtype, device=self.device)

    def empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device=self.device)


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, planes: PlaneStack, mode: str, channel_count: int, cutoff: float,
                *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """tensors: those of `Gaussians`, in its order."""
        tensors = tuple(tensor.contiguous() for tensor in tensors)
        run = _Launcher(tensors, planes, mode, cutoff)
        bounds = run.zeros(_BOUNDS, dtype=torch.float32)
        run.per_gaussian("bound", _LIGHT_THREADS, cutoff, bounds)
        ctx.order = ()
        if MODES[mode].is_ordered:
            ctx.order = _order(run, tensors[0], planes)
            channels, weight_sum = run.zeros(run.planes, channel_count, run.area), run.empty(run.planes, run.area)
            run.per_tile("composite", channel_count, cutoff, *ctx.order, bounds, channels, weight_sum)
        else:
            channels, weight_sum = run.empty(run.planes, channel_count, run.area), run.empty(run.planes, run.area)
            sums = run.zeros(channel_count + 1, run.planes, run.area, dtype=torch.int64)
            run.per_gaussian("scatter_image" if run.slots == 1 else "scatter_slots", _HEAVY_THREADS, cutoff,
                             channel_count, bounds, sums)
            run.per_pixel("resolve", run.count, run.slots, run.planes, run.area, channel_count,
                          MODES[mode].is_normalised, bounds, sums, channels, weight_sum)
        channels, weight_sum = channels.reshape(len(planes), channel_count, *planes.shape[1:]), weight_sum.reshape(
            planes.shape)
        ctx.save_for_backward(*tensors, bounds, channels, weight_sum)
        ctx.planes, ctx.mode, ctx.cutoff = planes, mode, cutoff
        return channels, weight_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, channel_gradient: Tensor, sum_gradient: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, bounds, channels, weight_sum = ctx.saved_tensors
        run = _Launcher(tuple(tensors), ctx.planes, ctx.mode, ctx.cutoff)
        alpha, channel_count = MODES[ctx.mode].is_ordered, channels.shape[1]
        source = run.empty(channel_count + 2, run.planes, run.area)
        gains = run.zeros(_GAINS, dtype=torch.float32) if alpha else None
        run.per_pixel("prepare", run.planes, run.area, channel_count, MODES[ctx.mode].is_normalised, channels,
                      weight_sum, channel_gradient.contiguous(), sum_gradient.contiguous(), source, gains)
        centres, precisions, _, _, slopes = ctx.needs_input_grad[4:9]
        full = centres or precisions
        wanted = (full, full, True, True, slopes)
        gradients = [torch.empty_like(tensor) if fill else None for tensor, fill in zip(tensors, wanted, strict=False)]
        if alpha:
            moments = run.zeros(run.count, SHAPE_MOMENTS + SLOT_MOMENTS * run.slots, dtype=torch.int64)
            run.per_tile("peel", channel_count, ctx.cutoff, *ctx.order, bounds, source, gains, moments)
            run.per_gaussian("finish", _HEAVY_THREADS, ctx.cutoff, bounds, gains, moments, *gradients)
        else:
            name = ("gather_image" if run.slots == 1 else "gather_slots") + ("" if full else "_values")
            run.per_gaussian(name, _HEAVY_THREADS, ctx.cutoff, channel_count, source, *gradients)
        return (None, None, None, None,
                *(gradient if asked else None
                  for gradient, asked in zip(gradients, ctx.needs_input_grad[4:9], strict=True)), None)


def _order(run: _Launcher, centres: Tensor, planes: PlaneStack) -> tuple[Tensor, Tensor, Tensor, int, Tensor, Tensor]:
    """Return what the tiles of mode alpha find their Gaussians with.

    That is depths, ascending, with their ids; outlines; and a list for each band of tiles: capacity, counts, entries.
    """
    if run.slots > _MOST_SLOTS:
        raise InputError(f"Mode alpha draws Gaussians of at most {_MOST_SLOTS} slots on a GPU, not {run.slots}. Use "
                         "the backend 'cpu', or fewer labels.")
    in_order = torch.sort(depths(centres, planes), stable=True)
    outlines = run.zeros(run.count, _OUTLINE_NUMBERS, dtype=torch.float32)
    bands = run.planes * -(-planes.rows // _TILE)
    capacity = min(run.count, _LISTED // max(bands, 1))
    counts = run.zeros(bands, dtype=torch.int32)
    entries = torch.empty(bands * capacity, dtype=torch.int32, device=run.device)
    run.per_gaussian("outline", _LIGHT_THREADS, run.cutoff, in_order.indices, outlines, capacity, counts, entries)
    return in_order.values, in_order.indices, outlines, capacity, counts, entries


def rasterize(gaussians: Gaussians, planes: PlaneStack, mode: str, channel_count: int,
              cutoff: float) -> tuple[Tensor, Tensor]:
    """Draw Gaussians on planes; `rasterize.rasterize` has checked the arguments and says what they are.

    Returns:
        Channels (P, channel_count, rows, columns) and weight sum (P, rows, columns).
    """
    channels, weight_sum = _Rasterize.apply(planes, mode, channel_count, cutoff, gaussians.centres,
                                            gaussians.precisions, gaussians.weights, gaussians.values,
                                            gaussians.slopes, gaussians.channels)
    return channels, weight_sum
