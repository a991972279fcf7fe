"""MetaImage files, `.mha` or `.mhd` with data files, read by their own header: ITK prints what it meets in them.

https://itk.org/Wiki/ITK/MetaIO/Documentation explains the fields of the header.
"""
from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from ..data.geometry import RAS_TO_LPS, Grid, by
from ..errors import InputError, InputNote
from .byte_streams import Part, opened, read_voxels, told
from .choice import one_slice, several_values, volume_index
from .data_files import data_files, numbered
from .foreign_files import refuse_tracked
from .lengths import in_mm

_LONGEST = 2 ** 24  # bytes of a header
_TYPES = {"CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4",
          "ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8"}
_STACK_LEVEL = 6  # from here to who called read_image

Fields = Mapping[str, str]


def is_metaimage(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a MetaImage header."""
    return re.match(rb"\s*\w+\s*=", start) is not None \
        and (b"NDims" in start or b"DimSize" in start)


def read_metaimage(path: Path, volume_number: int | None) -> tuple[np.ndarray, Grid, dict[str, str]]:
    """Return voxels [k, j, i], their grid, and the fields of the header.

    Raises InputError for what is no volume of real numbers, is shorter or longer than its header tells, or sheared.
    """
    with told(), opened(path) as file:
        fields, names, length = _read_header(file)
    sizes = _whole(fields, "DimSize")
    if len(sizes) != _whole(fields, "NDims", 1)[0] or min(sizes) < 1:
        raise _damaged(f"NDims is {fields.get('NDims')}, but DimSize {fields.get('DimSize')}")
    refuse_tracked(fields)
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    channels = _whole(fields, "ElementNumberOfChannels", 1, "1")[0]
    if len(sizes) < 3:
        raise one_slice(by(sizes))
    if len(sizes) > 4 or channels < 1:
        raise InputError(f"it has {len(sizes)} dimensions, {by(sizes)}. Give one volume of three dimensions.")
    if channels > 1 and len(sizes) == 4:
        raise InputError(f"it has {channels} values per voxel in {sizes[3]} volumes. Extract one, and use that file.")
    grid = _grid(fields, sizes)
    parts, dtype = _parts(path, fields, names, length), _type(fields)
    if channels > 1 and volume_number is None:
        raise several_values(channels)
    volumes = sizes[3] if len(sizes) == 4 else channels
    index = volume_index(volumes, volume_number, f"{len(sizes)} dimensions, {by(sizes)}")
    if channels > 1:
        array = read_voxels(parts, dtype, (*reversed(sizes), channels), 3, index)
    else:
        array = read_voxels(parts, dtype, (volumes, *reversed(sizes[:3])), 0, index)
    return array, grid, dict(fields)


def _read_header(file: IO[bytes]) -> tuple[dict[str, str], list[str], int]:
    """Return the fields, the names that follow them as a LIST, and the length of the header."""
    fields: dict[str, str] = {}
    length = 0
    while (line := file.readline(_LONGEST)) and length < _LONGEST:
        length += len(line)
        key, mark, value = line.decode("utf-8", "replace").partition("=")
        if mark:
            fields[key.strip()] = value.strip()
        elif line.strip():
            raise _damaged("a line is no field")
        if key.strip() == "ElementDataFile":
            break
    missing = [key for key in ("NDims", "DimSize", "ElementType", "ElementDataFile") if not fields.get(key)]
    if missing:
        raise _damaged(f"it lacks {', '.join(missing)}")
    is_list = fields["ElementDataFile"].upper().startswith("LIST")
    names = [line.strip() for line in file.read(_LONGEST).decode("utf-8", "replace").splitlines()] if is_list else []
    return fields, list(filter(None, names)), length


def _parts(path: Path, fields: Fields, names: list[str], length: int) -> list[Part]:
    """Where the voxels are: behind the header, or in the files that it names."""
    packing = "zlib" if _is_true(fields, "CompressedData") else "raw"
    if not _is_true(fields, "BinaryData", "True"):
        packing = "text"
    start = _whole(fields, "HeaderSize", 1, "0")[0]
    where = fields["ElementDataFile"]
    if where.upper() == "LOCAL":
        return [Part(path, start=length, packing=packing)]
    words = where.split()
    if "%" in where and len(words) in (3, 4) and all(re.fullmatch(r"-?\d{1,9}", word) for word in words[1:]):
        names = numbered(words[0], int(words[1]), int(words[2]), int(words[3]) if len(words) == 4 else 1)
    elif not where.upper().startswith("LIST"):
        names = [where]
    files = data_files(path, names)
    return [Part(file, f"its data file '{file.name}'", max(start, -1), packing, is_beside=True) for file in files]


def _type(fields: Fields) -> np.dtype:
    name = fields["ElementType"].upper().removeprefix("MET_").removesuffix("_ARRAY")
    if name not in _TYPES:
        raise InputError(f"its voxels are of type '{fields['ElementType']}', which is no number. Convert them to "
                         "numbers.")
    dtype = np.dtype(_TYPES[name])
    if not _is_true(fields, "BinaryData", "True"):
        return dtype
    is_big = _is_true(fields, "BinaryDataByteOrderMSB") or _is_true(fields, "ElementByteOrderMSB")
    return dtype.newbyteorder(">" if is_big else "<")


def _grid(fields: Fields, sizes: list[int]) -> Grid:
    """The place of the first three axes, in LPS mm."""
    count = _whole(fields, "NDims", 1)[0]
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), count)
    if spacing is None:
        warnings.warn("The header tells no voxel spacing: 1 mm is taken along all axes. Write ElementSpacing into the "
                      "header if that is wrong.", InputNote, stacklevel=_STACK_LEVEL)
        spacing = np.ones(count)
    axes = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"), count * count)
    origin = _numbers(fields, ("Offset", "Position", "Origin"), count)
    axes = np.eye(count) if axes is None else axes.reshape(count, count).T
    affine = np.eye(4)
    affine[:3, :3] = axes[:3, :3] * spacing[:3]
    affine[:3, 3] = np.zeros(3) if origin is None else origin[:3]
    lengths = np.linalg.norm(axes[:3, :3], axis=0)
    if not np.isfinite(affine).all() or spacing[:3].min() <= 0 or np.abs(lengths - 1).max() > 0.01 \
            or abs(np.linalg.det(axes[:3, :3])) < 1e-6:
        raise InputError(f"its header gives no usable voxel spacing ({by(list(spacing[:3]))} mm), direction or origin. "
                         "Correct the header, or convert the original again.")
    unit = in_mm(fields.get("DistanceUnits", "mm"), _STACK_LEVEL)
    affine[:3] *= unit
    planes, rows, columns = sizes[2], sizes[1], sizes[0]
    return Grid.from_affine(RAS_TO_LPS @ affine, (planes, rows, columns), unit * spacing[:3])


def _numbers(fields: Fields, keys: tuple[str, ...], count: int) -> np.ndarray | None:
    """The numbers of the first of these fields that is there."""
    key = next((key for key in keys if key in fields), None)
    if key is None:
        return None
    try:
        values = np.array(fields[key].split(), np.float64)
    except ValueError:
        values = np.empty(0)
    if len(values) != count:
        raise _damaged(f"{key} needs {count} numbers")
    return values


def _whole(fields: Fields, key: str, count: int | None = None, otherwise: str = "") -> list[int]:
    words = fields.get(key, otherwise).split()
    if not words or not all(re.fullmatch(r"-?\d{1,18}", word) for word in words) or count not in (None, len(words)):
        raise _damaged(f"{key} is not given in whole numbers")
    return [int(word) for word in words]


def _is_true(fields: Fields, key: str, otherwise: str = "False") -> bool:
    return fields.get(key, otherwise)[:1].lower() in ("t", "1", "y")


def _damaged(problem: str) -> InputError:
    return InputError(f"its MetaImage header is damaged: {problem}. Correct it, or export the file again.")
