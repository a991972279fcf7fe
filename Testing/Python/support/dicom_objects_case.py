"""Small DICOM objects as scanners and programs write them: series, segmentations, structure sets."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from TriplaneGaussianReconLib.data.geometry import Grid

CT, MR, PET = (f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "4", "128"))
SEG, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"


def item(**fields: Any) -> Dataset:
    dataset = Dataset()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def code(scheme: str, value: str, meaning: str) -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def save(path: Path, sop_class: str, **fields: Any) -> Dataset:
    dataset = item(SOPClassUID=sop_class, SOPInstanceUID=generate_uid(), SpecificCharacterSet="ISO_IR 192",
                   PatientName="Müller^Äda", PatientID="p1", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4",
                   FrameOfReferenceUID="1.2.3.9", **fields)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return dataset


def write_series(folder: Path, array: np.ndarray, grid: Grid, sop_class: str = CT, **fields: Any) -> Path:
    """Write slices of 16 bits, `fields` into each."""
    folder.mkdir()
    for number, pixels in enumerate(array):
        save(folder / f"{number * 7 % 31:02d}.dcm", sop_class, **{
            "Modality": "CT", "SeriesDescription": "Thorax", "SeriesNumber": 3, "InstanceNumber": number + 1,
            "StudyDate": "20200102", "Manufacturer": "Scanners Ltd", "Rows": pixels.shape[0], "SamplesPerPixel": 1,
            "Columns": pixels.shape[1], "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16,
            "BitsStored": 16, "HighBit": 15, "PixelRepresentation": int(pixels.dtype == np.int16),
            "PixelData": pixels.tobytes(), "PixelSpacing": [grid.spacing[1], grid.spacing[0]],
            "ImageOrientationPatient": orientation(grid), "ImagePositionPatient": position(grid, number), **fields})
    return folder


def position(grid: Grid, number: float) -> list[float]:
    return [round(float(x), 8) for x in grid.index_to_physical(np.array([0, 0, number]))]


def orientation(grid: Grid) -> list[float]:
    return [round(float(x), 9) for x in np.asarray(grid.direction)[:, :2].T.ravel()]


def write_seg(path: Path, grid: Grid, frames: Sequence[tuple[int, int, np.ndarray]], segments: Sequence[Dataset],
              kind: str = "BINARY", **fields: Any) -> Path:
    """Write frames, each (plane in `grid`, segment number, pixels)."""
    pixels = np.stack([frame for *_, frame in frames]).astype(np.uint8)
    data = np.packbits(pixels.ravel(), bitorder="little").tobytes() if kind == "BINARY" else pixels.tobytes()
    bits = 1 if kind == "BINARY" else 8
    groups = [item(PlanePositionSequence=[item(ImagePositionPatient=position(grid, plane))],
                   **({} if kind == "LABELMAP" else {"SegmentIdentificationSequence": [
                       item(ReferencedSegmentNumber=number)]})) for plane, number, _ in frames]
    shared = item(PixelMeasuresSequence=[item(PixelSpacing=[grid.spacing[1], grid.spacing[0]],
                                              **fields.pop("measures", {}))],
                  PlaneOrientationSequence=[item(ImageOrientationPatient=orientation(grid))])
    save(path, SEG, Modality="SEG", SegmentationType=kind, SegmentSequence=list(segments), Rows=pixels.shape[1],
         Columns=pixels.shape[2], NumberOfFrames=len(frames), SamplesPerPixel=1, BitsAllocated=bits, BitsStored=bits,
         HighBit=bits - 1, PixelRepresentation=0, PhotometricInterpretation="MONOCHROME2",
         SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=groups,
         PixelData=data + b"\0" * (len(data) % 2), **fields)
    return path


def write_rtstruct(path: Path, structures: Mapping[str, Sequence[np.ndarray]], kind: str = "CLOSED_PLANAR",
                   color: Sequence[int] = (255, 128, 0)) -> Path:
    """Write contours, each (N, 3) LPS mm, by the name of their structure."""
    names = list(structures)
    save(path, RTSTRUCT, Modality="RTSTRUCT",
         StructureSetROISequence=[item(ROINumber=n + 1, ROIName=name) for n, name in enumerate(names)],
         ROIContourSequence=[item(ReferencedROINumber=n + 1, ROIDisplayColor=list(color), ContourSequence=[
             item(ContourGeometricType=kind, NumberOfContourPoints=len(points),
                  ContourData=[f"{x:.6f}" for x in np.ravel(points)]) for points in structures[name]])
             for n, name in enumerate(names)])
    return path
