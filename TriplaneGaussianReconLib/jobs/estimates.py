"""How long a reconstruction takes, and how much memory, before it starts.

Estimates are straight lines: a constant, mostly for learning, and a part that grows with the number of Gaussians.
There is about one Gaussian per pixel of each observed slice and of each layer in a gap.  Empty regions have fewer, and
take less.  Where labels are filled on slices whose image is known that comes on top: training, in proportion to steps,
pixels of a batch and width of the network, and a part that grows with the voxels; both grow with the number of labels.

- CPU, two cores: fitted to `fast` on cubes of 64 to 160 voxels (0.2 to 3 million Gaussians, labels or none), which it
  matches to 8 % in time and in memory.  `balanced` goes through two cubes without labels (64 and 160 voxels) and one
  with two labels (64), `paper` through two (64 and 96); what labels add to that is a guess.  More cores are faster, by
  how much was not measured.
- GPU, an NVIDIA H200: through the times of 160 x 160 x 160 (1.8, 7.0 and 29 s) with the growth from there to
  512 x 512 x 400, and the share of labels of fifteen real volumes.  Other GPUs are slower.
- Filling labels, on two cores: `fast` on three volumes (0.25 to 5.6 million voxels, 1 to 45 labels, 1 to 900 steps),
  which it matches to 25 % in time.  What starts from what an earlier run learnt makes a share of the steps (`again`).
  On a GPU a tenth of it is a guess.
- A preset that was not measured is guessed from the default preset, by how much more its networks compute.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..config.data import GapSamplingConfig
from ..config.label_completion import LabelCompletionConfig
from ..config.presets import DEFAULT_PRESET, NetworkConfig, Preset, preset_named
from ..data.gap_sampling import layer_count, plane_counts
from ..data.geometry import AXES, Axis, Grid
from ..data.observations import closest_first
from ..data.selection import Selection

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


_MEASURED: dict[DeviceKind, dict[str, _Cost]] = {
    "cpu": {"fast": _Cost(15.8, 19.8, 7.0), "balanced": _Cost(233.0, 64.0, 12.0),
            "best": _Cost(9000.0, 900.0, 300.0, is_measured=False),  # a guess from what its networks compute
            "paper": _Cost(9.4, 5.0, 22.0, memory=2.2)},
    "cuda": {"fast": _Cost(1.4, 1.2, 0.15), "balanced": _Cost(6.4, 1.3, 0.2), "best": _Cost(28.0, 4.0, 0.3),
             "paper": _Cost(0.5, 0.5, 0.6, memory=2.2)},
}
# Bytes: for the program itself, for each Gaussian, and more for each Gaussian with labels; on the host and on the GPU.
_HOST_BYTES: dict[DeviceKind, tuple[float, float, float]] = {"cpu": (0.5e9, 520.0, 250.0), "cuda": (2.0e9, 85.0, 60.0)}
_GPU_BYTES = (0.3e9, 300.0, 330.0)
# Filling labels: for the program itself; for a pixel of a step and a channel of the network; for a million voxels; how
# much more for each label; bytes of a voxel, and more for each label; how much longer a GPU takes.
_START_SECONDS: dict[DeviceKind, float] = {"cpu": 2.5, "cuda": 1.0}
_STEP_SECONDS, _STEP_LABEL = 1.6e-7, 0.02
_VOXEL_SECONDS, _VOXEL_LABEL_SECONDS = 0.9, 0.035
_VOXEL_BYTES, _VOXEL_LABEL_BYTES = 60.0, 2.5
_FILLING: dict[DeviceKind, float] = {"cpu": 1.0, "cuda": 0.1}


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


def estimate(grid: Grid, observed: Mapping[Axis, Selection], has_labels: bool, preset: str, kind: DeviceKind,
             filled: int = 0, fits: bool = True, is_warm: bool = False) -> Estimate:
    """Return what to expect.

    Args:
        grid: Of the volume.
        observed: Which slices are used, by axis.
        has_labels: Whether there are labels.
        preset: Its name.
        kind: `cpu`, or `cuda` for any GPU.
        filled: How many labels are filled on used slices that carry none; 0 where all carry labels.
        fits: Whether Gaussians are fitted, see `Request.needs_fitting`.
        is_warm: Whether filling labels starts from what an earlier run learnt.

    Raises:
        InputError: There is no such preset.
    """
    chosen = preset_named(preset)
    expected = _known(kind) if not fits else _fitted(grid, observed, has_labels, chosen, kind)
    if not filled:
        return expected
    config = chosen.label_completion
    if is_warm:
        config = replace(config, steps=round(config.again * config.steps))
    return _filled(expected, grid, observed, filled, config, kind)


def _fitted(grid: Grid, observed: Mapping[Axis, Selection], has_labels: bool, preset: Preset, kind: DeviceKind
            ) -> Estimate:
    """What learning, fitting and drawing take."""
    cost, millions = _cost(preset, kind), gaussians(grid, observed, preset.gap_sampling) / 1e6
    seconds = cost.fixed + cost.labels * has_labels + cost.per_million * millions
    host, gpu = ((base + millions * 1e6 * cost.memory * (each + labelled * has_labels))
                 for base, each, labelled in (_HOST_BYTES[kind], _GPU_BYTES))
    return Estimate(seconds, int(host), int(gpu) if kind == "cuda" else 0, cost.is_measured)


def _known(kind: DeviceKind) -> Estimate:
    """What it takes to return what is known."""
    return Estimate(_START_SECONDS[kind], int(_HOST_BYTES[kind][0]), int(_GPU_BYTES[0]) if kind == "cuda" else 0, True)


def _filled(expected: Estimate, grid: Grid, observed: Mapping[Axis, Selection], labels: int,
            config: LabelCompletionConfig, kind: DeviceKind) -> Estimate:
    """The same where labels are filled before; they look at the used slices, and at patches of these."""
    axis = closest_first(grid, observed)[0]
    sides = [count for count, name in zip(grid.shape[::-1], AXES, strict=True) if name != axis]
    voxels, patch = len(observed[axis]) * sides[0] * sides[1], np.minimum(sides, config.examples.patch).prod()
    steps = _STEP_SECONDS * config.steps * config.batch * float(patch) * config.network.width * (
        1.0 + _STEP_LABEL * labels)
    rest = voxels / 1e6 * (_VOXEL_SECONDS + _VOXEL_LABEL_SECONDS * labels)
    # The memory is free again before anything is fitted.
    host = max(expected.memory_bytes, int(_HOST_BYTES[kind][0] + voxels * (_VOXEL_BYTES + _VOXEL_LABEL_BYTES * labels)))
    return Estimate(expected.seconds + _FILLING[kind] * (steps + rest), host, expected.gpu_memory_bytes,
                    expected.is_measured and kind == "cpu")


def _cost(preset: Preset, kind: DeviceKind) -> _Cost:
    """Measured, or guessed from that of the default preset."""
    known = _MEASURED[kind]
    return known[preset.name] if preset.name in known else _guessed(preset, known[DEFAULT_PRESET])


def _guessed(preset: Preset, reference: _Cost) -> _Cost:
    """Cost of a preset that was not measured, from that of the default preset."""
    default = preset_named(DEFAULT_PRESET)
    image = (_operations(preset.super_resolution) + _operations(preset.fusion)) / _operations(default.super_resolution)
    labels = _operations(preset.label_super_resolution) / _operations(default.label_super_resolution)
    drawn = (preset.training.steps + preset.refinement_steps) / (default.training.steps + default.refinement_steps)
    return _Cost(max(image, 0.1) * reference.fixed, max(labels, 0.1) * reference.labels,
                 max(drawn, 1.0) * reference.per_million, is_measured=False)


def _operations(network: NetworkConfig | None) -> float:
    """What training it takes, in proportion: multiplications in its blocks."""
    if network is None:
        return 0.0
    return float(network.steps * network.batch * network.blocks * network.width ** 2)


def gaussians(grid: Grid, observed: Mapping[Axis, Selection], gap_sampling: GapSamplingConfig) -> int:
    """Return how many Gaussians there are where nothing is empty."""
    axis = closest_first(grid, observed)[0]
    number = AXES.index(axis)
    pixel = min(step for n, step in enumerate(grid.spacing) if n != number)
    step = grid.spacing[number]
    places = np.asarray(grid.depths) if grid.depths and axis == "k" else np.arange(grid.count(axis)) * step
    counts = plane_counts(np.diff(places[list(observed[axis].indices)]), pixel, step, gap_sampling)
    layers = len(observed[axis]) + sum(map(layer_count, counts.tolist()))
    return layers * (grid.shape[0] * grid.shape[1] * grid.shape[2] // grid.count(axis))
