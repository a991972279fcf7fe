"""Writes images and segmentations as files or folders of DICOM slices, each whole or not at all."""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..data.conversions import simpleitk
from ..data.geometry import Grid
from ..data.images import Image, Segmentation
from ..data.label_map import LabelMap
from ..data.voxel_types import smallest_label_type
from ..errors import InputError, OutputError
from .atomic import PathLike, check_folder, check_output, is_folder, whole_file, whole_folder
from .dicom_output import write_slices
from .dicom_seg_output import write_seg
from .dicom_source import DicomSource, source_of
from .itk_files import is_text
from .itk_output import write_itk
from .npz import write_npz
from .planes import Planes
from .seg_nrrd import header_of

WRITABLE_EXTENSIONS = (".nrrd", ".nii.gz", ".nii", ".mha", ".npz")  # one file each, and exact about geometry


def write_image(path: PathLike, image: Image, *, like: PathLike | None = None, series: str = "", content: str = "",
                remark: str = "") -> None:
    """Write a volume, compressed where the format can; it appears whole, or what was there stays as it was.

    Args:
        path: a file name that ends in .nrrd, .nii.gz, .nii, .mha or .npz; or a folder, new or empty, for one DICOM
            file a slice: a path that ends in a slash or has no extension.
        image: the volume; bool and float16 become uint8 and float32 in all formats but .npz.  DICOM has 16 bits: whole
            numbers are exact where they fit, all else is rounded to 1/65535 of the range.
        like: for a folder, the DICOM file or folder that the volume was made from.  Its patient, study and frame of
            reference are kept; series and images get new identifiers and say what they are derived from.
        series: which series of `like`: its UID, number or description; by default the largest.
        content: what the values are if not the image itself, for the DICOM header.
        remark: what else is to be known of the image, likewise.

    Raises:
        InputError: the extension is none of these, or `like` is no DICOM.
        OutputError: it cannot be written.
        MissingPackageError: the format needs SimpleITK, and it is not installed.
    """
    if not is_folder(path):
        _write_whole(Path(path), image.array, image.grid)
        return
    check_folder(Path(path))
    source = _slices_source(path, like, series)
    with whole_folder(Path(path)) as part:
        write_slices(part, image, source, content, remark)


def write_segmentation(path: PathLike, segmentation: Segmentation, *, like: PathLike | None = None, series: str = ""
                       ) -> None:
    """Write a `.seg.nrrd`, a DICOM SEG, or with any other extension a label map; whole, or not at all.

    A `.seg.nrrd` keeps everything.  A DICOM SEG keeps names, codes, colours and overlaps, and numbers the segments
    from 1.  A label map keeps the label values alone, see `Segmentation.to_labelmap`.

    Args:
        path: a file name that ends in .seg.nrrd, .dcm, or any extension that `write_image` knows.
        segmentation: the segments.
        like: for .dcm, the DICOM file or folder of the volume that was segmented.
        series: which series of `like`: its UID, number or description; by default the largest.

    Raises:
        InputError: the extension cannot be written, or `like` is no DICOM.
        OutputError: the file cannot be written.
        MissingPackageError: the format needs SimpleITK, and it is not installed.
    """
    path = Path(path)
    if _is_seg(path):
        source = _seg_source(path, like, series)
        with whole_file(path) as part:
            write_seg(part, segmentation, source)
        return
    check_segmentation_writable(path)
    if not path.name.lower().endswith(".seg.nrrd"):
        planes = LabelMap(segmentation, stacklevel=3)
        _write_whole(path, planes, segmentation.grid)
        planes.tell_overlap(stacklevel=3)
        return
    layers = segmentation.layers
    if layers.dtype.itemsize > 4:  # Slicer's segments have 32 bits at most
        layers = layers.astype(smallest_label_type(int(layers.min()), int(layers.max())))
    array = layers[0] if len(layers) == 1 else np.moveaxis(layers, 0, -1)
    _write_whole(path, array, segmentation.grid, header_of(segmentation))


def check_writable(path: PathLike, like: PathLike | None = None, series: str = "") -> None:
    """Find out before long work whether a volume can be written at `path` later.

    Args:
        path: as for `write_image`.
        like: for a folder of DICOM slices, the DICOM file or folder that the volume is made from.
        series: which series of `like`.

    Raises:
        InputError: the extension cannot be written, or a folder is wanted and `like` is no DICOM.
        OutputError: the folder is missing, cannot be written to, or is to be new and holds something.
        MissingPackageError: the format needs SimpleITK, and it is not installed.
    """
    if is_folder(path):
        check_folder(Path(path))
        _slices_source(path, like, series)
        return
    path = Path(path)
    if path.suffix.lower() == ".dcm":
        raise InputError(f"'{path}' would be one DICOM file, but a volume is written as a folder of DICOM slices. Give "
                         f"the name of a new folder, '{path.with_suffix('')}{os.sep}'.")
    if not path.name.lower().endswith(WRITABLE_EXTENSIONS):
        raise InputError(f"'{path}' has no extension that can be written. Use {', '.join(WRITABLE_EXTENSIONS)}, or "
                         ".seg.nrrd for a segmentation; or end it in a slash for a folder of DICOM slices.")
    if path.suffix.lower() != ".npz":
        simpleitk()
        _check_text(path)
    check_output(path)


def check_segmentation_writable(path: PathLike, like: PathLike | None = None, series: str = "") -> None:
    """As `check_writable` for a segmentation, which is one file in any format, .dcm for a DICOM SEG."""
    if _is_seg(path):
        check_output(Path(path))
        _seg_source(path, like, series)
    elif is_folder(path):
        raise InputError(f"'{path}' is a folder or has no extension, and a segmentation is one file. Use .seg.nrrd, "
                         f".dcm for DICOM, or {', '.join(WRITABLE_EXTENSIONS)}.")
    else:
        check_writable(path)


def _is_seg(path: PathLike) -> bool:
    return Path(path).suffix.lower() == ".dcm" and not os.path.isdir(path)


def _slices_source(path: PathLike, like: PathLike | None, series: str) -> DicomSource:
    return source_of(like, series, f"The folder of DICOM slices '{path}'")


def _seg_source(path: PathLike, like: PathLike | None, series: str) -> DicomSource:
    return source_of(like, series, f"The DICOM segmentation '{path}'")


def _check_text(path: Path) -> None:
    """Raise OutputError where SimpleITK would end the process: it writes beside `path`, with the same extension."""
    if not is_text(os.path.dirname(os.path.abspath(path)) + "".join(path.suffixes)):
        raise OutputError(f"'{path}' cannot be written: its name or folder is no text in UTF-8. Rename the folder, or "
                          "write .npz.")


def _write_whole(path: Path, voxels: Planes, grid: Grid, metadata: Mapping[str, str] | None = None) -> None:
    """Write voxels [k, j, i] or [k, j, i, layer] to a temporary file beside `path`, then move it there."""
    check_writable(path)
    with whole_file(path) as part:
        if part.suffix == ".npz":
            write_npz(part, voxels, grid)
        else:
            write_itk(part, voxels, grid, metadata or {})
