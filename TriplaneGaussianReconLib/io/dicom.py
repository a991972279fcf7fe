"""DICOM as one volume: a folder of slices, or one file that holds many."""
from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ..data.geometry import Grid
from ..data.units import HOUNSFIELD
from ..errors import InputError, InputNote
from .choice import Choice
from .dicom_files import dicom_images, named
from .dicom_frames import Frame, NoPlaceError, frames_of
from .dicom_header import DicomFile, damage_of, quiet
from .dicom_series import chosen_series
from .dicom_stack import check_alike, stacked
from .dicom_volumes import chosen_volume
from .dicom_voxels import voxels

_AIR = -1000.0  # HU; what is stored without a sign has an intercept of this or less


def read_dicom(path: Path, choice: Choice) -> tuple[np.ndarray, Grid, float | None, str]:
    """Return voxels [k, j, i] in real values, their grid, the value of voxels without data, None without any, and the
    unit, empty where it is not known.

    What was done so that the slices make a volume is told as an `InputNote`.

    Args:
        path: A folder that holds DICOM slices directly, or one file of many frames.
        choice: Which series, and which volume of it, where there are several.

    Raises:
        InputError: there is no volume of parallel grey slices, a file is damaged, or a choice is needed.
    """
    notes: list[str] = []
    try:
        with quiet(), damage_of(path.name, "its header is"):
            files = chosen_series(dicom_images(path), choice.series, notes)
            frames = _frames(files)
            if len(frames) == 1:
                raise InputError("it is a single DICOM slice. Give the folder that holds all slices of the series.")
            check_alike(frames)
            stack = stacked(chosen_volume(frames, choice.volume_number, notes), notes)
            array, padding = voxels(stack)
    finally:
        for note in notes:
            warnings.warn(note, InputNote, stacklevel=5)  # the line that called read_image
    return array, stack.grid, padding, HOUNSFIELD if all(_is_hounsfield(frame) for frame in stack.frames) else ""


def _is_hounsfield(frame: Frame) -> bool:
    """Whether the header says so: of CT, the type of its values, or an intercept that nothing else has."""
    if frame.fields.get("Modality") != "CT":
        return False
    kind = frame.fields.get("RescaleType", "PixelValueTransformationSequence")
    return str(kind).strip() == HOUNSFIELD if kind else frame.intercept <= _AIR


def _frames(files: list[DicomFile]) -> list[Frame]:
    """The frames of all files; raises InputError that names those which have no place."""
    frames: list[Frame] = []
    homeless: dict[str, NoPlaceError] = {}
    for file in files:
        try:
            with damage_of(file.path.name, "its header is"):
                frames += frames_of(file)
        except NoPlaceError as error:
            homeless[file.path.name] = error
    if not homeless:
        return frames
    first = next(iter(homeless.values()))
    if len(homeless) == 1:
        raise first
    if frames:
        raise InputError(f"{len(homeless)} of its {len(files)} DICOM files do not tell where their slices lie: "
                         f"{named(list(homeless))}. Take them out of the folder.") from first
    raise InputError(f"its DICOM slices do not tell where they lie. {first}") from first
