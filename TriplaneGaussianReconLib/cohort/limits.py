"""What a case may take: time, memory, room on the disk, by the size of its volumes as their headers tell it.

Headers alone are read, so that a case costs milliseconds; where they cannot be, what suits most volumes is taken.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config.presets import DEFAULT_PRESET
from ..data.conversions import simpleitk
from ..data.geometry import Grid
from ..data.output_grid import isotropic_spacing, output_grid
from ..data.selection import Selection
from ..errors import ReconstructionError
from ..jobs.costs import DeviceKind
from ..jobs.estimates import estimate
from .manifest import Case

_LEAST_SECONDS, _TIMES = 1800.0, 20.0  # of a time limit, and of what a computer like the one of the measurements takes
_UNKNOWN = ((256, 256, 64), 86400.0)  # shape that is supposed, and time limit, where a header does not tell
_SPARE = 2.0  # a reconstruction plans with half of what is free, see `runtime.memory`
_VOXEL_BYTES = 6.0  # that a voxel of the results takes on the disk: image and expected error, packed a little

_TIMES_PACKED = 100.0  # bytes of a result for a byte of its input, at most: what packs well does so again


@dataclass(frozen=True)
class Limits:
    """What a case may take.

    Attributes:
        seconds: After which it is ended.
        expected: Seconds that it takes on a computer like the one of the measurements.
        memory: Bytes that have to be free when it starts, for the work not to be cut into more slabs than alone.
        disk: Bytes of its results.
    """

    seconds: float
    expected: float
    memory: int
    disk: int


def limits_of(case: Case, kind: DeviceKind = "cpu") -> Limits:
    """Return what a case may take; kind: of the device that does the work."""
    grids = [header_of(path) for path in case.volumes]
    expected = memory = disk = 0.0
    for path, grid in zip(case.volumes, grids, strict=True):
        size = grid or Grid(_UNKNOWN[0][::-1], spacing=(1.0, 1.0, 3.0))
        axis = size.thickest_axis()
        each = estimate(size, {axis: Selection.every(size.count(axis), 1)}, bool(case.labels),
                        case.option("preset") or DEFAULT_PRESET, kind)
        result = output_grid(size, axis, isotropic_spacing(size, axis), None, False)
        expected, memory = expected + each.seconds, memory + each.memory_bytes
        voxels = float(np.prod(result.shape, dtype=float))
        disk += min(_VOXEL_BYTES * voxels, _TIMES_PACKED * _size(path))
    seconds = max(_LEAST_SECONDS, _TIMES * expected) if all(grids) else _UNKNOWN[1]
    return Limits(case.time_limit or seconds, expected, int(_SPARE * memory), int(disk))


def sample(cases: Sequence[Case], most: int) -> Iterator[Limits]:
    """Yield the limits of some of the cases, spread evenly."""
    for number in np.unique(np.linspace(0, len(cases) - 1, min(most, len(cases))).astype(int)):
        yield limits_of(cases[number])


def _size(path: str) -> float:
    """Bytes of a file; of a folder, whose files are looked at by others, as many as there may be."""
    return float(Path(path).stat().st_size) if Path(path).is_file() else np.inf


def header_of(path: str) -> Grid | None:
    """The grid of a volume, as far as its header tells; None for folders and for what cannot be read."""
    if not Path(path).is_file():
        return None
    reader = simpleitk().ImageFileReader()
    reader.SetFileName(path)
    try:
        reader.ReadImageInformation()
        size, spacing = reader.GetSize()[:3], reader.GetSpacing()[:3]
        return Grid((size[2], size[1], size[0]), spacing=(spacing[0], spacing[1], spacing[2]))
    except (RuntimeError, IndexError, ReconstructionError):
        return None
