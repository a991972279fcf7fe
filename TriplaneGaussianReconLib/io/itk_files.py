"""Reads files in the formats of SimpleITK."""
from __future__ import annotations

import locale
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..data.conversions import from_sitk, simpleitk
from ..data.geometry import Grid, by
from ..errors import InputError, cause


def is_text(path: str | Path) -> bool:
    """Whether a path is text in UTF-8; with any other, ITK ends the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_itk(path: Path, readable: str) -> tuple[np.ndarray, Grid, dict[str, str]]:
    """Return voxels [k, j, i] or [k, j, i, component], their grid, and the header fields that are not geometry.

    readable: what can be read instead, for the message of the InputError that is raised for anything else.
    """
    reader = simpleitk().ImageFileReader()
    reader.SetFileName(str(path))
    try:
        path.open("rb").close()
        with undisturbed():
            reader.ReadImageInformation()
            _check_header(reader)
            _check_length(reader, path)
            image = reader.Execute()
    except (OSError, RuntimeError) as error:
        problem = cause(error)
        if "orthonormal" in problem:
            raise InputError("its axes are not at right angles (sheared voxels), or its header is damaged. Resample "
                             "it onto a grid with perpendicular axes first.") from error
        if "Unable to determine" in problem:
            problem = "its format is not known, or its beginning is damaged"
        if "allocate" in problem:
            problem = "its header tells more voxels than there is memory for, or is damaged"
        raise InputError(f"{problem}. Give {readable}.") from error
    array, grid = from_sitk(image)
    metadata = {key: _text(image.GetMetaData(key)) for key in image.GetMetaDataKeys()
                if not key.startswith(("ITK_", "NRRD_"))}
    return array, grid, metadata


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep ITK's warnings off the console, and the locale as it is: its reader of VTK leaves another behind."""
    process, language = simpleitk().ProcessObject, locale.setlocale(locale.LC_ALL)
    before = process.GetGlobalWarningDisplay()
    process.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        process.SetGlobalWarningDisplay(before)
        locale.setlocale(locale.LC_ALL, language)


def _check_header(reader: Any) -> None:
    """Have a single frame read as a volume; raises InputError for what is no volume."""
    size = list(reader.GetSize())
    if len(size) == 4 and size[3] == 1:
        reader.SetExtractSize([*size[:3], 0])
    elif len(size) != 3:
        raise InputError(f"it has {len(size)} dimensions, {by(size)}. Give one volume of three dimensions; extract one "
                         "frame of a series of volumes.")


def _check_length(reader: Any, path: Path) -> None:
    """Raise InputError for a header that tells more voxels than the file can hold: ITK often does not notice."""
    voxel = simpleitk().GetArrayViewFromImage(simpleitk().Image([1] * reader.GetDimension(), reader.GetPixelID()))
    values = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"# vtk"):
        table = re.search(rb"\nLOOKUP_TABLE[^\n]*\n", start)
        stated = 2 * values - 1 if b"\nASCII" in start else values * voxel.itemsize
        least = (table.end() if table else 0) + stated
    elif path.suffix.lower() == ".gipl":
        least = 256 + values * voxel.itemsize
    else:
        least = values // 1032  # the most that deflate can pack
    if least > path.stat().st_size:
        raise InputError(f"it ends early: it cannot hold the {values} values that its header tells. Copy or export it "
                         "again.")


def _text(field: str) -> str:
    """Return a header field as it was meant: SimpleITK escapes bytes that are not UTF-8, then they are Latin-1."""
    raw = field.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
