"""DICOM objects as scanners, planning systems and segmentation tools write them, small."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    RTDoseStorage,
    RTStructureSetStorage,
    SegmentationStorage,
    generate_uid,
)

from TriplaneGaussianReconLib.data.geometry import Grid

SHAPE = (8, 24, 24)
GRID = Grid(SHAPE, (-10.0, 20.0, 33.0), (1.0, 1.0, 4.0))


def phantom(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A tilted column of 800 to 1000 in 0 to 24, [k, j, i] int16."""
    k, j, i = np.indices(shape)
    column = np.hypot(i - 9.0 - 0.7 * k, j - 12.0) < 6.0
    return np.where(column, 800 + 8 * i, k + j % 7 + i % 11).astype(np.int16)


def header(sop_class: str, **fields: Any) -> Dataset:
    """What all objects of one study tell."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientName = dataset.PatientID = "TEST"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.1"
    dataset.FrameOfReferenceUID, dataset.SeriesNumber, dataset.Modality = "1.2.3.5", 1, "CT"
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def pixels(dataset: Dataset, stored: np.ndarray) -> Dataset:
    """Add pixels [row, column] or [frame, row, column], 16 bits, signed or not."""
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, getattr(
        dataset, "PhotometricInterpretation", "MONOCHROME2")
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def position(k: float, grid: Grid = GRID) -> list[float]:
    return [round(float(x), 6) for x in grid.index_to_physical([0.0, 0.0, k])]


def orientation(grid: Grid = GRID) -> list[float]:
    return [round(float(x), 6) for x in np.asarray(grid.direction)[:, :2].T.ravel()]


def series(folder: Path, stored: np.ndarray, grid: Grid = GRID, each: Mapping[int, Mapping[str, Any]] | None = None,
           **fields: Any) -> Path:
    """Write a slice per file; `each` has further fields of single slices, by number."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, plane in enumerate(stored):
        dataset = header(CTImageStorage, InstanceNumber=k + 1, ImagePositionPatient=position(k, grid),
                         ImageOrientationPatient=orientation(grid), PixelSpacing=[grid.spacing[1], grid.spacing[0]],
                         SliceThickness=grid.spacing[2], **fields)
        for name, value in (each or {}).get(k, {}).items():
            setattr(dataset, name, value)
        save(pixels(dataset, plane), folder / f"{k}.dcm")
    return folder


def _item(**fields: Any) -> Items:
    dataset = Dataset()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return Items([dataset])


def _groups(frames: Iterable[Mapping[str, Any]]) -> Items:
    items = []
    for frame in frames:
        groups = Dataset()
        for name, fields in frame.items():
            setattr(groups, name, _item(**fields))
        items.append(groups)
    return Items(items)


def enhanced(path: Path, stored: np.ndarray, places: Sequence[float], grid: Grid = GRID,
             times: Sequence[int] | None = None) -> Path:
    """Write one enhanced MR object whose frames lie at the slices `places`, in that order."""
    dataset = header(EnhancedMRImageStorage, Modality="MR")
    dataset.SharedFunctionalGroupsSequence = _groups([{"PixelMeasuresSequence": {
        "PixelSpacing": [grid.spacing[1], grid.spacing[0]], "SliceThickness": grid.spacing[2]}}])
    dataset.PerFrameFunctionalGroupsSequence = _groups({
        "FrameContentSequence": {"StackID": "1", "InStackPositionNumber": int(place) + 1,
                                 **({"TemporalPositionIndex": times[number]} if times else {})},
        "PlanePositionSequence": {"ImagePositionPatient": position(place, grid)},
        "PlaneOrientationSequence": {"ImageOrientationPatient": orientation(grid)},
        "PixelValueTransformationSequence": {"RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "US"},
    } for number, place in enumerate(places))
    return save(pixels(dataset, stored), path)


def dose(path: Path, stored: np.ndarray, scaling: float, grid: Grid = GRID) -> Path:
    dataset = header(RTDoseStorage, Modality="RTDOSE", ImagePositionPatient=position(0, grid),
                     ImageOrientationPatient=orientation(grid), PixelSpacing=[grid.spacing[1], grid.spacing[0]],
                     GridFrameOffsetVector=[grid.spacing[2] * k for k in range(len(stored))], DoseGridScaling=scaling,
                     DoseUnits="GY", DoseType="PHYSICAL", FrameIncrementPointer=0x3004000C)
    return save(pixels(dataset, stored.astype(np.uint16)), path)


def segmentation(path: Path, segments: Mapping[str, Mapping[int, np.ndarray]], grid: Grid = GRID) -> Path:
    """Write a DICOM SEG: of each segment, by its name, the mask [row, column] on some slices."""
    dataset = header(SegmentationStorage, Modality="SEG", SegmentationType="BINARY", SeriesInstanceUID="1.2.3.4.7")
    dataset.SegmentSequence = Items([_item(SegmentNumber=number, SegmentLabel=name, SegmentAlgorithmType="MANUAL")[0]
                                     for number, name in enumerate(segments, start=1)])
    frames = [(number, k, mask) for number, masks in enumerate(segments.values(), start=1) for k, mask in masks.items()]
    dataset.SharedFunctionalGroupsSequence = _groups([{"PixelMeasuresSequence": {
        "PixelSpacing": [grid.spacing[1], grid.spacing[0]], "SliceThickness": grid.spacing[2],
        "SpacingBetweenSlices": grid.spacing[2]},
        "PlaneOrientationSequence": {"ImageOrientationPatient": orientation(grid)}}])
    dataset.PerFrameFunctionalGroupsSequence = _groups({
        "FrameContentSequence": {"DimensionIndexValues": [number, k + 1]},
        "PlanePositionSequence": {"ImagePositionPatient": position(k, grid)},
        "SegmentIdentificationSequence": {"ReferencedSegmentNumber": number}} for number, k, _ in frames)
    stored = np.stack([mask for _, _, mask in frames])
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = stored.shape[1], stored.shape[2], len(stored)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 1, 1, 0, 0
    dataset.LossyImageCompression = "00"
    bits = np.packbits(stored.astype(bool).ravel(), bitorder="little").tobytes()
    dataset.PixelData = bits + b"\0" * (len(bits) % 2)
    return save(dataset, path)


def structures(path: Path, contours: Mapping[str, Sequence[np.ndarray]]) -> Path:
    """Write an RTSTRUCT: of each structure, by its name, closed contours (point, 3) mm LPS."""
    dataset = header(RTStructureSetStorage, Modality="RTSTRUCT", SeriesInstanceUID="1.2.3.4.9")
    dataset.StructureSetLabel = "plan"
    dataset.StructureSetROISequence = Items([
        _item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID="1.2.3.5")[0]
        for number, name in enumerate(contours, start=1)])
    rois = []
    for number, drawn in enumerate(contours.values(), start=1):
        roi = _item(ReferencedROINumber=number, ROIDisplayColor=[255, 0, 40 * number])[0]
        roi.ContourSequence = Items([
            _item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(points),
                  ContourData=[round(float(x), 4) for x in points.ravel()])[0] for points in drawn])
        rois.append(roi)
    dataset.ROIContourSequence = Items(rois)
    return save(dataset, path)
