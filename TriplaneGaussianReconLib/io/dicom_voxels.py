"""Voxels of a stack of DICOM slices: each scaled by its own header, moved where it is shifted, in one fitting type."""
from __future__ import annotations

from collections import defaultdict

import numpy as np

from ..data.voxel_types import value_type
from ..errors import InputError
from .dicom_frames import Frame
from .dicom_header import damage_of
from .dicom_pixels import stored_frames, stored_type
from .dicom_shift import moved
from .dicom_stack import Stack


def voxels(stack: Stack) -> tuple[np.ndarray, float | None]:
    """Return the voxels [k, j, i] of a stack in real values, and the value of those without data, None without any.

    The voxel type is the stored one where nothing has to be scaled, else an integer type where all values are whole.
    """
    stored, padded = _stored(stack.frames)
    scales = [_Scale(frame) for frame in stack.frames]
    padding = min(scale.padding for scale in scales if scale.padding is not None) if padded.any() else None
    ranges = [_real_range(slice_, scale) for slice_, scale in zip(stored, scales, strict=True)]
    low, high = min(one[0] for one in ranges), max(one[1] for one in ranges)
    if padding is not None:
        low, high = min(low, padding), max(high, padding)
    elif stack.shifts is not None:
        padding = low = float(np.floor(low)) - 1.0  # a value that no voxel has
    dtype = _fitting_type(stored.dtype, low, high, all(scale.is_whole for scale in scales))
    if stack.shifts is None and all(scale.is_none for scale in scales) and dtype == stored.dtype:
        return stored, padding
    in_place = stack.shifts is None and dtype.itemsize == stored.dtype.itemsize
    array = stored.view(dtype) if in_place else np.empty(stack.grid.shape, dtype)
    for number, scale in enumerate(scales):
        real = scale.real(stored[number])
        if padding is not None:
            mask = _padded(stored[number], stack.frames[number])
            real[mask] = padding
            if stack.shifts is not None:
                real = moved(real, mask, stack.shifts[number], stack.grid.shape[1:], padding)
                real = np.round(real) if dtype.kind in "iu" else real
        array[number] = real
    return array, padding


class _Scale:
    """From the stored values of one frame to real ones."""

    def __init__(self, frame: Frame) -> None:
        table = frame.file.dataset.get("ModalityLUTSequence")
        self._frame, self._table = frame, bool(table)
        self.is_none = not table and (frame.slope, frame.intercept) == (1.0, 0.0)
        self.is_whole = bool(table) or frame.slope.is_integer() and frame.intercept.is_integer()
        self.padding = None if frame.padding is None else float(self.real(np.array([frame.padding[0]]))[0])

    def real(self, stored: np.ndarray) -> np.ndarray:
        """float64."""
        if self._table:
            from pydicom.pixels import apply_modality_lut

            with damage_of(self._frame.name, "its table of values (modality LUT) is"):
                whole = stored.astype(np.int64) if stored.dtype.kind == "f" else stored
                return np.asarray(apply_modality_lut(whole, self._frame.file.dataset), np.float64)
        return stored * np.float64(self._frame.slope) + np.float64(self._frame.intercept)


def _padded(stored: np.ndarray, frame: Frame) -> np.ndarray:
    """Which pixels hold no data."""
    if frame.padding is None:
        return np.zeros(stored.shape, bool)
    if frame.padding[0] == frame.padding[1]:
        return np.asarray(stored == frame.padding[0])
    return (stored >= frame.padding[0]) & (stored <= frame.padding[1])


def _stored(frames: list[Frame]) -> tuple[np.ndarray, np.ndarray]:
    """Return the stored values [k, j, i], and of each slice whether it has pixels without data."""
    of_file: dict[Frame, list[tuple[int, int]]] = defaultdict(list)
    owners: dict[object, Frame] = {}
    for number, frame in enumerate(frames):
        owner = owners.setdefault(frame.file, frame)
        of_file[owner].append((frame.index, number))
    columns, rows = frames[0].size
    dtype = np.result_type(*{stored_type(frame.file) for frame in owners.values()})
    array = np.empty((len(frames), rows, columns), dtype)
    padded = np.zeros(len(frames), bool)
    for owner, members in of_file.items():
        members.sort()
        pixels = stored_frames(owner.file, [index for index, _ in members])
        for (_, number), slice_ in zip(members, pixels, strict=True):
            if slice_.shape != (rows, columns):
                raise InputError(f"'{owner.file.path.name}' cannot be read: its pixels are not of the size that its "
                                 "header states. Copy or export it again, or take it out of the folder.")
            array[number] = slice_
            frame = frames[number]
            padded[number] = frame.padding is not None and bool(_padded(array[number], frame).any())
    return array, padded


def _real_range(stored: np.ndarray, scale: _Scale) -> tuple[float, float]:
    """Lowest and highest finite real value of a slice."""
    if stored.dtype.kind == "f":
        finite = stored[np.isfinite(stored)]
        ends = scale.real(np.array([finite.min(), finite.max()] if len(finite) else [0.0, 0.0]))
    else:
        ends = scale.real(np.array([stored.min(), stored.max()]))
    return float(ends.min()), float(ends.max())


def _fitting_type(stored: np.dtype, low: float, high: float, is_whole: bool) -> np.dtype:
    """The type that holds all values: the stored one if it does, else the smallest integer one, else one for others."""
    if stored.kind == "f":
        return stored
    if is_whole:
        for candidate in (stored, *map(np.dtype, (np.int16, np.uint16, np.int32, np.uint32))):
            if np.iinfo(candidate).min <= low and high <= np.iinfo(candidate).max:
                return candidate
        return np.dtype(np.float64)
    return value_type(low, high)
