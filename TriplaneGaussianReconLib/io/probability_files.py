"""Writes the probabilities of segments, as a fractional labelmap or as volumes, whole or not at all."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data.conversions import nibabel, to_nibabel
from ..data.probabilities import LabelProbabilities
from ..errors import InputError
from .atomic import PathLike, whole_file
from .itk_output import write_itk
from .seg_nrrd import header_of_fractions
from .writers import check_writable

_LABELMAP, _EXTENSIONS = ".seg.nrrd", (".seg.nrrd", ".nrrd", ".nii.gz", ".nii")


def write_probabilities(path: PathLike, probabilities: LabelProbabilities) -> None:
    """Write a fractional labelmap of 3D Slicer, or a volume of each segment, in percent; whole, or not at all.

    Args:
        path: a file name that ends in .seg.nrrd, for a labelmap with names, colours and codes of the segments; or in
            .nrrd, .nii.gz or .nii, for as many volumes as there are segments, in their order.
        probabilities: `label_probabilities` of a result.

    Raises:
        InputError: the extension is none of these.
        OutputError: the file cannot be written.
        MissingPackageError: the format needs SimpleITK or nibabel, and it is not installed.
    """
    path = Path(path)
    check_probabilities_writable(path)
    array, grid = probabilities.array, probabilities.grid
    if len(array) == 1:
        array = array[0]
    with whole_file(path) as part:
        if part.suffix == ".nrrd":
            fields = header_of_fractions(probabilities) if path.name.lower().endswith(_LABELMAP) else {}
            write_itk(part, np.moveaxis(array, 0, -1) if array.ndim == 4 else array, grid, fields)
        else:
            nibabel().save(to_nibabel(array, grid), part)


def check_probabilities_writable(path: PathLike) -> None:
    """As `check_writable`, for `write_probabilities`."""
    if not Path(path).name.lower().endswith(_EXTENSIONS):
        raise InputError(f"'{path}' cannot hold a probability of each segment. Use .seg.nrrd for a fractional "
                         f"labelmap, or {', '.join(_EXTENSIONS[1:])} for a volume of each segment.")
    check_writable(path)
