"""Volumes as `.npz`, which needs nothing but NumPy.

The file holds `array` [k, j, i], `origin` (3,) mm LPS, `spacing` (3,) mm along i, j, k, and `direction` (3, 3), as in
`Grid`.
"""
from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..data.geometry import Grid
from ..errors import InputError, cause

_KEYS = ("array", "origin", "spacing", "direction")


def read_npz(path: Path) -> tuple[np.ndarray, Grid]:
    """Return voxels [k, j, i] and their grid; boolean voxels become uint8.  Raises InputError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in _KEYS if key not in file]
            if missing:
                raise InputError(f"it lacks {', '.join(missing)}. An .npz needs the arrays {', '.join(_KEYS)}.")
            array, origin, spacing, direction = (file[key] for key in _KEYS)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"it is no readable .npz ({cause(error)}). Write it with numpy.savez.") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"its voxels are of type {array.dtype}. Convert them to real numbers.")
    if array.ndim != 3:
        raise InputError(f"its array has {array.ndim} dimensions. Give one volume [k, j, i].")
    if origin.size != 3 or spacing.size != 3 or direction.size != 9:
        raise InputError("origin and spacing need three values each, direction nine.")
    grid = Grid(array.shape, tuple(origin.ravel()), tuple(spacing.ravel()),
                tuple(map(tuple, direction.reshape(3, 3))))
    return array.astype(np.uint8) if array.dtype == bool else array, grid


def write_npz(path: Path, array: np.ndarray, grid: Grid) -> None:
    """Write voxels of any type and shape, compressed."""
    np.savez_compressed(path, array=array, origin=grid.origin, spacing=grid.spacing, direction=grid.direction)
