"""How long a reconstruction takes, and how much memory, before it starts.

Estimates are straight lines through what `costs` holds: a constant, mostly for learning, and a part that grows with the
number of Gaussians.  Networks that the slices cannot train are left out (`untrained`).  There is about one Gaussian per
pixel of each observed slice and of each layer in a gap.  Empty regions have fewer, and take less.  Where labels are
filled on slices whose image is known that comes on top: training, in proportion to steps, pixels of a batch and width
of the network, and a part that grows with the voxels; both grow with the number of labels.  What starts from what an
earlier run learnt makes a share of the steps (`again`).  A preset that was not measured is guessed from the default
preset, by how much more its networks compute.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..config.data import GapSamplingConfig
from ..config.label_completion import LabelCompletionConfig
from ..config.presets import DEFAULT_PRESET, NetworkConfig, Preset, in_steps, preset_named
from ..data.gap_sampling import layer_count, plane_counts
from ..data.geometry import AXES, Axis, Grid
from ..data.observations import closest_first
from ..data.selection import Selection
from ..runtime.memory import MOST_AT_A_TIME
from ..runtime.processors import usable_threads
from . import costs
from .costs import Cost, DeviceKind
from .untrained import Untrained

NETWORKS_AT_A_TIME = 2  # that a CPU trains, see `super_resolution.train_all`


@dataclass(frozen=True)
class Slowness:
    """How many times as long a computer takes as the one on which costs were measured, see `calibration`.

    Attributes:
        learning: For training networks.
        drawing: For what grows with the volume.
    """

    learning: float = 1.0
    drawing: float = 1.0

    def with_threads(self, threads: int | None) -> Slowness:
        """The same where so many threads are used instead of all that may be; None for all."""
        usable = usable_threads()
        used = usable if threads is None else min(threads, usable)
        at_a_time = [min(count, NETWORKS_AT_A_TIME) for count in (usable, used)]
        return Slowness(self.learning * at_a_time[0] / at_a_time[1], self.drawing * usable / used)


@dataclass(frozen=True)
class Estimate:
    """What a reconstruction is expected to take if nothing else begins to work on the computer.

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
             filled: int = 0, fits: bool = True, is_warm: bool = False, slowness: Slowness = Slowness(),
             steps: int | None = None) -> Estimate:
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
        slowness: Of the computer.
        steps: Of the training of Gaussians; None for those of the preset.

    Raises:
        InputError: There is no such preset, or it trains no Gaussians.
    """
    chosen = preset_named(preset) if steps is None else in_steps(preset_named(preset), steps)
    expected = _known(kind, slowness) if not fits else _fitted(grid, observed, has_labels, chosen, kind, slowness)
    if not filled:
        return expected
    config = chosen.label_completion
    if is_warm:
        config = replace(config, steps=round(config.again * config.steps))
    return _filled(expected, grid, observed, filled, config, kind, slowness)


def _fitted(grid: Grid, observed: Mapping[Axis, Selection], has_labels: bool, preset: Preset, kind: DeviceKind,
            slowness: Slowness) -> Estimate:
    """What learning, fitting and drawing take."""
    cost, millions = _cost(preset, kind), gaussians(grid, observed, preset.gap_sampling) / 1e6
    seconds = slowness.learning * _learning(cost, Untrained.of(grid, observed, preset), has_labels, kind)
    seconds += slowness.drawing * cost.per_million * millions
    seconds += slowness.drawing * cost.per_step * preset.training.steps * _used_pixels(grid, observed) / 1e6
    # Of a slab; what is trained is not cut into slabs.
    most = np.inf if preset.training.steps else costs.SLAB_SHARE * MOST_AT_A_TIME
    host, gpu = (base + min(millions * 1e6 * cost.memory * (each + labelled * has_labels), most)
                 for base, each, labelled in (costs.HOST_BYTES[kind], costs.GPU_BYTES))
    host += costs.RESULT_BYTES * float(np.prod(grid.shape, dtype=float))
    return Estimate(seconds, int(host), int(gpu) if kind == "cuda" else 0, cost.is_measured)


def _learning(cost: Cost, untrained: Untrained, has_labels: bool, kind: DeviceKind) -> float:
    """Seconds of a preset for what does not grow with the volume, mostly learning; less where networks are left out."""
    fixed = cost.fixed * (1.0 - costs.FUSION_SHARE * untrained.fusion)
    if untrained.image:
        fixed = min(cost.fixed, costs.START_SECONDS[kind])
    return fixed + cost.labels * (has_labels and not untrained.labels)


def _used_pixels(grid: Grid, observed: Mapping[Axis, Selection]) -> float:
    """Of all used slices."""
    return float(sum(len(slices) / grid.count(axis) for axis, slices in observed.items()) * np.prod(grid.shape))


def _known(kind: DeviceKind, slowness: Slowness) -> Estimate:
    """What it takes to return what is known."""
    return Estimate(slowness.learning * costs.START_SECONDS[kind], int(costs.START_BYTES[kind]),
                    int(costs.GPU_BYTES[0]) if kind == "cuda" else 0, True)


def _filled(expected: Estimate, grid: Grid, observed: Mapping[Axis, Selection], labels: int,
            config: LabelCompletionConfig, kind: DeviceKind, slowness: Slowness) -> Estimate:
    """The same where labels are filled before; they look at the used slices, and at patches of these."""
    axis = closest_first(grid, observed)[0]
    sides = [count for count, name in zip(grid.shape[::-1], AXES, strict=True) if name != axis]
    voxels, patch = len(observed[axis]) * sides[0] * sides[1], np.minimum(sides, config.examples.patch).prod()
    steps = costs.STEP_SECONDS * config.steps * config.batch * float(patch) * config.network.width * (
        1.0 + costs.STEP_LABEL * labels)
    rest = voxels / 1e6 * (costs.VOXEL_SECONDS + costs.VOXEL_LABEL_SECONDS * labels)
    # The memory is free again before anything is fitted.
    held = costs.START_BYTES[kind] + voxels * (costs.VOXEL_BYTES + costs.VOXEL_LABEL_BYTES * labels)
    host = max(expected.memory_bytes, int(held))
    seconds = costs.FILLING[kind] * (slowness.learning * steps + slowness.drawing * rest)
    return Estimate(expected.seconds + seconds, host, expected.gpu_memory_bytes,
                    expected.is_measured and kind == "cpu")


def _cost(preset: Preset, kind: DeviceKind) -> Cost:
    """Measured, or guessed from that of the default preset."""
    known = costs.COSTS[kind]
    return known[preset.name] if preset.name in known else _guessed(preset, known[DEFAULT_PRESET])


def _guessed(preset: Preset, reference: Cost) -> Cost:
    """Cost of a preset that was not measured, from that of the default preset."""
    default = preset_named(DEFAULT_PRESET)
    image = (_operations(preset.super_resolution) + _operations(preset.fusion)) / _operations(default.super_resolution)
    labels = _operations(preset.label_super_resolution) / _operations(default.label_super_resolution)
    drawn = (4 * preset.training.steps + preset.refinement_steps) / default.refinement_steps  # a gradient is dear
    return Cost(max(image, 0.1) * reference.fixed, max(labels, 0.1) * reference.labels,
                max(drawn, 1.0) * reference.per_million, is_measured=False)


def _operations(network: NetworkConfig | None) -> float:
    """What training it takes, in proportion; none without a network."""
    return 0.0 if network is None else network.operations


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
