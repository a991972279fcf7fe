"""A slice that lies shifted within its plane, on the raster of the stack."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..data.conversions import simpleitk

_HELD = 0.999  # share of pixels with data that a resampled pixel must be made of


def moved(real: np.ndarray, mask: np.ndarray, shift: np.ndarray, shape: tuple[int, ...], padding: float) -> np.ndarray:
    """Return a slice on a larger raster: cubic between its pixels, within its range, `padding` where it has no data.

    real: [row, column], float64.  mask: which of them hold no data.  shift: pixels, along columns and rows, from the
    first pixel of the raster to that of the slice.  shape: rows and columns of the raster.
    """
    sitk = simpleitk()
    held = real[~mask]
    if not len(held):
        return np.full(shape, padding)
    filled = np.where(mask, held.min(), real)  # so that the value for no data does not ring into its surroundings

    def resampled(array: np.ndarray, interpolator: int) -> np.ndarray:
        image: Any = sitk.GetImageFromArray(array)
        image.SetOrigin([float(x) for x in shift])
        raster = sitk.Image(shape[1], shape[0], sitk.sitkFloat64)
        return np.asarray(sitk.GetArrayFromImage(sitk.Resample(image, raster, sitk.Transform(), interpolator, 0.0)))

    def within(count: int, start: float, size: int) -> np.ndarray:
        """Which of `count` pixels lie between the centres of the outermost of `size` pixels, the first at `start`."""
        return np.abs(np.arange(count) - start - (size - 1) / 2) <= (size - 1) / 2 + 1 - _HELD

    inside = np.ix_(within(shape[0], shift[1], real.shape[0]), within(shape[1], shift[0], real.shape[1]))
    values = np.clip(resampled(filled, sitk.sitkBSpline), held.min(), held.max())
    share = resampled((~mask).astype(np.float64), sitk.sitkLinear)
    result = np.full(shape, padding)
    result[inside] = np.where(share >= _HELD, values, padding)[inside]
    return result
