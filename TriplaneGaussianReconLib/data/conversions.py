"""Voxels and grid from and to the images of SimpleITK and nibabel, which are imported only where they are used."""
from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from ..errors import InputError, MissingPackageError
from .geometry import Grid, by
from .voxel_types import rescaled

_STORED_AS = {"bool": np.uint8, "float16": np.float32, "float128": np.float64}  # types that other programs lack
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # of the codes of length in a NIfTI header's xyzt_units that are not mm


def simpleitk(purpose: str = "Medical image formats need", otherwise: str = "use .npz files") -> ModuleType:
    """Import SimpleITK.

    Args:
        purpose: first words of the error.
        otherwise: what to do without it.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise MissingPackageError(f"{purpose} SimpleITK. Install it with 'pip install SimpleITK', or "
                                  f"{otherwise}.") from error
    return SimpleITK


def nibabel() -> ModuleType:
    """Import nibabel.  Raises MissingPackageError."""
    try:
        import nibabel
    except ImportError as error:
        raise MissingPackageError("NIfTI files need nibabel. Install it with 'pip install nibabel'.") from error
    return nibabel


def from_sitk(image: Any) -> tuple[np.ndarray, Grid]:
    """Return a copy of the voxels [k, j, i], or [k, j, i, component], and the grid of a `SimpleITK.Image`.

    Raises:
        InputError: the image is no volume of three dimensions, is complex, or its axes are not at right angles.
    """
    if "complex" in image.GetPixelIDTypeAsString():
        raise InputError("Its voxels are complex numbers. Save their magnitude, and use that.")
    size = image.GetSize()
    if len(size) == 4 and size[3] == 1:
        image = image[:, :, :, 0]
    elif len(size) != 3:
        raise InputError(f"It has {len(size)} dimensions, {by(size)}. Give one volume of three dimensions; extract "
                         "one frame of a series of volumes.")
    array = simpleitk().GetArrayFromImage(image)
    grid = Grid(array.shape[:3], image.GetOrigin(), image.GetSpacing(),
                tuple(map(tuple, np.reshape(image.GetDirection(), (3, 3)))))
    if grid.is_sheared:
        raise InputError("Its axes are not at right angles (sheared voxels). Resample it onto a grid with "
                         "perpendicular axes first.")
    return array, grid


def to_sitk(array: np.ndarray, grid: Grid) -> Any:
    """Return a `SimpleITK.Image` with a copy of the voxels [k, j, i] or [k, j, i, component].

    Boolean and half-precision voxels, which SimpleITK does not know, become uint8 and float32.
    """
    image = simpleitk().GetImageFromArray(_storable(array), isVector=array.ndim == 4)
    image.SetOrigin(grid.origin)
    image.SetSpacing(grid.spacing)
    image.SetDirection([x for row in grid.direction for x in row])
    return image


def from_nibabel(image: Any) -> tuple[np.ndarray, Grid]:
    """Return the voxels [k, j, i] and the grid of an image of nibabel.

    Its `affine` tells the place.  Slope and intercept of a header are applied, in single precision where that is fine
    enough.  The voxels are those of the image where nothing has to be changed, not a copy.

    Raises:
        InputError: the image is no volume of three dimensions, is in colour, or its axes are not at right angles.
    """
    package = nibabel()
    stored, slope, intercept = image.dataobj, 1.0, 0.0
    if type(stored) is package.arrayproxy.ArrayProxy:  # those of other classes scale in ways of their own
        stored, slope, intercept = stored.get_unscaled(), stored.slope, stored.inter
    stored = np.asanyarray(stored)
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim != 3:
        raise InputError(f"It has {stored.ndim} dimensions, {by(stored.shape)}. Give one volume of three dimensions; "
                         "extract one frame of a series of volumes.")
    if stored.dtype.names is not None:
        raise InputError(f"It has {len(stored.dtype.names)} values per voxel (colour). Convert colour to grey levels.")
    array = rescaled(np.ascontiguousarray(stored.T, stored.dtype.newbyteorder("=")), slope, intercept)
    unit, sides, header = 1.0, None, image.header
    if isinstance(header, package.Nifti1Header):
        unit = unit_of(header)
        if np.array_equal(image.affine, header.get_best_affine()):  # as read from a file, in single precision
            sides = unit * np.asarray(header.get_zooms()[:3], np.float64)
    return array, Grid.from_affine(np.diag([unit, unit, unit, 1.0]) @ image.affine, array.shape, sides)


def to_nibabel(array: np.ndarray, grid: Grid) -> Any:
    """Return a `nibabel.Nifti1Image` in mm, its place in both the sform and the qform, that shares the voxels.

    Boolean and half-precision voxels, which NIfTI does not know, become uint8 and float32.
    """
    voxels = _storable(array).T
    image = nibabel().Nifti1Image(voxels, grid.affine, dtype=voxels.dtype)
    image.header.set_xyzt_units("mm")
    image.header.set_sform(grid.affine, code="scanner")
    image.header.set_qform(grid.affine, code="scanner")
    return image


def unit_of(header: Any) -> float:
    """Return how many mm the unit of length of a NIfTI header is."""
    return _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)


def stored_type(dtype: np.dtype) -> np.dtype:
    """Return the type that other programs know for voxels of a type, in the byte order of this machine."""
    return np.dtype(_STORED_AS.get(dtype.name, dtype)).newbyteorder("=")


def _storable(array: np.ndarray) -> np.ndarray:
    return array.astype(stored_type(array.dtype), copy=False)
