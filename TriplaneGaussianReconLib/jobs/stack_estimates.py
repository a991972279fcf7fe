"""How long a reconstruction from several volumes takes, and how much memory, before it starts.

Estimates are straight lines through what `costs` holds: a constant, for training the network and looking for each
further volume, and a part that grows with the pairs of a pixel and a Gaussian that it sees, over which everything is
solved again and again.  What was not measured is guessed from `fast` on a CPU: other presets by how many more steps
they take, GPUs, and what labels add.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config.presets import DEFAULT_PRESET, preset_named
from ..config.stacks import StackConfig
from ..data.geometry import Grid, PlaneStack
from ..data.output_grid import cubes_about, is_cubic
from ..data.slice_profile import ProfileGaussians, SliceProfile
from ..data.stack_input import StackInput
from ..runtime.memory import stacks_bytes
from . import costs
from .costs import DeviceKind
from .estimates import Estimate, Slowness


@dataclass(frozen=True)
class SeenSlices:
    """The slices of one volume, without voxels: as those of `data.observations.SliceStack`."""

    planes: PlaneStack
    thickness: float | None
    profile: SliceProfile | None

    @classmethod
    def of(cls, given: StackInput) -> SeenSlices:
        """Take the used slices of a volume; its voxels are not looked at, so margins count that a run leaves out."""
        planes = given.image.grid.planes(given.slice_axis, given.used.indices)
        return cls(given.known.placed(planes), given.width, given.profile)


def estimate_stacks(stacks: Sequence[SeenSlices], output: Grid | float | None, has_labels: bool, preset: str,
                    kind: DeviceKind, moves: bool, slowness: Slowness) -> Estimate:
    """Return what to expect.

    Args:
        stacks: The volumes.
        output: Voxels of the result; or mm, the side of cubic ones about all volumes, None for the smallest pixel.
        has_labels: Whether any has labels.
        preset: Its name.
        kind: `cpu`, or `cuda` for any GPU.
        moves: Whether motion is looked for.
        slowness: Of the computer.

    Raises:
        InputError: There is no such preset, or the voxels cannot be.
    """
    config = preset_named(preset).stacks
    lattice = _lattice(stacks, output)
    entries = pairs(stacks, lattice, config)
    voxels = float(np.prod(lattice.shape, dtype=float))
    seconds = _more(config) * (costs.STACKS_FIXED + costs.STACKS_PER_MILLION * entries / 1e6)
    seconds += moves * (len(stacks) - 1) * costs.STACKS_MOTION
    seconds *= costs.STACKS_ON[kind] * slowness.learning
    held = costs.STACKS_MEMORY * stacks_bytes(entries, voxels, kind == "cpu")
    host = costs.STACKS_BYTES[kind] + (held if kind == "cpu" else costs.RESULT_BYTES * voxels)
    return Estimate(seconds, int(host), int(costs.GPU_BYTES[0] + held) if kind == "cuda" else 0,
                    kind == "cpu" and preset == DEFAULT_PRESET and not has_labels)


def pairs(stacks: Sequence[SeenSlices], lattice: Grid, config: StackConfig) -> float:
    """Return about how many pairs there are of a pixel and a Gaussian that it sees; lattice: of the Gaussians."""
    pitch = float(min(lattice.spacing))
    profiles = [ProfileGaussians.of(each.profile or "gaussian", each.thickness or pitch, pitch) for each in stacks]
    return sum(float(np.prod(each.planes.shape)) * profile.entries(pitch, config.sigma * pitch, config.cutoff)
               for each, profile in zip(stacks, profiles, strict=True))


def _lattice(stacks: Sequence[SeenSlices], output: Grid | float | None) -> Grid:
    """The voxels that are solved for."""
    if isinstance(output, Grid) and is_cubic(output):
        return output
    return cubes_about([(each.planes, each.thickness) for each in stacks],
                       None if isinstance(output, Grid) else output)


def _more(config: StackConfig) -> float:
    """How many times the steps of the default preset; those of a wider network count for more."""
    default = preset_named(DEFAULT_PRESET).stacks
    solving = [each.steps - each.restoration.steps for each in (config, default)]
    training = [each.restoration.steps * each.restoration.width ** 2 for each in (config, default)]
    return max(solving[0] / solving[1], training[0] / training[1])
