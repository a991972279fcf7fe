"""Volumes of FreeSurfer, `.mgz` and `.mgh`."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data.conversions import nibabel
from ..data.geometry import Grid, by
from ..errors import InputError
from .byte_streams import Part, opened, read_voxels, told
from .choice import one_slice, volume_index

_NAMES = (".mgz", ".mgh", ".mgh.gz")


def is_freesurfer(path: Path, start: bytes) -> bool:
    """Whether a file begins as one of FreeSurfer and is called so: its first bytes alone say little."""
    return start[:4] == b"\0\0\0\1" and path.name.lower().endswith(_NAMES)


def read_freesurfer(path: Path, volume_number: int | None) -> tuple[np.ndarray, Grid]:
    """Return voxels [k, j, i] and their grid.  Raises InputError."""
    package = nibabel().freesurfer.mghformat
    try:
        with told(), opened(path) as file:
            header = package.MGHHeader.from_fileobj(file)
        sizes = [int(n) for n in header["dims"]]
        dtype, affine = header.get_data_dtype(), header.get_affine()
    except (package.MGHError, TypeError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("its header is damaged. Copy or export it again.") from error
    if min(sizes) < 1:
        raise InputError(f"its header is damaged: it tells {by(sizes)} voxels. Copy or export it again.")
    if sizes[2] == 1:
        raise one_slice(by(sizes[:2]))
    index = volume_index(sizes[3], volume_number, f"4 dimensions, {by(sizes)}")
    shape = sizes[2], sizes[1], sizes[0]
    grid = Grid.from_affine(affine, shape)
    part = Part(path, start=header.get_data_offset(), is_exact=False)
    return read_voxels([part], dtype, (sizes[3], *shape), 0, index), grid
