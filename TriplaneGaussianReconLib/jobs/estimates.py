"""How long a reconstruction takes, and how much memory, before it starts.

Both estimates are straight lines: a constant, mostly for learning, and a part that grows with the number of Gaussians.
There is about one Gaussian per pixel of each trusted slice and of each layer in a gap.  Empty regions have fewer, and
take less.

- CPU, two cores: `fast` was fitted to cubes of 64 to 160 voxels a side (0.2 to 3 million Gaussians, with labels and
  without), which the line matches to 8 % in time and in memory.  `balanced` goes through two cubes without labels (64
  and 160) and one with two labels (64), `paper` through two cubes (64 and 96).  What labels add to `paper`, and all of
  `best`, is a guess.  How much faster more cores are was not measured.
- GPU, an NVIDIA H200: the line goes through the times of 160 x 160 x 160 (1.8, 7.0 and 29 s), with the growth from
  there to 512 x 512 x 400 and the share that labels took in fifteen real volumes.  Other GPUs are slower.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..data.gap_sampling import layer_count, plane_counts
from ..data.geometry import AXES, Axis, Grid
from ..data.observations import closest_first
from ..data.selection import Selection
from ..errors import InputError

DeviceKind = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class _Cost:
    """What a preset costs: seconds for any volume, further seconds with labels, and seconds per million Gaussians.

    memory: of a Gaussian, as a multiple of what it takes in `fast`.
    """

    fixed: float
    labels: float
    per_million: float
    is_measured: bool = True
    memory: float = 1.0


_SECONDS: dict[DeviceKind, dict[str, _Cost]] = {
    "cpu": {"fast": _Cost(15.8, 19.8, 7.0), "balanced": _Cost(233.0, 64.0, 12.0),
            # `balanced`, times how much more its networks have to compute.
            "best": _Cost(9000.0, 900.0, 300.0, is_measured=False), "paper": _Cost(9.4, 5.0, 22.0, memory=2.2)},
    "cuda": {"fast": _Cost(1.4, 1.2, 0.15), "balanced": _Cost(6.4, 1.3, 0.2), "best": _Cost(28.0, 4.0, 0.3),
             "paper": _Cost(0.5, 0.5, 0.6, memory=2.2)},
}
# Bytes: for the program itself, for each Gaussian, and more for each Gaussian with labels; on the host and on the GPU.
_HOST_BYTES: dict[DeviceKind, tuple[float, float, float]] = {"cpu": (0.5e9, 520.0, 250.0), "cuda": (2.0e9, 85.0, 60.0)}
_GPU_BYTES = (0.3e9, 300.0, 330.0)


@dataclass(frozen=True)
class Estimate:
    """What a reconstruction is expected to take on an otherwise idle computer.

    Attributes:
        seconds: From start to end.
        memory_bytes: Of the host, at the peak, if so much is free; with less the work is cut into slabs.
        gpu_memory_bytes: Likewise on the GPU; 0 without one.
        is_measured: Whether such runs were measured; if not, this is a guess.
    """

    seconds: float
    memory_bytes: int
    gpu_memory_bytes: int
    is_measured: bool


def estimate(grid: Grid, trusted: Mapping[Axis, Selection], has_labels: bool, preset: str, kind: DeviceKind
             ) -> Estimate:
    """Return what to expect.

    Args:
        grid: Of the volume.
        trusted: Which slices are used, by axis.
        has_labels: Whether there are labels.
        preset: Its name.
        kind: `cpu`, or `cuda` for any GPU.

    Raises:
        InputError: There is no such preset.
    """
    if preset not in _SECONDS[kind]:
        raise InputError(f"Unknown preset '{preset}'. Choose one of {', '.join(_SECONDS[kind])}.")
    cost, millions = _SECONDS[kind][preset], gaussians(grid, trusted) / 1e6
    seconds = cost.fixed + cost.labels * has_labels + cost.per_million * millions
    host, gpu = ((base + millions * 1e6 * cost.memory * (each + labelled * has_labels))
                 for base, each, labelled in (_HOST_BYTES[kind], _GPU_BYTES))
    return Estimate(seconds, int(host), int(gpu) if kind == "cuda" else 0, cost.is_measured)


def gaussians(grid: Grid, trusted: Mapping[Axis, Selection]) -> int:
    """Return how many Gaussians a volume without empty regions has."""
    axis = closest_first(grid, trusted)[0]
    number = AXES.index(axis)
    pixel = min(step for n, step in enumerate(grid.spacing) if n != number)
    step = grid.spacing[number]
    counts = plane_counts(np.diff(trusted[axis].indices) * step, pixel, step)
    layers = len(trusted[axis]) + sum(map(layer_count, counts.tolist()))
    return layers * (grid.shape[0] * grid.shape[1] * grid.shape[2] // grid.count(axis))
