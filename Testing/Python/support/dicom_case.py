"""Small DICOM files of many kinds, made with pydicom."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

MR, CT, PET = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("4", "2", "128"))
ENHANCED_MR, DOSE, NUCLEAR, CINE = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("4.1", "481.2", "20", "3.1"))
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SPACING = [2.0, 0.5]  # mm between rows, between columns
POSITIONS = [(-10.0, 20.0, 33.0 + 4.0 * k) for k in range(6)]


def pattern(count: int = 6, dtype: Any = np.int16) -> np.ndarray:
    """[k, j, i], 24 x 20 pixels, another one in each slice."""
    return np.random.default_rng(0).integers(0, 100, (count, 20, 24)).astype(dtype)


def image(array: np.ndarray, class_uid: str = MR, number: int = 1, **fields: Any) -> FileDataset:
    """A DICOM object with these pixels; fields of None are left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = class_uid
    meta.MediaStorageSOPInstanceUID = f"1.2.3.4.1.{number}"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    usual: dict[str, Any] = {
        "SOPClassUID": class_uid, "SOPInstanceUID": f"1.2.3.4.1.{number}", "Modality": "MR",
        "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4",
        "SeriesNumber": 7, "SeriesDescription": "thick", "InstanceNumber": number,
        "ImageOrientationPatient": list(AXIAL), "PixelSpacing": SPACING, "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "Rows": array.shape[-2], "Columns": array.shape[-1],
        "BitsAllocated": 8 * array.itemsize, "BitsStored": 8 * array.itemsize, "HighBit": 8 * array.itemsize - 1,
        "PixelRepresentation": int(array.dtype.kind == "i"), "PixelData": array.tobytes()}
    for name, value in {**usual, **fields}.items():
        if value is not None:
            setattr(dataset, name, value)
    return dataset


def save(path: Path, dataset: FileDataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pydicom.config.disable_value_validation():
        dataset.save_as(path, enforce_file_format=True)
    return path


def write_slices(folder: Path, array: np.ndarray, positions: Sequence[Sequence[float]] = POSITIONS,
                 each: Sequence[Mapping[str, Any]] = (), first: int = 1, **fields: Any) -> Path:
    """One file a slice, `001.dcm` for number 1; `each`: fields of each slice, `fields`: of all.  Returns the folder."""
    for n, (pixels, position) in enumerate(zip(array, positions, strict=False)):
        own = {"ImagePositionPatient": list(position), **fields, **(each[n] if each else {})}
        save(folder / f"{first + n:03}.dcm", image(pixels, number=first + n, **own))
    return folder


def group(**sequences: Mapping[str, Any]) -> Dataset:
    """A functional group: of each sequence the fields of its only item."""
    dataset = Dataset()
    for name, fields in sequences.items():
        item = Dataset()
        for keyword, value in fields.items():
            setattr(item, keyword, value)
        setattr(dataset, name, [item])
    return dataset


def frames(array: np.ndarray, positions: Sequence[Sequence[float]], each: Sequence[Mapping[str, Any]] = (),
           class_uid: str = ENHANCED_MR, **fields: Any) -> FileDataset:
    """An enhanced object; `each`: further functional groups of each frame."""
    own = [group(PlanePositionSequence={"ImagePositionPatient": list(position)}, **(each[n] if each else {}))
           for n, position in enumerate(positions)]
    shared = group(PlaneOrientationSequence={"ImageOrientationPatient": list(AXIAL)},
                   PixelMeasuresSequence={"PixelSpacing": SPACING})
    return image(array, class_uid, **{
        "NumberOfFrames": len(array), "ImageOrientationPatient": None, "PixelSpacing": None,
        "SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": own, **fields})
