"""A volume as a folder of DICOM slices, derived from the series that it was made from."""
from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.geometry import Grid
from ..data.images import Image
from ..errors import InputError
from .dicom_header import quiet
from .dicom_source import CAUTION, MAKER, DicomSource, coded, derived_header, references_to

_CT, _MR, _PET, _CAPTURE = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("2", "4", "128", "7"))
_CLASSES = {_CT: _CT, f"{_CT}.1": _CT, f"{_CT}.2": _CT, _MR: _MR, f"{_MR}.1": _MR, f"{_MR}.4": _MR, _PET: _PET,
            f"{_PET}.1": _PET, "1.2.840.10008.5.1.4.1.1.130": _PET}  # enhanced ones become those of single slices
# What each class must have: the source's own, else this (None: it may be empty).
_SERIES: Mapping[str, Mapping[str, Any]] = {
    _CT: {"AcquisitionNumber": None, "KVP": None, "RescaleType": "HU"},
    _MR: {"ScanningSequence": "RM", "SequenceVariant": "NONE", "ScanOptions": None, "MRAcquisitionType": None,
          "RepetitionTime": None, "EchoTime": None, "EchoTrainLength": None, "InversionTime": None,
          "TriggerTime": None, "MagneticFieldStrength": None},
    _PET: {"Units": "NONE", "CountsSource": "EMISSION", "SeriesType": ["STATIC", "IMAGE"], "ReprojectionMethod": None,
           "CorrectedImage": None, "DecayCorrection": "NONE", "CollimatorType": None, "AcquisitionDate": None,
           "AcquisitionTime": None, "FrameReferenceTime": 0, "DecayFactor": 1, "ActualFrameDuration": 1,
           "RadiopharmaceuticalInformationSequence": [], "PatientOrientationCodeSequence": [],
           "PatientGantryRelationshipCodeSequence": [], "SUVType": None},
    _CAPTURE: {"ConversionType": "WSD"}}
_OPTIONAL = ("MagneticFieldStrength", "SUVType")  # left out where the source has none


class _Stored(NamedTuple):
    """Voxels in 16 bits; slope * voxel + intercept is the value.  padding: the voxel where there is no data."""

    array: np.ndarray
    slope: Any
    intercept: Any
    padding: int | None


def write_slices(folder: Path, image: Image, source: DicomSource, content: str = "", remark: str = "") -> None:
    """Write `image` as one file a slice into an empty folder.

    content: what the values are if they are no image, such as an expected error; empty for an image.
    remark: what else is to be known; what stands before its first colon goes into the name of the series.
    Raises InputError for a grid that DICOM slices cannot hold.
    """
    grid, array = image.grid, image.array
    if grid.is_sheared or grid.depths:
        raise InputError("The volume's slices are sheared or uneven, which a series of DICOM slices is not to be. "
                         "Choose another format.")
    if np.linalg.det(np.asarray(grid.direction)) < 0:  # slices are numbered along their own normal
        array = array[::-1]
        last = tuple(grid.index_to_physical(np.array([0, 0, len(array) - 1])))
        direction = np.asarray(grid.direction) * [1, 1, -1]
        grid = Grid(grid.shape, last, grid.spacing, tuple(map(tuple, direction)))
    sop_class = _CAPTURE if content else _CLASSES.get(str(source.first.SOPClassUID), _CAPTURE)
    stored = _stored(array, image.padding, sop_class == _PET)
    header = _series_header(source, sop_class, content, remark, grid, stored)
    digits = len(str(len(array)))
    for number, pixels in enumerate(stored.array):
        _slice(header, number, pixels, grid, source).save_as(folder / f"{number + 1:0{max(digits, 4)}d}.dcm",
                                                             enforce_file_format=True)


def _stored(array: np.ndarray, padding: float | None, from_zero: bool) -> _Stored:
    """Put values into 16 bits: whole numbers as they are where they fit, all else in equal steps.

    from_zero: 0 is to be stored as 0, as PET demands.
    """
    data = np.isfinite(array)
    if data.all() and np.array_equal(array, np.round(array)):
        for limits in (np.iinfo(np.dtype(name)) for name in ("int16", "uint16")):
            if limits.min <= array.min() and array.max() <= limits.max and not (from_zero and array.min() < 0):
                fits = padding is not None and padding == np.round(padding) and limits.min <= padding <= limits.max
                return _Stored(array.astype(limits.dtype), _ds(1), _ds(0), int(padding or 0) if fits else None)
    if padding is not None:
        data &= array != padding
    return _in_steps(np.where(data, array, array[data].min(initial=np.inf) if data.any() else 0.0), data, from_zero)


def _in_steps(array: np.ndarray, data: np.ndarray, from_zero: bool) -> _Stored:
    """Spread values over 16 bits; where there is no data the voxel is 0, and padding unless 0 is to be a value."""
    lowest, highest = float(array.min()), float(array.max())
    if from_zero:
        limits = np.iinfo(np.dtype("int16" if lowest < 0 else "uint16"))
        slope, intercept, first, padded = _step(max(highest, -lowest), limits.max), 0.0, -limits.max, False
    else:
        limits, padded = np.iinfo(np.dtype("uint16")), not data.all()
        first = int(padded)
        slope = _step(highest - lowest, limits.max - first)
        intercept = lowest - first * float(slope)
    written = _ds(intercept)
    steps = np.clip(np.round((array.astype(np.float64) - float(written)) / float(slope)), max(first, limits.min),
                    limits.max)
    return _Stored(np.where(data, steps, 0).astype(limits.dtype), slope, written, 0 if padded else None)


def _step(length: float, steps: int) -> Any:
    """`length` / `steps`, or a little more, so that rounding to 16 signs does not fall below it."""
    return _ds(length / steps * (1 + 1e-9) or 1.0)


def _ds(number: float) -> Any:
    """A number as DICOM writes it, in 16 signs."""
    from pydicom.valuerep import DSfloat

    return DSfloat(float(number), auto_format=True)


def _series_header(source: DicomSource, sop_class: str, content: str, remark: str, grid: Grid, stored: _Stored
                   ) -> Any:
    """What all slices have in common."""
    from pydicom.uid import generate_uid

    header, now = derived_header(source), datetime.now()
    with quiet():
        header.SOPClassUID, header.SeriesInstanceUID = sop_class, generate_uid()
        header.Modality = str(source.first.get("Modality") or "OT")
        header.SeriesNumber = _series_number(source)
        name = str(source.first.get("SeriesDescription") or header.Modality)
        kind = content or remark.partition(":")[0]
        ending = f"{': ' + kind if kind else ''} ({MAKER})"
        header.SeriesDescription = name[:64 - len(ending)] + ending
        header.SeriesDate = header.ContentDate = header.InstanceCreationDate = now.strftime("%Y%m%d")
        header.SeriesTime = header.ContentTime = header.InstanceCreationTime = now.strftime("%H%M%S")
        for keyword, usual in _SERIES[sop_class].items():
            own = source.first[keyword].value if keyword in source.first else None
            if own not in (None, "") or keyword not in _OPTIONAL:
                setattr(header, keyword, deepcopy(own) if own not in (None, "") else usual)
        header.ImageType = ["DERIVED", "SECONDARY", *{_CT: ["AXIAL"], _MR: ["OTHER"]}.get(sop_class, [])]
        what = content[:1].upper() + content[1:] or "Slices filled in between those of the source"
        more = f"; {remark}" if remark else ""
        header.DerivationDescription = f"{what}{more}, by {MAKER}. {CAUTION}"
        header.DerivationCodeSequence = [coded("113085", "DCM", "Spatial resampling")]
        _describe_pixels(header, sop_class, content, grid, stored)
        if not content and "WindowWidth" in source.first and "WindowCenter" in source.first:
            header.WindowWidth, header.WindowCenter = source.first.WindowWidth, source.first.WindowCenter
    return header


def _series_number(source: DicomSource) -> int:
    """A number that the scanner is not likely to have used."""
    try:
        return (int(source.first.get("SeriesNumber") or 0) * 100 + 1) % 2 ** 31
    except (TypeError, ValueError):
        return 1


def _describe_pixels(header: Any, sop_class: str, content: str, grid: Grid, stored: _Stored) -> None:
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = grid.shape[1:]
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation = int(stored.array.dtype == np.int16)
    if sop_class != _MR or (float(stored.slope), float(stored.intercept)) != (1.0, 0.0):  # MR has none by itself
        header.RescaleSlope, header.RescaleIntercept = stored.slope, stored.intercept
        if "RescaleType" not in header and sop_class != _PET:
            header.RescaleType = "US"  # unspecified
    if stored.padding is not None:
        header.PixelPaddingValue = stored.padding
    header.PixelSpacing = [_ds(grid.spacing[1]), _ds(grid.spacing[0])]
    header.SliceThickness = header.SpacingBetweenSlices = _ds(grid.spacing[2])
    header.ImageOrientationPatient = [_ds(x) for x in np.asarray(grid.direction)[:, :2].T.ravel()]
    if sop_class == _PET:
        header.NumberOfSlices = grid.shape[0]
    if sop_class == _CAPTURE and not content:
        header.ContentQualification = "RESEARCH"


def _slice(header: Any, number: int, pixels: np.ndarray, grid: Grid, source: DicomSource) -> Any:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    position = grid.index_to_physical(np.array([0, 0, number]))
    with quiet():
        image = deepcopy(header)
        image.SOPInstanceUID, image.InstanceNumber = generate_uid(), number + 1
        image.ImagePositionPatient = [_ds(x) for x in position]
        image.SliceLocation = _ds(position @ np.asarray(grid.direction)[:, 2])
        if "NumberOfSlices" in image:
            image.ImageIndex = number + 1
        image.SourceImageSequence = references_to(source.near(position, np.asarray(grid.direction)[:, 2]))
        image.PixelData = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
        image["PixelData"].VR = "OW"
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image
