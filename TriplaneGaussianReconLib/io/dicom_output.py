"""A volume as a folder of DICOM slices, derived from the series that it was made from."""
from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..data.geometry import Grid
from ..data.images import Image
from ..errors import InputError
from .dicom_coding import Coding, coding_of, decimal
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
    coding = coding_of(array, image.padding, sop_class == _PET)
    header = _series_header(source, sop_class, content, remark, grid, coding)
    digits = len(str(len(array)))
    for number, values in enumerate(array):
        _slice(header, number, coding.stored(values), grid, source).save_as(
            folder / f"{number + 1:0{max(digits, 4)}d}.dcm", enforce_file_format=True)


def _series_header(source: DicomSource, sop_class: str, content: str, remark: str, grid: Grid, coding: Coding
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
        _describe_pixels(header, sop_class, content, grid, coding)
        if not content and "WindowWidth" in source.first and "WindowCenter" in source.first:
            header.WindowWidth, header.WindowCenter = source.first.WindowWidth, source.first.WindowCenter
    return header


def _series_number(source: DicomSource) -> int:
    """A number that the scanner is not likely to have used."""
    try:
        return (int(source.first.get("SeriesNumber") or 0) * 100 + 1) % 2 ** 31
    except (TypeError, ValueError):
        return 1


def _describe_pixels(header: Any, sop_class: str, content: str, grid: Grid, coding: Coding) -> None:
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = grid.shape[1:]
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation = int(coding.dtype == np.int16)
    if sop_class != _MR or (float(coding.slope), float(coding.intercept)) != (1.0, 0.0):  # MR has none by itself
        header.RescaleSlope, header.RescaleIntercept = coding.slope, coding.intercept
        if "RescaleType" not in header and sop_class != _PET:
            header.RescaleType = "US"  # unspecified
    if coding.padding is not None:
        header.PixelPaddingValue = coding.padding
    header.PixelSpacing = [decimal(grid.spacing[1]), decimal(grid.spacing[0])]
    header.SliceThickness = header.SpacingBetweenSlices = decimal(grid.spacing[2])
    header.ImageOrientationPatient = [decimal(x) for x in np.asarray(grid.direction)[:, :2].T.ravel()]
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
        image.ImagePositionPatient = [decimal(x) for x in position]
        image.SliceLocation = decimal(position @ np.asarray(grid.direction)[:, 2])
        if "NumberOfSlices" in image:
            image.ImageIndex = number + 1
        image.SourceImageSequence = references_to(source.near(position, np.asarray(grid.direction)[:, 2]))
        image.PixelData = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
        image["PixelData"].VR = "OW"
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image
