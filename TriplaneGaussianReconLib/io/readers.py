"""Reads images, label maps and 3D Slicer's `.seg.nrrd`, whatever the format."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data.geometry import Grid
from ..data.images import Image, Segmentation
from ..errors import InputError
from .analyze import is_analyze, read_analyze
from .atomic import PathLike
from .byte_streams import first_bytes
from .choice import Choice, volume_index
from .dicom import read_dicom
from .dicom_header import class_of, is_dicom
from .dicom_kinds import SEGMENTATIONS, STRUCTURE_SET
from .dicom_rtstruct import read_rtstruct
from .dicom_seg import read_seg
from .foreign_files import refuse_damaged, refuse_foreign, refuse_lone_volume, refuse_lost_link, refuse_text
from .freesurfer import is_freesurfer, read_freesurfer
from .itk_files import is_text, read_itk
from .metaimage import is_metaimage, read_metaimage
from .nifti import header_file, is_nifti, read_nifti
from .npz import read_npz
from .nrrd_files import read_nrrd
from .pictures import is_picture, picture_files, read_pages, read_pictures
from .seg_nrrd import has_segments, segmentation_of

_READABLE = "NRRD, NIfTI, MetaImage, MGH or .npz, or a folder of DICOM slices or of plain pictures"


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
    content = _read(path, Choice(series, volume_number, spacing))
    if content.array.ndim == 4:
        raise InputError(f"'{path}' has {content.array.shape[-1]} values per voxel (colour, vectors or several "
                         "layers). Extract one component, or convert colour to grey levels, and use that file.")
    return Image(content.array, content.grid, content.padding, content.unit)


def read_segmentation(path: PathLike, grid: Grid | None = None) -> Segmentation:
    """Read a segmentation: a `.seg.nrrd`, a DICOM SEG, an RT structure set, or a label map.

    A label map has one segment per value other than 0, all else its own segments, overlapping or not, with names,
    colours and codes.  The header fields of a `.seg.nrrd` are kept in `metadata`; fractions become segments where they
    are at least one half.  What comes back may lie on other voxels than its volume; `reconstruct` brings it there.

    Args:
        path: a file: DICOM SEG, RTSTRUCT, or in any format that `read_image` reads.
        grid: the volume's, on whose slices the contours of an RT structure set are drawn, and which tells the slices
            between the frames of a DICOM SEG; all else needs none.

    Raises:
        InputError: there is nothing readable, no segment, voxels other than whole numbers, or no grid for contours.
        MissingPackageError: the format needs a package that is not installed.
    """
    path = Path(path)
    try:
        return _read_segmentation(path, grid)
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"'{path}': {error}") from error


def _read_segmentation(path: Path, grid: Grid | None) -> Segmentation:
    if path.is_dir():
        raise InputError("It is a folder. Give a segmentation file: a .seg.nrrd, a DICOM SEG or RTSTRUCT, or a label "
                         "map.")
    if path.name.lower().endswith((".vtm", ".vtp", ".stl", ".obj")):
        raise InputError("It holds surfaces, not voxels. In 3D Slicer, make the binary labelmap the source "
                         "representation in the module Segmentations, and save it as .seg.nrrd.")
    kind = class_of(path)
    if kind in SEGMENTATIONS:
        return read_seg(path, grid)
    if kind == STRUCTURE_SET:
        return read_rtstruct(path, grid)
    content = _read(path, Choice())
    if has_segments(content.metadata):
        return segmentation_of(content.array, content.grid, content.metadata)
    if content.array.ndim == 4:
        raise InputError(f"It has {content.array.shape[-1]} values per voxel, but no header field 'Segment0_ID' that "
                         "makes it a .seg.nrrd. Save it as a label map, or as .seg.nrrd in 3D Slicer.")
    return Segmentation.from_labelmap(content.array, content.grid)


@dataclass(frozen=True)
class _Content:
    """What a path holds: voxels [k, j, i] or [k, j, i, component], their grid, the header fields that are not geometry,
    the value of voxels without data, if there is one, and the unit, if it is known.
    """

    array: np.ndarray
    grid: Grid
    metadata: dict[str, str] = field(default_factory=dict)
    padding: float | None = None
    unit: str = ""


def _read(path: Path, choice: Choice) -> _Content:
    refuse_lost_link(path)
    if not os.path.exists(path):
        raise InputError(f"'{path}' does not exist. Give {_READABLE}.")
    if path.suffix.lower() != ".npz" and not is_text(path):
        raise InputError(f"'{path}' cannot be read: its name or folder is no text in UTF-8. Rename it.")
    try:
        content = _read_folder(path, choice) if path.is_dir() else _read_file(path, choice)
        if content.grid.is_sheared:
            raise InputError("its axes are not at right angles (sheared voxels). Resample it onto a grid with "
                             "perpendicular axes first.")
    except InputError as error:
        raise InputError(f"'{path}' cannot be used: {error}") from error
    return content


def _read_file(path: Path, choice: Choice) -> _Content:
    """Read a file as what its first bytes tell, whatever its name says."""
    start = first_bytes(path)
    if is_picture(start):
        _refuse_series(choice)
        return _Content(*read_pages(path, choice.spacing))
    if choice.spacing is not None:
        raise InputError("it tells its own voxel spacing, so that none can be given. Leave out --spacing.")
    if is_dicom(path):
        array, grid, padding, unit = read_dicom(path, choice)
        return _Content(array, grid, padding=padding, unit=unit)
    refuse_foreign(path, start)
    _refuse_series(choice)
    number = choice.volume_number
    header = first_bytes(header_file(path))  # which may lie beside the voxels
    if is_nifti(header):
        return _Content(*read_nifti(path, number))
    if is_analyze(header):
        return _Content(*read_analyze(path, number))
    if start.startswith(b"NRRD"):
        return _Content(*read_nrrd(path, number))
    if is_metaimage(start):
        return _Content(*read_metaimage(path, number))
    if is_freesurfer(path, start):
        return _Content(*read_freesurfer(path, number))
    if start.startswith(b"PK") or path.suffix.lower() == ".npz":
        volume_index(1, number, "")
        return _Content(*read_npz(path))
    if path.suffix.lower() == ".img" and header_file(path) == path:
        raise InputError(f"its header, '{path.stem}.hdr', is missing. Put it beside the .img.")
    if not start.startswith(b"# vtk"):
        refuse_text(start)
    refuse_damaged(path, start)
    volume_index(1, number, "")
    return _Content(*read_itk(path, _READABLE))


def _read_folder(folder: Path, choice: Choice) -> _Content:
    """Read the pictures, or one DICOM series, directly in `folder`."""
    if pictures := picture_files(folder):
        _refuse_series(choice)
        return _Content(*read_pictures(pictures, choice.spacing))
    if choice.spacing is not None:
        raise InputError("it holds no PNG, TIFF, JPEG or BMP pictures; all else tells its own voxel spacing. Leave "
                         "out --spacing.")
    refuse_lone_volume(folder)
    array, grid, padding, unit = read_dicom(folder, choice)
    return _Content(array, grid, padding=padding, unit=unit)


def _refuse_series(choice: Choice) -> None:
    if choice.series:
        raise InputError("it is no DICOM, which alone has series. Leave out --series.")
