"""Voxels without data: NaN, infinite, of the volume's padding value, or outside of a mask.  They weigh nothing, nor
does the result hold any there.
"""
from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, InputNote
from .alignment import aligned_to
from .geometry import Axis, PlaneStack, array_axis
from .images import Image, Segmentation
from .selection import Selection

_LARGEST = 1e37  # value that single precision computes with, products included
_TIE = 1e-6  # mm, by which half-way may be missed


def holds_data(values: np.ndarray, padding: float | None) -> np.ndarray:
    """Return which values are data: bool, of the same shape.

    Args:
        values: Of any real type.
        padding: What stands for no data, None for nothing but NaN and infinity.

    Raises:
        InputError: there are values that single precision, in which the result is computed, does not hold.

    Example:
        >>> holds_data(np.array([1.0, np.nan, -2000.0]), padding=-2000.0).tolist()
        [True, False, False]
    """
    holds = np.isfinite(values)
    if padding is not None:
        holds &= values != padding
    if values.dtype.kind == "f" and values.dtype.itemsize >= 4:
        largest = float(np.abs(values, where=holds, out=np.zeros_like(values)).max(initial=0.0))
        if largest > _LARGEST:
            raise InputError(f"The largest voxel is {largest:.3g}, beyond what can be computed in single precision. "
                             "Scale all by a common factor, or give NaN to those that only mark missing data.")
    return holds


def within(image: Image, mask: Segmentation | None) -> Image:
    """Return an image, as real numbers, that holds data inside of a mask alone: outside it is NaN.

    Args:
        image: the volume.
        mask: what carries any label is inside; on other voxels it is brought onto those of the image, see `aligned_to`.
            None leaves the image as it is.

    Raises:
        InputError: the mask has no voxel inside the volume.

    Example:
        >>> from TriplaneGaussianReconLib import Grid, Image, Segmentation
        >>> grid = Grid((1, 1, 3))
        >>> mask = Segmentation.from_labelmap(np.array([[[0, 2, 1]]]), grid)
        >>> within(Image(np.array([[[7, 8, 9]]], np.int16), grid), mask).array
        array([[[nan,  8.,  9.]]], dtype=float32)
    """
    if mask is None:
        return image
    labelled = (mask.layers != 0).any(axis=0, keepdims=True).astype(np.uint8)
    inside = aligned_to(replace(mask, layers=labelled), image.grid, "mask").layers[0] > 0
    if not inside.any():
        raise InputError("The mask has no voxel inside the volume, or is smaller than its voxels. Choose the one that "
                         "belongs to the volume.")
    array = image.array.astype(np.result_type(image.array, np.float32))
    array[~inside] = np.nan
    return replace(image, array=array)


def with_data(image: Image, selections: Mapping[Axis, Selection]) -> dict[Axis, Selection]:
    """Leave out the slices that hold no data at all, and say which in an `InputNote`.

    Raises:
        InputError: None is left along an axis.
    """
    kept: dict[Axis, Selection] = {}
    for axis, selection in selections.items():
        slices = np.moveaxis(image.array, array_axis(axis), 0)
        blank = [n for n in selection.indices if _is_blank(slices[n], image.padding)]
        if len(blank) == len(selection):
            raise InputError(f"None of the slices to use along {axis} holds data. Use other slices.")
        if blank:
            warnings.warn(f"Slices along {axis} without any data are not used: {', '.join(map(str, blank))}.",
                          InputNote, stacklevel=3)
        kept[axis] = selection.excluding(blank) if blank else selection
    return kept


def _is_blank(pixels: np.ndarray, padding: float | None) -> bool:
    """Whether no pixel [row, column] holds data; the middle row tells of most slices that one does."""
    middle = len(pixels) // 2
    return not (holds_data(pixels[middle], padding).any() or holds_data(pixels, padding).any())


def filled(pixels: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """Return pixels [plane, row, column] in which the nearest of its slice stands for each that holds no data."""
    from scipy.ndimage import distance_transform_edt

    result = pixels.copy()
    for plane in np.flatnonzero(~holds.all(axis=(1, 2))):
        rows, columns = distance_transform_edt(~holds[plane], return_distances=False, return_indices=True)
        result[plane] = pixels[plane][rows, columns]
    return result


@dataclass(frozen=True, eq=False)
class DataMask:
    """Where there is data between slices: where the nearer of the two holds some, half-way where either does.

    Attributes:
        planes: Where the slices lie, ascending along the normal, one straight above the other.
        holds: [plane, row, column] bool.
    """

    planes: PlaneStack
    holds: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return whether there is data at points (..., 3) mm, in the coordinates of `planes`: bool (...).

        Beyond the slices the outermost pixels count.
        """
        planes, size = self.planes, self.holds.shape[1:]
        steps = np.stack([planes.normal, planes.row_step, planes.column_step], axis=1)
        depth, row, column = np.moveaxis((points - planes.origins[0]) @ np.linalg.inv(steps).T, -1, 0)
        middles = (planes.offsets[1:] + planes.offsets[:-1]) / 2.0 - planes.offsets[0]
        nearest = np.searchsorted(middles, depth - _TIE)  # the slice before, half-way between two
        other = np.searchsorted(middles, depth + _TIE)  # the slice after, there
        at = [np.clip(np.rint(each), 0, most - 1).astype(int) for each, most in zip((row, column), size, strict=True)]
        holding: np.ndarray = self.holds[nearest, at[0], at[1]] | self.holds[other, at[0], at[1]]
        return holding
