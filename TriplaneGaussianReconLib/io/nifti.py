"""NIfTI files, read by their own header: ITK prefers the qform to the sform, and repairs what it should refuse.

https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h explains the fields of the header.
"""
from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..data.conversions import nibabel, unit_of
from ..data.geometry import RAS_TO_LPS, Grid, by
from ..data.voxel_types import rescaled
from ..errors import InputError, InputNote
from .byte_streams import Part, opened, read_voxels, told
from .choice import one_slice, volume_index


def is_nifti(start: bytes) -> bool:
    """Whether the first 348 bytes of a file are a NIfTI header; those of Analyze files are none."""
    return start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2")


def read_nifti(path: Path, volume_number: int | None) -> tuple[np.ndarray, Grid]:
    """Return voxels [k, j, i], scaled as the header tells, and their grid.

    The sform tells the place, if there is none the qform.  Voxels that are not scaled keep their type.
    Raises InputError for what is no volume of real numbers, ends early, or has sheared or unknown voxels.
    """
    header = _read_header(header_file(path))
    sizes = sizes_of(header)
    dtype = type_of(header)
    volumes = sizes[3] if len(sizes) == 4 else 1
    index = volume_index(volumes, volume_number, f"{len(sizes)} dimensions, {by(sizes)}")
    shape = sizes[2], sizes[1], sizes[0]
    with _damaged():
        grid = _grid(header, shape)
    raw = read_voxels([_part(path, header)], dtype, (volumes, *shape), 0, index)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    is_scaled = np.isfinite(slope) and slope != 0
    if raw.dtype.itemsize > 8:  # float128, which little else can work with
        raw = raw.astype(np.float64)
    return rescaled(raw, slope, intercept if np.isfinite(intercept) else 0.0) if is_scaled else raw, grid


def of_pair(path: Path, extension: str) -> Path:
    """Return the file of a pair .hdr and .img that has this extension; any other file itself."""
    for one in (".hdr", ".img"):
        if one in (suffix.lower() for suffix in path.suffixes[-2:]):
            at = path.name.lower().rindex(one)
            other = path.name[:at] + (extension.upper() if path.name[at:at + 4].isupper() else extension)
            names = [other + path.name[at + 4:], other, f"{other}.gz"]
            return path.with_name(next((name for name in names if path.with_name(name).exists()), names[0]))
    return path


def header_file(path: Path) -> Path:
    """Return the file that holds the header, the .hdr of a pair."""
    header = of_pair(path, ".hdr")
    return header if header.exists() else path


def _read_header(path: Path) -> Any:
    """The header as it stands: checks of nibabel would invent a spacing where it is 0."""
    package = nibabel()
    with told(), _damaged(), opened(path) as file:
        is_second = file.read(348)[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")
        file.seek(0)
        kind = package.Nifti2Header if is_second else package.Nifti1Header
        return kind.from_fileobj(file, check=False)


@contextmanager
def _damaged() -> Iterator[None]:
    """Raise what nibabel meets in a header, of which it has errors of many classes, as InputError."""
    try:
        yield
    except (OSError, EOFError, zlib.error, MemoryError, InputError):
        raise
    except Exception as error:
        raise InputError("its header is damaged. Copy or export it again.") from error


def sizes_of(header: Any) -> list[int]:
    """Voxels along i, j, k, and the number of volumes if there are several."""
    sizes = [int(n) for n in header["dim"][1:1 + int(header["dim"][0])]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if not 1 <= int(header["dim"][0]) <= 7 or min(sizes, default=0) < 1:
        raise InputError(f"its header is damaged: it tells {int(header['dim'][0])} dimensions, {by(sizes) or 'no'} "
                         "voxels. Copy or export it again.")
    if len(sizes) < 3:
        raise one_slice(by(sizes))
    if len(sizes) == 4 and sizes[2] == 1:
        raise InputError(f"it holds {sizes[3]} volumes of one slice ({by(sizes)}), which do not tell how far apart "
                         "they are. Convert the original again, with the slices along the third dimension.")
    if len(sizes) > 4:
        raise InputError(f"it has {len(sizes)} dimensions, {by(sizes)}. Give one volume of three dimensions.")
    return sizes


def type_of(header: Any) -> np.dtype:
    """The type of the voxels as stored, a real number."""
    try:
        dtype: np.dtype = header.get_data_dtype()
    except (KeyError, nibabel().spatialimages.HeaderDataError) as error:
        raise InputError("its header names no known type of voxels. Copy or export it again.") from error
    if dtype.names is not None:
        raise InputError(f"it has {len(dtype.names)} values per voxel (colour). Convert colour to grey levels.")
    if dtype.kind == "c":
        raise InputError("its voxels are complex numbers. Save their magnitude, and use that file.")
    if dtype.kind not in "iuf":
        raise InputError(f"its voxels are of type {dtype}, which is no number. Convert them to numbers.")
    return dtype


def _part(path: Path, header: Any) -> Part:
    """Where the voxels are: behind the header, or in the .img beside it."""
    offset, is_pair = float(header["vox_offset"]), header["magic"].item()[:2] == b"ni"
    file = of_pair(path, ".img") if is_pair else header_file(path)
    least = 0 if is_pair else int(header["sizeof_hdr"]) if int(header["sizeof_hdr"]) in (348, 540) else 348
    if offset == 0 and not is_pair:
        offset = least + 4
    if not (np.isfinite(offset) and least <= offset < 2 ** 62):
        raise InputError(f"its header is damaged: the voxels begin at byte {offset:g}, it says. Copy or "
                         "export it again.")
    if not file.exists():
        raise InputError(f"its data file '{file.name}' is missing. Put it beside '{path.name}'.")
    return Part(file, f"its data file '{file.name}'" if is_pair else "the file", int(offset), is_exact=False)


def _grid(header: Any, shape: tuple[int, int, int]) -> Grid:
    """The place of the voxels, in LPS mm."""
    has_sform = int(header["sform_code"]) > 0 and bool(header.get_sform()[:3, :3].any())  # zeros are an empty field
    qform = _qform(header) if int(header["qform_code"]) > 0 else None
    sides = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    if not has_sform and (not np.isfinite(sides).all() or sides.min() <= 0):
        raise InputError(f"its header gives no usable voxel spacing ({' x '.join(f'{x:g}' for x in sides)} mm). "
                         "Correct the header, or convert the original again.")
    if has_sform:
        affine = header.get_sform()
    elif int(header["qform_code"]) > 0:
        if qform is None:
            raise InputError("the quaternion of its header tells no direction. Correct the header, or convert the "
                             "original again.")
        affine = qform
    else:
        affine = RAS_TO_LPS @ np.diag([*sides, 1.0])
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) <= \
            1e-6 * np.prod(np.linalg.norm(affine[:3, :3], axis=0)):
        raise InputError("its header gives no usable voxel spacing or direction. Correct the header, or convert the "
                         "original again.")
    unit = np.diag([*[unit_of(header)] * 3, 1.0])
    grid = Grid.from_affine(unit @ affine, shape, unit[0, 0] * sides)
    if has_sform and qform is not None and sides.min() > 0:
        _warn_of_two_places(unit @ affine, unit @ qform, grid)
    return grid


def _qform(header: Any) -> np.ndarray | None:
    """The place that the quaternion tells, None if it is none.  A pixdim[0] other than -1 counts as 1, by the rules."""
    tolerant = header.copy()
    if header["pixdim"][0] not in (-1, 1):
        tolerant["pixdim"][0] = 1
    try:
        affine: np.ndarray = tolerant.get_qform()
    except (ValueError, nibabel().spatialimages.HeaderDataError):  # longer than 1, or NaN
        return None
    return affine if np.isfinite(affine).all() else None


def _warn_of_two_places(sform: np.ndarray, qform: np.ndarray, grid: Grid) -> None:
    corners = np.column_stack([grid.corners, np.ones(8)])
    apart = np.linalg.norm(corners @ (sform - qform).T, axis=1).max()
    if apart > 0.1 * np.linalg.norm(sform[:3, :3], axis=0).min():
        warnings.warn(f"A NIfTI header tells two places, {apart:.3g} mm apart. The sform is used, as by FSL, SPM and "
                      "nibabel, whereas programs built on ITK take the qform. Correct the header if that is wrong.",
                      InputNote, stacklevel=7)
