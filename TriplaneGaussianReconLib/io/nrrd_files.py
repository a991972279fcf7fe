"""NRRD files, read by their own header: ITK knows no bzip2, no units, and passes over data that is longer than stated.

https://teem.sourceforge.net/nrrd/format.html explains the fields of the header.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..data.geometry import Grid, by
from ..errors import InputError
from .byte_streams import Part, opened, read_voxels, told
from .choice import one_slice, several_values, volume_index
from .data_files import data_files, numbered
from .foreign_files import refuse_tracked
from .nrrd_geometry import grid_of
from .seg_nrrd import has_segments

_LONGEST = 2 ** 24  # bytes of a header
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"), "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"), "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",), "f8": ("double",),
}
_TYPE = {name: code for code, names in _TYPES.items() for name in names}
_PACKINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2", "hex": "hex",
             "txt": "text", "text": "text", "ascii": "text"}
_NO_SPACE = {"lineskip": "line skip", "byteskip": "byte skip", "datafile": "data file", "axismins": "axis mins",
             "axismaxs": "axis maxs"}  # older spellings of fields
_SPATIAL = ("domain", "space", "???", "none")
_VOLUMES = ("list", "time", "vector")


@dataclass
class _Header:
    """fields: as pynrrd understands them.  metadata: what is no field.  listed: data files that follow a LIST."""

    fields: Mapping[str, Any]
    metadata: dict[str, str]
    length: int
    listed: list[str] = field(default_factory=list)


def read_nrrd(path: Path, volume_number: int | None) -> tuple[np.ndarray, Grid, dict[str, str]]:
    """Return voxels [k, j, i], of a `.seg.nrrd` [k, j, i, layer], their grid, and the fields that are not NRRD's.

    Raises InputError for what is no volume of real numbers, is shorter or longer than its header tells, or sheared.
    """
    with told(), opened(path) as file:
        header = _read_header(file)
    refuse_tracked(header.metadata)
    fields = header.fields
    sizes = [int(n) for n in np.atleast_1d(fields["sizes"])]
    if len(sizes) != fields["dimension"] or min(sizes, default=0) < 1:
        raise _damaged(f"it tells {fields['dimension']} dimensions, but the sizes {by(sizes)}")
    spatial, other = _axes(fields, sizes)
    dtype = _type(fields)
    parts = _parts(path, header, dtype)
    grid = grid_of(fields, spatial, sizes)
    number = None if has_segments(header.metadata) else _chosen(fields, sizes, other, volume_number)
    axis = 0 if other is None else len(sizes) - 1 - other
    array = read_voxels(parts, dtype, tuple(reversed(sizes)), axis, number)
    if other is not None and number is None:
        array = np.moveaxis(array, axis, -1).reshape(*grid.shape, sizes[other])
    return array.reshape(*grid.shape, *array.shape[3:]), grid, header.metadata


def _chosen(fields: Mapping[str, Any], sizes: list[int], other: int | None, number: int | None) -> int | None:
    """Return which index of the axis that is none of space is wanted, None where there is no such axis."""
    kinds = fields.get("kinds", [])
    kind = kinds[other].lower() if other is not None and other < len(kinds) else ""
    count = 1 if other is None else sizes[other]
    if kind == "complex":
        raise InputError("its voxels are complex numbers. Save their magnitude, and use that file.")
    if count > 1 and ((kind == "vector" and number is None) or kind not in (*_VOLUMES, *_SPATIAL, "")):
        raise several_values(count)
    index = volume_index(count, number, f"{len(sizes)} dimensions, {by(sizes)}")
    return None if other is None else index


def _read_header(file: IO[bytes]) -> _Header:
    """Read to the empty line before the voxels, or to the end of a header on its own."""
    import nrrd

    lines, metadata, listed, length = ["NRRD0005"], {}, [], 0
    is_list = False
    while (raw := file.readline(_LONGEST)) and length < _LONGEST:
        length += len(raw)
        line = _text(raw).rstrip("\r\n")
        if is_list and line.strip():
            listed.append(line.strip())
        elif not line.strip():
            break
        elif length == len(raw) or line.startswith("#"):
            continue  # the first line, which is known, and comments
        elif ":=" in line and not re.match(r"[^:]+: ", line):
            key, value = line.split(":=", 1)
            metadata[key] = re.sub(r"\\(n|\\)", lambda found: "\n" if found[1] == "n" else "\\", value)
        elif ":" in line:
            name, value = (text.strip() for text in line.split(":", 1))
            name = _NO_SPACE.get(name.lower(), name.lower())
            lines.append(f"{name}: {value}")
            is_list = name == "data file" and value.upper().startswith("LIST")
        else:
            raise _damaged(f"'{line[:40]}' is no field")
    try:
        fields = nrrd.read_header(lines)
    except Exception as error:  # pynrrd raises whatever its parsers meet
        raise _damaged(str(error) if isinstance(error, nrrd.NRRDError) else "a field has no usable value") from error
    missing = [name for name in ("dimension", "type", "encoding", "sizes") if name not in fields]
    if missing:
        raise _damaged(f"it lacks {', '.join(missing)}")
    return _Header(fields, metadata, length, listed)


def _axes(fields: Mapping[str, Any], sizes: list[int]) -> tuple[list[int], int | None]:
    """Return the three axes of space, and the one of components or volumes, if there is one."""
    kinds = [kind.lower() for kind in fields.get("kinds", ["???"] * len(sizes))]
    if len(kinds) != len(sizes):
        raise _damaged(f"it tells {len(kinds)} kinds of {len(sizes)} axes")
    spatial = [n for n, kind in enumerate(kinds) if kind in _SPATIAL]
    directions = fields.get("space directions")
    if len(spatial) > 3 and directions is not None and len(directions) == len(sizes):
        spatial = [n for n in spatial if not np.isnan(directions[n]).all()]
    for n in reversed(range(len(sizes))):  # further axes are the last ones, or of a single index
        if len(spatial) > 3 and n in spatial and (sizes[n] == 1 or n == spatial[-1]):
            spatial.remove(n)
    others = [n for n in range(len(sizes)) if n not in spatial]
    while len(others) > 1 and any(sizes[n] == 1 for n in others):
        others.remove(next(n for n in others if sizes[n] == 1))
    if len(spatial) < 3:
        if len(sizes) < 3 or min(spatial, default=0) > 0:
            raise one_slice(by([sizes[n] for n in spatial]))
        raise InputError(f"it is a series of pictures of two dimensions ({by(sizes)}), which are no parallel slices. "
                         "Give one volume of three dimensions.")
    if len(others) > 1 or len(spatial) > 3:
        raise InputError(f"it has {len(sizes)} dimensions, {by(sizes)}. Give one volume of three dimensions.")
    return spatial, others[0] if others else None


def _type(fields: Mapping[str, Any]) -> np.dtype:
    name = " ".join(str(fields["type"]).lower().split())
    if name not in _TYPE:
        raise InputError(f"its voxels are of type '{name}', which is no number. Convert them to numbers.")
    dtype = np.dtype(_TYPE[name])
    if dtype.itemsize > 1 and _packing(fields) != "text":
        order = str(fields.get("endian", "")).lower()
        if order not in ("little", "big"):
            raise _damaged("it does not tell the byte order (endian: little or big)")
        dtype = dtype.newbyteorder("<" if order == "little" else ">")
    return dtype


def _packing(fields: Mapping[str, Any]) -> str:
    encoding = str(fields["encoding"]).lower()
    if encoding not in _PACKINGS:
        raise InputError(f"its voxels are packed in a way that is not known, '{encoding}'. Save it with gzip or raw.")
    return _PACKINGS[encoding]


def _parts(path: Path, header: _Header, dtype: np.dtype) -> list[Part]:
    """Where the voxels are: behind the header, or in the files that it names."""
    fields, packing = header.fields, _packing(header.fields)
    lines, skip = int(fields.get("line skip", 0)), int(fields.get("byte skip", 0))
    if lines < 0 or skip < -1:
        raise _damaged("it skips a negative number of lines or bytes")
    name = fields.get("data file")
    if name is None:
        files, start = [path], header.length
    else:
        files, start = data_files(path, _names(str(name), header)), 0
    is_packed = packing not in ("raw", "text", "hex")
    if not is_packed and skip > 0:
        start, skip = start + skip, 0
    parts = []
    for number, file in enumerate(files):
        called = "the file" if name is None else f"its data file '{file.name}'"
        begin = start + _length_of_lines(file, start, lines, called) if lines else start
        parts.append(Part(file, called, -1 if skip == -1 and packing == "raw" else begin, packing, max(skip, 0),
                          is_beside=name is not None))
        if number == 0 and name is not None and path.exists() and file.samefile(path):
            raise _damaged("it names itself as its data file")
    return parts


def _names(value: str, header: _Header) -> list[str]:
    if value.upper().startswith("LIST"):
        return header.listed
    words = value.split()
    if "%" in value and len(words) >= 4 and all(re.fullmatch(r"-?\d{1,9}", word) for word in words[1:]):
        return numbered(words[0], *map(int, words[1:4]))
    return [value]


def _length_of_lines(file: Path, start: int, lines: int, name: str) -> int:
    """Bytes of the lines to skip."""
    with told(name), opened(file) as stream:
        stream.seek(start)
        for _ in range(lines):
            if not stream.readline(_LONGEST):
                raise EOFError
        return stream.tell() - start


def _text(line: bytes) -> str:
    """Headers are ASCII by the rules, UTF-8 in Slicer, and Latin-1 elsewhere."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _damaged(problem: str) -> InputError:
    return InputError(f"its NRRD header is damaged: {problem}. Correct it, or export the file again.")
