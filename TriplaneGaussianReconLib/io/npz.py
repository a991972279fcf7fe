"""Volumes as `.npz`, which needs nothing but NumPy.

The file holds `array` [k, j, i], `origin` (3,) mm LPS, `spacing` (3,) mm along i, j, k, and `direction` (3, 3), as in
`Grid`.
"""
from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..data.geometry import Grid
from ..errors import InputError, cause
from .byte_streams import check_memory, check_regular
from .planes import Planes, planes_as

_KEYS = ("array", "origin", "spacing", "direction")
_NO_VALUES = "origin and spacing need three values each, direction nine, all numbers. Write them as in a Grid."


def read_npz(path: Path) -> tuple[np.ndarray, Grid]:
    """Return voxels [k, j, i] and their grid; boolean voxels become uint8.  Raises InputError for anything else."""
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as file:
            names = set(file.namelist())
            missing = [key for key in _KEYS if f"{key}.npy" not in names]
            if missing:
                raise InputError(f"it lacks {', '.join(missing)}. An .npz needs the arrays {', '.join(_KEYS)}.")
            _check_array(*_stated(file, "array"))
            for key in _KEYS[1:]:
                shape, dtype = _stated(file, key)
                if dtype.kind not in "iuf" or math.prod(shape) != (9 if key == "direction" else 3):
                    raise InputError(_NO_VALUES)
            array, origin, spacing, direction = (_member(file, key) for key in _KEYS)
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        problem = cause(error) if isinstance(error, OSError) else "damaged, or ends early"
        raise InputError(f"it is no readable .npz ({problem}). Write it with numpy.savez.") from error
    grid = Grid(array.shape, tuple(origin.ravel()), tuple(spacing.ravel()),
                tuple(map(tuple, direction.reshape(3, 3))))
    return array.astype(np.uint8) if array.dtype == bool else array, grid


def write_npz(path: Path, voxels: Planes, grid: Grid) -> None:
    """Write voxels of any type and shape, compressed, as `numpy.savez_compressed` does."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("array.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, {
                "descr": np.lib.format.dtype_to_descr(voxels.dtype), "fortran_order": False, "shape": voxels.shape})
            for plane in planes_as(voxels, voxels.dtype):
                member.write(plane)
        for key in _KEYS[1:]:
            with file.open(f"{key}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(getattr(grid, key)), allow_pickle=False)


def _check_array(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype.kind not in "biuf":
        raise InputError(f"its voxels are of type {dtype}. Convert them to real numbers.")
    if len(shape) != 3:
        raise InputError(f"its array has {len(shape)} dimensions. Give one volume [k, j, i].")
    check_memory(math.prod(shape) * dtype.itemsize)


def _stated(file: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype]:
    """What the header of an array states, which must be as much as the archive holds of it."""
    with file.open(f"{key}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        held = file.getinfo(f"{key}.npy").file_size - member.tell()
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != held:
        raise InputError(f"its {key} ends early or is longer than its header tells. Write it with numpy.savez.")
    return shape, dtype


def _member(file: zipfile.ZipFile, key: str) -> np.ndarray:
    with file.open(f"{key}.npy") as member:
        array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
    return array
