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

from ..data.geometry import RAS_TO_LPS, Grid
from ..data.images import value_type
from ..errors import InputError, MissingPackageError, cause

_EXTENSIONS = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
_GZIP = b"\x1f\x8b"
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # of the codes of length in xyzt_units that are not mm
_TO_LPS = np.diag([*RAS_TO_LPS, 1.0])  # NIfTI's world is RAS
_TOLERANCE = 0.01  # voxels that rounding in a header may move a corner of the volume


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
    try:
        import nibabel
    except ImportError as error:
        raise MissingPackageError("NIfTI files need nibabel. Install it with 'pip install nibabel'.") from error
    try:
        with ExitStack() as stack:
            file = stack.enter_context(_opened(_of_pair(path, ".hdr")))
            is_second = file.read(348)[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")
            file.seek(0)
            kind = nibabel.Nifti2Header if is_second else nibabel.Nifti1Header
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
    except (OSError, EOFError, zlib.error, nibabel.spatialimages.HeaderDataError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{cause(error)}. Copy or export it again.") from error
    return raw if slope is None else _scaled(raw, slope, intercept), grid


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


def _scaled(raw: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """`slope * raw + intercept`; `raw` itself where that changes nothing."""
    if (slope, intercept) == (1.0, 0.0):
        return raw
    array: np.ndarray = raw * np.float64(slope) + np.float64(intercept)
    finite = array[np.isfinite(array)]
    if raw.dtype == np.float64 or not len(finite):
        return array
    return array.astype(value_type(float(finite.min()), float(finite.max())), copy=False)


def _grid(header: Any, shape: tuple[int, int, int]) -> Grid:
    """The place of the voxels, in LPS mm."""
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    sides = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    if not has_sform and (not np.isfinite(sides).all() or sides.min() <= 0):
        raise InputError(f"its header gives no usable voxel spacing ({' x '.join(f'{x:g}' for x in sides)} mm). "
                         "Correct the header, or convert the original again.")
    if has_sform:
        matrix = _TO_LPS @ header.get_sform()
    else:
        matrix = _TO_LPS @ header.get_qform() if has_qform else np.diag([*sides, 1.0])
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
        raise InputError("its header gives no usable voxel spacing or direction. Correct the header, or convert the "
                         "original again.")
    unit = np.diag([*[_MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)] * 3, 1.0])
    grid = _perpendicular(unit @ matrix, unit[0, 0] * sides, shape)
    if has_sform and has_qform and sides.min() > 0:
        _warn_of_two_places(unit @ matrix, unit @ _TO_LPS @ header.get_qform(), shape)
    return grid


def _warn_of_two_places(sform: np.ndarray, qform: np.ndarray, shape: tuple[int, int, int]) -> None:
    apart = np.linalg.norm(_corners(shape) @ (sform - qform).T, axis=1).max()
    if apart > 0.1 * np.linalg.norm(sform[:3, :3], axis=0).min():
        warnings.warn(f"A NIfTI header tells two places, {apart:.3g} mm apart. The sform is used, as by FSL, SPM and "
                      "nibabel, whereas programs built on ITK take the qform. Correct the header if that is wrong.",
                      stacklevel=6)


def _perpendicular(matrix: np.ndarray, sides: np.ndarray, shape: tuple[int, int, int]) -> Grid:
    """Return the grid of a matrix from index to mm, its axes brought to right angles where rounding moved them.

    matrix: (4, 4).  sides: (3,) mm, of a voxel as the header tells them beside the matrix.
    """
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = matrix[:3, :3] / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-6:
        left, _, right = np.linalg.svd(axes)
        axes = left @ right  # the nearest at right angles
    spacing = np.where(np.isclose(spacing, sides, rtol=1e-5, atol=0.0), sides, spacing)  # rounded once, not thrice
    grid = Grid(shape, tuple(matrix[:3, 3]), tuple(spacing), tuple(map(tuple, axes)))
    apart = np.linalg.norm(_corners(shape) @ (grid.ijk_to_lps - matrix).T, axis=1).max()
    if apart > _TOLERANCE * spacing.min():
        raise InputError("its axes are not at right angles (sheared voxels). Resample it onto a grid with "
                         "perpendicular axes first.")
    return grid


def _corners(shape: tuple[int, int, int]) -> np.ndarray:
    """(8, 4): indices i, j, k and 1 of the outermost voxels."""
    return np.array([[i, j, k, 1] for i in (0, shape[2] - 1) for j in (0, shape[1] - 1) for k in (0, shape[0] - 1)])
