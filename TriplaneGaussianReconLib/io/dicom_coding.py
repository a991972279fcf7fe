"""How the values of a volume become the 16 bits of DICOM's voxels, slice by slice."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Coding:
    """slope * voxel + intercept is the value.

    Attributes:
        dtype: of the voxels, int16 or uint16.
        slope: as DICOM writes it.
        intercept: likewise.
        padding: the voxel where there is no data; None where there is none.
        first: the lowest voxel of a value; None where values are whole numbers that are stored as they are.
        missing: the value that stands for no data beside NaN and infinity; None where there is none.
    """

    dtype: np.dtype
    slope: Any
    intercept: Any
    padding: int | None
    first: int | None = None
    missing: float | None = None

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Return the voxels of values of any shape."""
        if self.first is None:
            return values.astype(self.dtype)
        data, limits = has_data(values, self.missing), np.iinfo(self.dtype)
        steps = (np.where(data, values, 0).astype(np.float64) - float(self.intercept)) / float(self.slope)
        steps = np.clip(np.round(steps), max(self.first, limits.min), limits.max)
        return np.where(data, steps, 0).astype(self.dtype)


class _Extent(NamedTuple):
    """Of all values: whether they are whole numbers, and how far those reach that are data; lowest > highest: none."""

    is_whole: bool
    lowest: float
    highest: float
    lacks_data: bool


def coding_of(array: np.ndarray, padding: float | None, from_zero: bool) -> Coding:
    """Find how to put a volume into 16 bits: whole numbers as they are where they fit, all else in equal steps.

    Args:
        array: [slice, row, column] values of any real type.
        padding: the value of voxels that hold no data; None where there is none.
        from_zero: 0 is to be stored as 0, as PET demands.
    """
    extent = _extent(array, None)
    if extent.is_whole:
        for limits in (np.iinfo(np.dtype(name)) for name in ("int16", "uint16")):
            if limits.min <= extent.lowest and extent.highest <= limits.max and not (from_zero and extent.lowest < 0):
                fits = padding is not None and padding == np.round(padding) and limits.min <= padding <= limits.max
                return Coding(limits.dtype, decimal(1), decimal(0), int(padding or 0) if fits else None)
    if padding is not None:
        extent = _extent(array, padding)
    return _in_steps(extent, padding, from_zero)


def has_data(values: np.ndarray, padding: float | None) -> np.ndarray:
    """Return which values are data: bool, of the same shape."""
    data: np.ndarray = np.isfinite(values)
    return data if padding is None else data & (values != padding)


def _extent(array: np.ndarray, padding: float | None) -> _Extent:
    is_whole, lowest, highest, lacks = True, np.inf, -np.inf, False
    for values in array:
        data = has_data(values, padding)
        if not data.all():
            lacks, values = True, values[data]
        if values.size:
            lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
        is_whole = is_whole and not lacks and (array.dtype.kind in "biu" or np.array_equal(values, np.round(values)))
    return _Extent(is_whole, lowest, highest, lacks) if lowest <= highest else _Extent(False, 0.0, 0.0, lacks)


def _in_steps(extent: _Extent, padding: float | None, from_zero: bool) -> Coding:
    """Spread values over 16 bits; where there is no data the voxel is 0, and padding unless 0 is to be a value."""
    lowest, highest = extent.lowest, extent.highest
    if from_zero:
        limits = np.iinfo(np.dtype("int16" if lowest < 0 else "uint16"))
        slope, intercept, first, is_padded = _step(max(highest, -lowest), limits.max), 0.0, -limits.max, False
    else:
        limits, is_padded = np.iinfo(np.dtype("uint16")), extent.lacks_data
        first = int(is_padded)
        slope = _step(highest - lowest, limits.max - first)
        intercept = lowest - first * float(slope)
    return Coding(limits.dtype, slope, decimal(intercept), 0 if is_padded else None, first, padding)


def _step(length: float, steps: int) -> Any:
    """`length` / `steps`, or a little more, so that rounding to 16 signs does not fall below it."""
    return decimal(length / steps * (1 + 1e-9) or 1.0)


def decimal(number: float) -> Any:
    """A number as DICOM writes it, in 16 signs."""
    from pydicom.valuerep import DSfloat

    return DSfloat(float(number), auto_format=True)
