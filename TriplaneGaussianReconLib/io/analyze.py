"""Analyze 7.5 files, `.hdr` and `.img`, the forerunner of NIfTI, which tell sizes and spacing alone."""
from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ..data.conversions import nibabel
from ..data.geometry import Grid, by
from ..errors import InputError, InputNote
from .byte_streams import Part, opened, read_voxels, told
from .choice import volume_index
from .nifti import header_file, of_pair, sizes_of, type_of


def is_analyze(start: bytes) -> bool:
    """Whether a file begins as an Analyze header; so do NIfTI files, which are to be told first."""
    return start[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c") and len(start) >= 348


def read_analyze(path: Path, volume_number: int | None) -> tuple[np.ndarray, Grid]:
    """Return voxels [k, j, i] and their grid, whose place is a guess, as a note tells.  Raises InputError."""
    with told(), opened(header_file(path)) as file:
        header = nibabel().AnalyzeHeader.from_fileobj(file, check=False)
    sizes, dtype = sizes_of(header), type_of(header)
    sides, offset = np.abs(np.asarray(header["pixdim"][1:4], np.float64)), float(header["vox_offset"])
    if not (np.isfinite(sides).all() and sides.min() > 0 and 0 <= offset < 2 ** 31):
        raise InputError(f"its header gives no usable voxel spacing ({by(list(sides))} mm), or is damaged. Correct the "
                         "header, or convert the original again.")
    data = of_pair(path, ".img")
    if not data.exists() or data == header_file(path):
        raise InputError(f"its data file '{of_pair(path, '.img').name}' is missing. Put it beside '{path.name}'.")
    volumes = sizes[3] if len(sizes) == 4 else 1
    index = volume_index(volumes, volume_number, f"{len(sizes)} dimensions, {by(sizes)}")
    part = Part(data, f"its data file '{data.name}'", int(offset), is_exact=False)
    shape = sizes[2], sizes[1], sizes[0]
    array = read_voxels([part], dtype, (volumes, *shape), 0, index)
    warnings.warn("An Analyze file tells no orientation and no place. The first voxel is taken for the origin, and the "
                  "axes for left, posterior and superior: left and right may be exchanged. Convert the original to "
                  "NIfTI to be sure.", InputNote, stacklevel=5)
    return array, Grid(shape, spacing=(sides[0], sides[1], sides[2]))
