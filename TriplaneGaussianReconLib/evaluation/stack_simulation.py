"""Several thick stacks of one body, simulated from a dense volume: what was done to them is known.

A stack is a block of slices along one axis of the volume: thick along it, sharp across, on a grid of its own.  Its
header says nothing of how the body moved.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter
from scipy.spatial.transform import Rotation

from ..config.names import SIMULATED_FACTORS
from ..data.geometry import AXES, Axis, Grid, array_axis
from ..data.images import Image
from ..data.slice_profile import SliceProfile, profile_depths
from ..data.stack_input import StackInput
from ..errors import InputError

_THICK_ALONG: tuple[Axis, ...] = ("k", "j", "i")  # of the first stack, the second and the third
_MULTIPLE = int(np.lcm.reduce(SIMULATED_FACTORS))  # voxels, so that the same part is scored with every factor
_SMALLEST = 24  # voxels of the side of a volume from which stacks are made
_MARGIN = 12  # voxels by which the volume is continued, so that splines see no end

Amounts = tuple[float, float]  # of motion: degrees about each axis, and mm along it


@dataclass(frozen=True)
class Simulation:
    """What stacks are simulated, and what befalls them.

    Attributes:
        stacks: how many: thick along k, along j, and along i.
        factor: voxels from one slice to the next, and thickness of each.
        noise: standard deviation, as a share of the range of the volume.
        profile: how a slice averages over its thickness.
        motion: largest motion of each stack but the first.
        slice_motion: standard deviation of the motion of each slice beside that.
        gain: largest relative gain of each stack but the first.
    """

    stacks: int = 3
    factor: int = 4
    noise: float = 0.0
    profile: SliceProfile = "box"
    motion: Amounts = (0.0, 0.0)
    slice_motion: Amounts = (0.0, 0.0)
    gain: float = 0.0

    @property
    def clean(self) -> Simulation:
        """The same stacks without motion and gain, and with box profiles: as plain methods take them to be."""
        return Simulation(self.stacks, self.factor, self.noise)


@dataclass(frozen=True, eq=False)  # arrays cannot be compared to one yes or no
class SimulatedStack:
    """A stack, and what was done to it.

    Attributes:
        image: float32 voxels where the header has them: the body as if it had not moved.
        axis: along which it is thick.
        factor: voxels of the volume in each slice.
        profile: how its slices average.
        motion: (slice, 6) degrees about, then mm along, the axes k, j, i of the volume, about its middle: they carry
            points of the slice to where they lie in the volume.
        gain: its grey values are those of the volume times this.
    """

    image: Image
    axis: Axis
    factor: int
    profile: SliceProfile
    motion: np.ndarray
    gain: float

    @property
    def given(self) -> StackInput:
        """The stack as a reconstruction gets it."""
        return StackInput(self.image, self.axis, profile=self.profile)

    def true_motion(self, grid: Grid) -> np.ndarray:
        """Return (4, 4), which carries points of the stack, as its header has them, to where they lie in the volume.

        grid: that of the volume.  Of slices that move by themselves it is the mean motion.
        """
        degrees, shift = self.motion.mean(axis=0).reshape(2, 3)
        axes, matrix = np.asarray(grid.direction)[:, ::-1], np.eye(4)  # unit vectors along k, j, i
        middle = grid.index_to_physical(grid.corners.mean(axis=0))
        matrix[:3, :3] = axes @ Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.linalg.inv(axes)
        matrix[:3, 3] = middle + axes @ shift - matrix[:3, :3] @ middle
        return matrix


def central(image: Image, side: int | None = None) -> Image:
    """Return the middle of a volume as float32: `side` voxels along each axis at most, in whole slices of all factors.

    Raises:
        InputError: the volume is too small, or cannot be compared with.
    """
    if image.grid.depths:
        raise InputError("The slices lie unevenly, and stacks can only be simulated from even ones. Give an even "
                         "volume.")
    if not np.isfinite(image.array).all():
        raise InputError("The volume holds NaN or infinite voxels, so there is no truth to compare with. Replace them.")
    grid, array = image.grid, image.array
    for axis in AXES:
        count = grid.count(axis)
        kept = min(count, side or count) // _MULTIPLE * _MULTIPLE
        if kept < _SMALLEST:
            raise InputError(f"Stacks are simulated from at least {_SMALLEST} voxels along each axis; there are "
                             f"{min(count, side or count)} along {axis}. Give a larger volume.")
        first = (count - kept) // 2
        grid = grid.cropped(axis, first, first + kept - 1)
        array = np.take(array, range(first, first + kept), array_axis(axis))
    return Image(np.ascontiguousarray(array, np.float32), grid)


def simulate(truth: Image, simulation: Simulation, seed: int = 0) -> list[SimulatedStack]:
    """Make stacks of a volume.

    Args:
        truth: see `central`.
        simulation: what befalls them.
        seed: of the random numbers.

    Example:
        >>> truth = Image(np.random.default_rng(0).random((24, 24, 36), np.float32), Grid((24, 24, 36)))
        >>> first, second = simulate(truth, Simulation(stacks=2))
        >>> second.image
        Image(36 x 6 x 24 float32, 1 x 4 x 1 mm, LPS from (0, 1.5, 0))
        >>> bool(np.allclose(first.image.array, truth.array.reshape(6, 4, 24, 36).mean(1), atol=1e-5))
        True
    """
    random, extent = np.random.default_rng(seed), float(np.ptp(truth.array))
    splines = spline_filter(np.pad(truth.array, _MARGIN, "edge").astype(np.float64), 3, mode="nearest")
    stacks = []
    for number, axis in enumerate(_THICK_ALONG[:simulation.stacks]):
        moves, slices = float(number > 0), truth.grid.count(axis) // simulation.factor
        whole = moves * np.concatenate([random.uniform(-1, 1, 3) * amount for amount in simulation.motion])
        single = np.concatenate([random.normal(0, 1, (slices, 3)) * amount for amount in simulation.slice_motion], 1)
        stack = SimulatedStack(truth, axis, simulation.factor, simulation.profile, whole + single,
                               1.0 + moves * random.uniform(-1, 1) * simulation.gain)
        seen = np.stack([_slice(splines, truth.grid, stack, n) for n in range(slices)], array_axis(axis)) * stack.gain
        seen += simulation.noise * extent * random.standard_normal(seen.shape)
        stacks.append(replace(stack, image=Image(seen.astype(np.float32), _coarse(truth.grid, axis, stack.factor))))
    return stacks


def _slice(splines: np.ndarray, grid: Grid, stack: SimulatedStack, number: int) -> np.ndarray:
    """What slice `number` sees of the volume, [row, column]."""
    across, factor, spacing = array_axis(stack.axis), stack.factor, np.array(grid.spacing[::-1])
    middle = (np.array(grid.shape) - 1) / 2
    count = factor if stack.profile == "box" else 2 * factor + 1
    index = np.indices([1 if axis == across else n for axis, n in enumerate(grid.shape)], np.float64)
    index = index.squeeze(across + 1).reshape(3, -1).T
    turn = Rotation.from_euler("xyz", stack.motion[number, :3], degrees=True).as_matrix()
    total = np.zeros(len(index))
    for depth, share in zip(*profile_depths(float(factor), stack.profile, count), strict=True):
        index[:, across] = (number + 0.5) * factor - 0.5 + depth
        moved = ((index - middle) * spacing) @ turn.T + stack.motion[number, 3:]
        where = moved / spacing + middle + _MARGIN
        total += share * map_coordinates(splines, where.T, order=3, mode="nearest", prefilter=False)
    return total.reshape(np.delete(grid.shape, across))


def _coarse(grid: Grid, axis: Axis, factor: int) -> Grid:
    """The grid of slices of `factor` voxels each."""
    number, shape, spacing, start = AXES.index(axis), list(grid.shape), list(grid.spacing), [0.0, 0.0, 0.0]
    shape[array_axis(axis)] //= factor
    spacing[number] *= factor
    start[number] = (factor - 1) / 2
    return replace(grid, shape=(shape[0], shape[1], shape[2]), spacing=(spacing[0], spacing[1], spacing[2]),
                   origin=tuple(grid.index_to_physical(start)))
