"""Writes images, label maps and 3D Slicer's `.seg.nrrd`, each file whole or not at all."""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..data.conversions import simpleitk
from ..data.geometry import Grid
from ..data.images import Image, Segmentation, flattened
from ..data.voxel_types import smallest_label_type
from ..errors import InputError, OutputError
from .atomic import PathLike, check_output, whole_file
from .itk_files import is_text, write_itk
from .npz import write_npz
from .seg_nrrd import header_of

WRITABLE_EXTENSIONS = (".nrrd", ".nii.gz", ".nii", ".mha", ".npz")  # one file each, and exact about geometry


def write_image(path: PathLike, image: Image) -> None:
    """Write a volume, compressed where the format can; the file appears whole, or what was there stays as it was.

    Args:
        path: a file name that ends in .nrrd, .nii.gz, .nii, .mha or .npz.
        image: the volume; bool and float16 become uint8 and float32 in all formats but .npz.

    Raises:
        InputError: the extension is none of these.
        OutputError: the file cannot be written.
        MissingPackageError: the format needs SimpleITK, and it is not installed.
    """
    _write_whole(Path(path), image.array, image.grid)


def write_segmentation(path: PathLike, segmentation: Segmentation) -> None:
    """Write a `.seg.nrrd`, or with any other extension a label map; the file appears whole, or not at all.

    A `.seg.nrrd` keeps everything.  A label map keeps the label values alone, see `Segmentation.to_labelmap`.

    Args:
        path: a file name that ends in .seg.nrrd, or in any extension that `write_image` knows.
        segmentation: the segments.

    Raises:
        InputError: the extension cannot be written.
        OutputError: the file cannot be written.
        MissingPackageError: the format needs SimpleITK, and it is not installed.
    """
    path = Path(path)
    check_writable(path)
    if not path.name.lower().endswith(".seg.nrrd"):
        _write_whole(path, flattened(segmentation, stacklevel=3), segmentation.grid)
        return
    layers = segmentation.layers
    if layers.dtype.itemsize > 4:  # Slicer's segments have 32 bits at most
        layers = layers.astype(smallest_label_type(int(layers.min()), int(layers.max())))
    array = layers[0] if len(layers) == 1 else np.moveaxis(layers, 0, -1)
    _write_whole(path, array, segmentation.grid, header_of(segmentation))


def check_writable(path: PathLike) -> None:
    """Find out before long work whether a volume or segmentation can be written at `path` later.

    Raises:
        InputError: the extension cannot be written.
        OutputError: the folder is missing or cannot be written to.
        MissingPackageError: the format needs SimpleITK, and it is not installed.
    """
    path = Path(path)
    if not path.name.lower().endswith(WRITABLE_EXTENSIONS):
        raise InputError(f"'{path}' has no extension that can be written. Use {', '.join(WRITABLE_EXTENSIONS)}, or "
                         ".seg.nrrd for a segmentation.")
    if path.suffix.lower() != ".npz":
        simpleitk()
        _check_text(path)
    check_output(path)


def _check_text(path: Path) -> None:
    """Raise OutputError where SimpleITK would end the process: it writes beside `path`, with the same extension."""
    if not is_text(os.path.dirname(os.path.abspath(path)) + "".join(path.suffixes)):
        raise OutputError(f"'{path}' cannot be written: its name or folder is no text in UTF-8. Rename the folder, or "
                          "write .npz.")


def _write_whole(path: Path, array: np.ndarray, grid: Grid, metadata: Mapping[str, str] | None = None) -> None:
    """Write voxels [k, j, i] or [k, j, i, layer] to a temporary file beside `path`, then move it there."""
    check_writable(path)
    with whole_file(path) as part:
        if part.suffix == ".npz":
            write_npz(part, array, grid)
        else:
            write_itk(part, array, grid, metadata or {})
