"""Drawing Gaussians on planes: one differentiable operation, several implementations.

`rasterize` evaluates a cloud on a stack of parallel planes.  With `q_i(x) = (x - centre)' precision (x - centre)`,
`G_i(x) = exp(-q_i / 2)` where `q_i <= cutoff` and 0 elsewhere, and a slot's value
`v_is(x) = value_is + slope_is . (x - centre_i)`, channel c at point x is in mode

- `additive`:   `sum of w_i G_i v_is` over all slots (i, s) with `channels[i, s] == c`;
- `normalised`: the same, divided by `sum over i of w_i G_i + EPSILON`;
- `alpha`:      `sum of v_is a_i T_i` with `a_i = min(MAX_ALPHA, w_i G_i)` and `T_i = product of (1 - a_j)` over all
  Gaussians j before i.  On each plane the Gaussians are ordered by the distance of their centre to the plane, nearest
  first, and by index where distances are equal.

All outputs are differentiable in centres, precisions, weights, values and slopes.  Truncation at `cutoff` and the
ceiling MAX_ALPHA have the gradient 0; the order of `alpha` is taken as constant.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..config.names import Backend
from ..data.geometry import PlaneStack
from ..errors import InputError
from ..gaussians.cloud import Gaussians
from .definitions import EPSILON, MAX_ALPHA
from .modes import MODES

__all__ = ["EPSILON", "MAX_ALPHA", "Raster", "rasterize"]

_Implementation = Callable[[Gaussians, PlaneStack, str, int, float], tuple[Tensor, Tensor]]

# The module of each implementation, imported at first use: numba is not needed to read a model, for instance.  Each
# has `rasterize(gaussians, planes, mode, channel_count, cutoff) -> (channels, weight_sum)` and gets checked input.
_MODULES: dict[str, str] = {"reference": ".reference", "cpu": ".cpu", "cuda": ".cuda"}

_channel_ranges = WeakTensorKeyDictionary()


@dataclass(frozen=True)
class Raster:
    """What `rasterize` draws on P planes.

    Attributes:
        channels: (P, channel_count, rows, columns), 0 where no Gaussian reaches.
        weight_sum: (P, rows, columns), the sum of `w_i G_i`; in mode `alpha` the accumulated opacity, sum of `a_i T_i`.
    """

    channels: Tensor
    weight_sum: Tensor


def rasterize(gaussians: Gaussians, planes: PlaneStack, *, mode: str, channel_count: int, backend: Backend = "cpu",
              cutoff: float = 12.0) -> Raster:
    """Draw Gaussians on planes; the module's text has the formulas.

    `cpu` and `cuda` draw only Gaussians whose precision is positive definite.  Both repeat bit by bit: `cpu` whatever
    the number of threads, `cuda` on GPUs of one kind.

    Args:
        gaussians: What to draw, in the model's frame: on a GPU for `cuda`, on the CPU for the others.
        planes: Where to draw, in the model's frame.
        mode: Name of the compositing mode.
        channel_count: Number of channels, the image included.
        backend: Which implementation.
        cutoff: Squared Mahalanobis distance beyond which a Gaussian is 0; 12 drops what is below exp(-6) = 0.25 %.

    Raises:
        InputError: For input that does not fit together.
        BackendUnavailableError: Where `cuda` cannot run.
    """
    implementation = _implementation(backend)
    _check(gaussians, mode, channel_count, cutoff, "cuda" if backend == "cuda" else "cpu")
    channels, weight_sum = implementation(gaussians, planes, mode, channel_count, float(cutoff))
    return Raster(channels, weight_sum)


def _implementation(backend: str) -> _Implementation:
    if backend not in _MODULES:
        raise InputError(f"Unknown rasterizer backend '{backend}'. Choose one of {', '.join(_MODULES)}.")
    implementation: _Implementation = import_module(_MODULES[backend], __package__).rasterize
    return implementation


def _check(gaussians: Gaussians, mode: str, channel_count: int, cutoff: float, device: str) -> None:
    """Raise InputError unless shapes, types, devices and channel numbers fit together."""
    if mode not in MODES:
        raise InputError(f"Unknown compositing mode '{mode}'. Choose one of {', '.join(MODES)}.")
    if channel_count < 1:
        raise InputError(f"At least one channel is needed, not {channel_count}.")
    if not 0 < cutoff < float("inf"):
        raise InputError(f"The cutoff must be positive and finite, not {cutoff}.")
    values = gaussians.values
    if values.ndim != 2:
        raise InputError(f"The values of Gaussians have the shape (N, S), not {tuple(values.shape)}.")
    count, slots = values.shape
    shapes = {"centres": (count, 3), "precisions": (count, 6), "weights": (count,), "values": (count, slots),
              "slopes": (count, slots, 3), "channels": (count, slots)}
    for name, shape in shapes.items():
        tensor = getattr(gaussians, name)
        if tuple(tensor.shape) != shape:
            raise InputError(f"The {name} of {count} Gaussians with {slots} slots have the shape {shape}, "
                             f"not {tuple(tensor.shape)}.")
        if tensor.device.type != device or tensor.device != values.device:
            raise InputError(f"The {name} are on device '{tensor.device}'. Move all tensors to one device '{device}'.")
        if name != "channels" and (tensor.dtype != values.dtype or tensor.dtype not in (torch.float32, torch.float64)):
            raise InputError(f"The {name} have the type {tensor.dtype}. Use float32, or float64, for all of them.")
    if gaussians.channels.dtype != torch.int32:
        raise InputError(f"The channels have the type {gaussians.channels.dtype}, not int32.")
    lowest, highest = _channel_range(gaussians.channels)
    if lowest < 0 or highest >= channel_count:
        raise InputError(f"Channels {lowest} to {highest} were asked for, but only 0 to {channel_count - 1} exist.")


def _channel_range(channels: Tensor) -> tuple[int, int]:
    """Return the lowest and the highest channel; looked up once per tensor, because reading them waits for a GPU."""
    version, lowest, highest = _channel_ranges.get(channels, (-1, 0, 0))
    if version != channels._version:
        if channels.numel():
            lowest, highest = (int(bound) for bound in torch.aminmax(channels))
        _channel_ranges[channels] = (channels._version, lowest, highest)
    return lowest, highest
