"""A folder of DICOM slices as one volume: which files, in which order, with which values, at which place."""
from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..data.geometry import Grid
from ..errors import InputError, cause

_UNEVEN = 0.2  # of the slice distance: how far a DICOM slice may lie from its even position; headers are rounded
_PIXEL_TYPE = {"8-bit unsigned integer": np.uint8, "8-bit signed integer": np.int8,
               "16-bit unsigned integer": np.uint16, "16-bit signed integer": np.int16,
               "32-bit unsigned integer": np.uint32, "32-bit signed integer": np.int32,
               "32-bit float": np.float32, "64-bit float": np.float64}


@dataclass(frozen=True)
class _Header:
    """What the header of one slice tells.

    size: columns, rows.  spacing: mm between columns, between rows.  position: (3,) LPS mm of the first pixel.
    orientation: (6,) cosines of a row's and a column's direction.  dtype: of the values, rescaled.
    """

    file: str
    size: tuple[int, int]
    spacing: tuple[float, float]
    position: np.ndarray
    orientation: np.ndarray
    dtype: np.dtype


def series_files(sitk: ModuleType, folder: Path) -> tuple[str, ...]:
    """Return the files of the largest series directly in `folder`; a warning lists the others if there are any."""
    series = {uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
              for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))}
    if not series:
        raise InputError("the folder directly holds no DICOM slices. Give the folder of one DICOM series, or a file.")
    chosen = max(series, key=lambda uid: len(series[uid]))
    if len(series) > 1:
        listing = "; ".join(f"{len(files)} files, {_description(sitk, files[0])}" for files in series.values())
        warnings.warn(f"'{folder}' holds {len(series)} DICOM series ({listing}). Reading the largest, "
                      f"{_description(sitk, series[chosen][0])}. Put the wanted series into a folder of its own to "
                      "choose another.", stacklevel=5)
    return tuple(series[chosen])


def read_slices(sitk: ModuleType, files: tuple[str, ...]) -> tuple[np.ndarray, Grid]:
    """Return the voxels [k, j, i] of several slices, each rescaled as its own header tells, and their grid.

    The voxel type is one that holds the values of all slices.
    Raises InputError if the slices are not parallel, of one kind, complete and evenly spaced.
    """
    headers = [_header(sitk, file) for file in files]
    _check_alike("pixels", "x", "", headers, [header.size for header in headers])
    _check_alike("pixel spacing", "x", " mm", headers, [_rounded(header.spacing) for header in headers])
    first = headers[0]
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    headers.sort(key=lambda header: float(header.position @ normal))
    distance = _slice_distance(np.array([header.position for header in headers]),
                               np.array([header.orientation for header in headers]), min(first.spacing))
    columns, rows = first.size
    array = np.empty((len(headers), rows, columns), np.result_type(*(header.dtype for header in headers)))
    for number, header in enumerate(headers):
        array[number] = _pixels(sitk, header.file)
    direction = np.stack([first.orientation[:3], first.orientation[3:], normal], axis=1)
    return array, Grid(array.shape, tuple(headers[0].position), (*first.spacing, distance),
                       tuple(map(tuple, direction)))


def as_stored(array: np.ndarray, reader: Any) -> np.ndarray:
    """Undo the inversion by which GDCM shows what MONOCHROME1 means to look like: values keep their meaning.

    reader: SimpleITK's reader of the file that `array` comes from, after its header has been read.
    """
    if _field(reader, "0028|0004") != "MONOCHROME1":
        return array
    slope, intercept = (float(_field(reader, key) or usual) for key, usual in (("0028|1053", 1), ("0028|1052", 0)))
    # GDCM turns the stored value s into `largest - s`, before slope and intercept are applied.
    largest = -1.0 if _field(reader, "0028|0103") == "1" else 2.0 ** int(_field(reader, "0028|0101")) - 1.0
    return (slope * largest + 2.0 * intercept - array.astype(np.float64)).astype(array.dtype)


def _reader(sitk: ModuleType, file: str) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    return reader


def _header(sitk: ModuleType, file: str) -> _Header:
    reader = _reader(sitk, file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"'{Path(file).name}' cannot be read ({cause(error)}). Copy or export it again, or take it "
                         "out of the folder.") from error
    place = [_field(reader, key) for key in ("0020|0032", "0020|0037")]
    if not all(place):
        raise InputError("its DICOM slices do not tell their position and orientation (screenshots or single "
                         "frames). Use the original series, or convert it to a file that has the geometry.")
    if reader.GetNumberOfComponents() > 1:
        raise InputError("its DICOM slices are in colour. Convert colour to grey levels, and use that file.")
    position, orientation = (np.array([float(x) for x in text.split("\\")]) for text in place)
    dtype = _PIXEL_TYPE[sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())]
    size, spacing = reader.GetSize(), reader.GetSpacing()
    return _Header(file, (size[0], size[1]), (spacing[0], spacing[1]), position, orientation, np.dtype(dtype))


def _pixels(sitk: ModuleType, file: str) -> np.ndarray:
    """[row, column] of one slice, rescaled."""
    reader = _reader(sitk, file)
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise InputError(f"'{Path(file).name}' cannot be read ({cause(error)}). Copy or export it again, or take it "
                         "out of the folder.") from error
    return as_stored(array.reshape(array.shape[-2:]), reader)


def _field(reader: Any, key: str) -> str:
    """A field of the header that has been read, "" where there is none."""
    return str(reader.GetMetaData(key)).strip(" \0") if reader.HasMetaDataKey(key) else ""


def _rounded(spacing: tuple[float, float]) -> tuple[float, ...]:
    """Mm to three digits: headers of one series may differ by rounding."""
    return tuple(float(f"{side:.3g}") for side in spacing)


def _check_alike(what: str, between: str, unit: str, headers: list[_Header], values: Sequence[tuple[float, ...]]
                 ) -> None:
    """Raise InputError that names the files whose value is not the one that most have."""
    usual = Counter(values).most_common(1)[0][0]
    odd = [(Path(header.file).name, value) for header, value in zip(headers, values, strict=True) if value != usual]
    if odd:
        def text(value: tuple[float, ...]) -> str:
            return f" {between} ".join(f"{x:g}" for x in value) + unit

        listing = ", ".join(f"'{name}' ({text(value)})" for name, value in odd[:5])
        raise InputError(f"its {len(headers)} DICOM slices differ in {what}: most have {text(usual)}, but not "
                         f"{listing}{', ...' if len(odd) > 5 else ''}. Keep only the slices of one stack in the "
                         "folder.")


def _slice_distance(positions: np.ndarray, orientations: np.ndarray, pixel: float) -> float:
    """Return the mm between neighbours in a stack of DICOM slices.

    positions: (N, 3) mm, orientations: (N, 6) row and column cosines, pixel: mm, the smaller pixel spacing.
    Raises InputError if the slices are not parallel, stacked at a right angle, one per place, and evenly spaced.
    """
    if np.abs(orientations - orientations[0]).max() > 1e-3:
        raise InputError("its DICOM slices are not parallel (a localizer or radial scan). Keep only parallel slices.")
    normal = np.cross(orientations[0, :3], orientations[0, 3:])
    offsets = positions @ normal
    steps = np.diff(np.sort(offsets))
    usual = float(np.median(steps))
    if steps.min() <= 1e-3:
        raise InputError("several DICOM slices lie at the same place (time points, echoes or copies). Keep one slice "
                         "per place in the folder.")
    even = np.linspace(offsets[0], offsets[-1], len(offsets))
    wrong = np.flatnonzero(np.abs(steps - usual) > _UNEVEN * usual)
    if len(wrong) or np.abs(offsets - even).max() > _UNEVEN * usual:
        ordered = np.sort(offsets)
        gaps = "; ".join(f"{steps[n]:.3g} mm between slices {n} and {n + 1} (counted from 0, at {ordered[n]:.6g} and "
                         f"{ordered[n + 1]:.6g} mm)" for n in wrong[:5])
        raise InputError(f"its {len(offsets)} DICOM slices are unevenly spaced, probably some are missing. The usual "
                         f"distance is {usual:.4g} mm, but {gaps or 'it drifts'}{'; ...' if len(wrong) > 5 else ''}. "
                         "Export the series again with all slices, or resample it to an even spacing.")
    drift = np.linalg.norm(positions[-1] - positions[0] - (offsets[-1] - offsets[0]) * normal)
    if drift > pixel:
        raise InputError(f"its DICOM slices are sheared by {drift:.3g} mm over the stack (tilted gantry). Correct the "
                         "tilt first, for example by loading the series in 3D Slicer with regularization.")
    return float(abs(offsets[-1] - offsets[0])) / (len(offsets) - 1)


def _description(sitk: ModuleType, file: str) -> str:
    reader = _reader(sitk, file)
    reader.ReadImageInformation()
    return f"'{_field(reader, '0008|103e') or 'no description'}'"
