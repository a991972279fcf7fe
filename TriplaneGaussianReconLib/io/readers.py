"""Reads images, label maps and 3D Slicer's `.seg.nrrd`, whatever the format."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data.geometry import Grid
from ..data.images import Image, Segmentation
from ..errors import InputError
from .atomic import PathLike
from .choice import Choice
from .dicom import read_dicom
from .dicom_header import is_dicom
from .itk_files import read_itk
from .nifti import is_nifti, read_nifti
from .npz import read_npz
from .seg_nrrd import has_segments, segmentation_of

_READABLE = "NRRD, NIfTI, MetaImage or another format that SimpleITK knows, a folder of DICOM slices, or .npz"


def read_image(path: PathLike, *, series: str = "", volume_number: int | None = None,
               spacing: tuple[float, float, float] | None = None) -> Image:
    """Read a scalar volume; the voxel type is that of the file.

    NIfTI files need nibabel, all others but `.npz` need SimpleITK.

    Args:
        path: a file, or a folder that holds the slices of one DICOM series.  Of several series the one with most
            slices is read, with a warning that lists them.
        series: which DICOM series of a folder: its UID, number or description.
        volume_number: which volume, counted from 1, where a file or series holds several (time points, echoes, ...).
        spacing: mm along i, j, k, for a folder of plain pictures, which do not tell it.

    Raises:
        InputError: there is nothing readable, or it is no evenly spaced scalar volume of three dimensions.
        MissingPackageError: the format needs a package that is not installed.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import TriplaneGaussianReconLib as tgr
        >>> image = tgr.Image(np.zeros((8, 24, 20), np.int16), tgr.Grid((8, 24, 20)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tgr.write_image(f"{folder}/a.npz", image)
        ...     tgr.read_image(f"{folder}/a.npz")
        Image(20 x 24 x 8 int16, 1 x 1 x 1 mm, LPS from (0, 0, 0))
    """
    path = Path(path)
    array, grid, padding, _ = _read(path, Choice(series, volume_number, spacing))
    if array.ndim == 4:
        raise InputError(f"'{path}' has {array.shape[-1]} values per voxel (colour, vectors or several layers). "
                         "Extract one component, or convert colour to grey levels, and use that file.")
    return Image(array, grid, padding)


def read_segmentation(path: PathLike) -> Segmentation:
    """Read a label map (one segment per value other than 0) or a `.seg.nrrd` (its own segments, overlapping or not).

    The header fields of a `.seg.nrrd` are kept in `metadata`.  Slicer crops what it saves to the segments, so the
    grid may be smaller than the volume's; `reconstruct` brings it there.

    Args:
        path: a file in any format that `read_image` reads.

    Raises:
        InputError: there is nothing readable, no segment, or voxels other than whole numbers.
        MissingPackageError: the format needs a package that is not installed.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"'{path}' is a folder. Give a segmentation file: a .seg.nrrd or a label map.")
    array, grid, _, metadata = _read(path, Choice())
    try:
        if has_segments(metadata):
            return segmentation_of(array, grid, metadata)
        if array.ndim == 4:
            raise InputError(f"It has {array.shape[-1]} values per voxel, but no header field 'Segment0_ID' that makes "
                             "it a .seg.nrrd. Save it as a label map, or as .seg.nrrd in 3D Slicer.")
        return Segmentation.from_labelmap(array, grid)
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error


def _read(path: Path, choice: Choice) -> tuple[np.ndarray, Grid, float | None, dict[str, str]]:
    """Return voxels [k, j, i] or [k, j, i, component], their grid, the value of those without data, and header fields.

    The header fields are those that are not geometry.
    """
    if not path.exists():
        raise InputError(f"'{path}' does not exist. Give {_READABLE}.")
    padding: float | None = None
    metadata: dict[str, str] = {}
    try:
        if path.is_dir() or _is_dicom(path):
            array, grid, padding = read_dicom(path, choice)
        elif is_nifti(path):
            array, grid = read_nifti(path)
        elif path.suffix.lower() == ".npz":
            array, grid = read_npz(path)
        else:
            array, grid, metadata = read_itk(path, _READABLE)
        if grid.is_sheared:
            raise InputError("its axes are not at right angles (sheared voxels). Resample it onto a grid with "
                             "perpendicular axes first.")
    except InputError as error:
        raise InputError(f"'{path}' cannot be used: {error}") from error
    return array, grid, padding, metadata


def _is_dicom(path: Path) -> bool:
    """Whether it is a file with DICOM content; what cannot be opened is left to whatever reads it."""
    try:
        return is_dicom(path)
    except OSError:
        return False
