"""NIfTI files, read by their own header: ITK prefers the qform to the sform, and repairs what it should refuse.

https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h explains the fields of the header.
"""
from __future__ import annotations

import gzip
import warnings
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from ..data.conversions import nibabel, unit_of
from ..data.geometry import RAS_TO_LPS, Grid
from ..data.voxel_types import rescaled
from ..errors import InputError, cause

_EXTENSIONS = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
_GZIP = b"\x1f\x8b"


def is_nifti(path: Path) -> bool:
    """Whether `path` is a file with a NIfTI header, whatever follows it; Analyze files have none."""
    if not path.name.lower().endswith(_EXTENSIONS):
        return False
    try:
        with _opened(_of_pair(path, ".hdr")) as file:
            start = file.read(348)
    except (OSError, EOFError, zlib.error):
        return False
    return start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2")


def read_nifti(path: Path) -> tuple[np.ndarray, Grid]:
    """Return voxels [k, j, i], scaled as the header tells, and their grid.

    The sform tells the place, if there is none the qform.  Voxels that are not scaled keep their type.
    Raises InputError for what is no volume of real numbers, ends early, or has sheared or unknown voxels.
    """
    package = nibabel()
    try:
        with ExitStack() as stack:
            file = stack.enter_context(_opened(_of_pair(path, ".hdr")))
            is_second = file.read(348)[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")
            file.seek(0)
            kind = package.Nifti2Header if is_second else package.Nifti1Header
            header = kind.from_fileobj(file, check=False)  # which would invent a spacing where it is 0
            shape = _shape(header)
            dtype = header.get_data_dtype()
            if dtype.names is not None:
                raise InputError(f"it has {len(dtype.names)} values per voxel (colour). Convert colour to grey levels.")
            if dtype.kind == "c":
                raise InputError("its voxels are complex numbers. Save their magnitude, and use that file.")
            if header["magic"].item()[:2] == b"ni":
                file = stack.enter_context(_opened(_of_pair(path, ".img")))
            raw = _voxels(file, int(header.get_data_offset()), dtype, shape)
            slope, intercept = header.get_slope_inter()
            grid = _grid(header, shape)
    except (OSError, EOFError, zlib.error, package.spatialimages.HeaderDataError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{cause(error)}. Copy or export it again.") from error
    return raw if slope is None else rescaled(raw, slope, intercept), grid


def _of_pair(path: Path, extension: str) -> Path:
    """Return the file of a pair .hdr and .img that has this extension; any other file itself."""
    for one in (".hdr", ".img"):
        if one in (suffix.lower() for suffix in path.suffixes[-2:]):
            return path.with_name(path.name[:path.name.lower().rindex(one)] + extension
                                  + path.name[path.name.lower().rindex(one) + 4:])
    return path


def _opened(path: Path) -> IO[bytes]:
    """Open a file, unpacked if its content is gzip, whatever its name says."""
    with path.open("rb") as file:
        is_packed = file.read(2) == _GZIP
    return cast(IO[bytes], gzip.open(path)) if is_packed else path.open("rb")


def _shape(header: Any) -> tuple[int, int, int]:
    """(K, J, I) voxels."""
    sizes = [int(n) for n in header["dim"][1:1 + int(header["dim"][0])]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 3:
        raise InputError(f"it has {len(sizes)} dimensions, {' x '.join(map(str, sizes))}. Give one volume of three "
                         "dimensions; extract one frame of a series of volumes.")
    return sizes[2], sizes[1], sizes[0]


def _voxels(file: IO[bytes], start: int, dtype: np.dtype, shape: tuple[int, int, int]) -> np.ndarray:
    """[k, j, i] as stored, in the byte order of this machine."""
    array = np.empty(shape, dtype)
    rest = memoryview(array.reshape(-1).view(np.uint8).data)
    file.seek(start)
    while len(rest):
        count = file.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise EOFError(f"the file ends early, after {file.tell()} of {start + array.nbytes} bytes")
        rest = rest[count:]
    while file.read(2 ** 20):
        pass  # to the end, where gzip keeps its checksum
    return array.astype(dtype.newbyteorder("="), copy=False)


def _grid(header: Any, shape: tuple[int, int, int]) -> Grid:
    """The place of the voxels, in LPS mm."""
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    sides = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    if not has_sform and (not np.isfinite(sides).all() or sides.min() <= 0):
        raise InputError(f"its header gives no usable voxel spacing ({' x '.join(f'{x:g}' for x in sides)} mm). "
                         "Correct the header, or convert the original again.")
    if has_sform:
        affine = header.get_sform()
    else:
        affine = header.get_qform() if has_qform else RAS_TO_LPS @ np.diag([*sides, 1.0])
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise InputError("its header gives no usable voxel spacing or direction. Correct the header, or convert the "
                         "original again.")
    unit = np.diag([*[unit_of(header)] * 3, 1.0])
    grid = Grid.from_affine(unit @ affine, shape, unit[0, 0] * sides)
    if has_sform and has_qform and sides.min() > 0:
        _warn_of_two_places(unit @ affine, unit @ header.get_qform(), grid)
    return grid


def _warn_of_two_places(sform: np.ndarray, qform: np.ndarray, grid: Grid) -> None:
    corners = np.column_stack([grid.corners, np.ones(8)])
    apart = np.linalg.norm(corners @ (sform - qform).T, axis=1).max()
    if apart > 0.1 * np.linalg.norm(sform[:3, :3], axis=0).min():
        warnings.warn(f"A NIfTI header tells two places, {apart:.3g} mm apart. The sform is used, as by FSL, SPM and "
                      "nibabel, whereas programs built on ITK take the qform. Correct the header if that is wrong.",
                      stacklevel=6)
