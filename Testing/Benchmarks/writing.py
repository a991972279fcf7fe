#!/usr/bin/env python3
"""How much memory writing a result takes beside the result itself, format by format.

    writing.py [--size 250x512x512] [--folder FOLDER]

Prints for each format and voxel type the peak memory of a process of its own, above what it held with the volume in
memory and all libraries loaded, in bytes and as a share of the volume; the seconds, and the size of the file.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.evaluation.peak_memory import peak_memory
from TriplaneGaussianReconLib.io.writers import write_image, write_segmentation

SPACING = (0.8, 0.8, 0.8)  # mm
VOLUMES, LABELS = (".nrrd", ".nii.gz", ".nii", ".mha", ".npz", "DICOM"), (".seg.nrrd", ".nii.gz", ".npz", "DICOM SEG")
ENDINGS = {"DICOM": "", "DICOM SEG": ".dcm"}


def volume(shape: tuple[int, int, int], dtype: np.dtype) -> Image:
    """A smooth body with noise of 10 HU, of which no more than a slice is ever held twice."""
    array, random = np.empty(shape, dtype), np.random.default_rng(0)
    rows, columns = np.ogrid[-1:1:shape[1] * 1j, -1:1:shape[2] * 1j]
    body = 1000.0 * (rows ** 2 + columns ** 2 < 0.6)
    for number, into in enumerate(array):
        into[:] = body + 20.0 * np.sin(number / 9 + 7 * rows) + 10.0 * random.standard_normal(shape[1:])
    return Image(array, Grid(array.shape, spacing=SPACING))


def labels(shape: tuple[int, int, int], layers: int) -> Segmentation:
    """Two segments in each layer."""
    array = np.full((layers, *shape), 0, np.uint8)  # zeros would not be held before they are read
    array[:, shape[0] // 4:, shape[1] // 4:shape[1] // 2, shape[2] // 4:] = 1
    array[:, shape[0] // 4:, shape[1] // 2:-9, shape[2] // 4:] = 2
    segments = tuple(Segment(f"{value} of layer {layer}", value, layer) for layer in range(layers) for value in (1, 2))
    return Segmentation(array, segments, Grid(shape, spacing=SPACING))


def source(folder: Path, rows: int, columns: int) -> Path:
    """One DICOM slice, of which a series in DICOM is said to be derived."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    one = Dataset()
    one.SOPClassUID, one.SOPInstanceUID, one.Modality = CTImageStorage, generate_uid(), "CT"
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    one.PatientID, one.PatientName, one.PatientBirthDate, one.PatientSex = "1", "A", "", ""
    one.StudyDate, one.StudyTime, one.StudyID, one.AccessionNumber, one.ReferringPhysicianName = [""] * 5
    one.Rows, one.Columns = rows, columns
    one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    one.PixelSpacing, one.SliceThickness = list(SPACING[:2]), SPACING[2]
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 1
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
    one.RescaleSlope, one.RescaleIntercept = 1, 0
    one.PixelData = np.zeros((rows, columns), np.int16).tobytes()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.save_as(folder / "source.dcm", enforce_file_format=True)
    return folder / "source.dcm"


def writer(kind: str, name: str, shape: tuple[int, int, int], like: Path) -> Callable[[Path], None]:
    """What writes a made result into a folder; the result is held by it.

    kind: int16, float32, or labels with their number of layers.  name: a format.
    """
    ending = ENDINGS.get(name, name)
    if kind.startswith("labels"):
        segmentation = labels(shape, int(kind[-1]))
        return lambda folder: write_segmentation(folder / f"a{ending}", segmentation, like=like)
    image = volume(shape, np.dtype(kind))
    return lambda folder: write_image(folder / f"a{ending}", image, like=like)


def once(args: argparse.Namespace) -> None:
    """Write one file and print what it took, as JSON."""
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder, (kind, form), (slices, rows, columns) = Path(name), args.once, map(int, args.size.split("x"))
        like = source(folder, rows, columns)
        (folder / "first").mkdir()
        writer(kind, form, (4, rows, columns), like)(folder / "first")  # loads what is loaded late
        write = writer(kind, form, (slices, rows, columns), like)
        before, start = psutil.Process().memory_info().rss, time.perf_counter()
        write(folder)
        seconds, peak = time.perf_counter() - start, peak_memory() or 0
        written = folder / f"a{ENDINGS.get(form, form)}"
        size = sum(file.stat().st_size for file in ([written] if written.is_file() else written.iterdir()))
        print(json.dumps({"more": max(0, peak - before), "seconds": seconds, "size": size}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="250x512x512", help="voxels, k x j x i")
    parser.add_argument("--folder", help="where the files are written; by default the system's for temporary ones")
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        once(args)
        return
    voxels = np.prod([int(n) for n in args.size.split("x")], dtype=float)
    sizes = {"int16": 2, "float32": 4, "labels1": 1, "labels2": 2}
    print("| voxels | format | held, MB | more to write it, MB | share | s | file, MB |\n|---|---|--:|--:|--:|--:|--:|")
    for kind, each in sizes.items():
        for name in LABELS if kind.startswith("labels") else VOLUMES:
            command = [sys.executable, __file__, "--size", args.size, "--once", kind, name,
                       *(["--folder", args.folder] if args.folder else [])]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            run = json.loads(output.splitlines()[-1])
            held = voxels * each
            print(f"| {kind} | {name} | {held / 1e6:.0f} | {run['more'] / 1e6:.0f} | {run['more'] / held:.2f} "
                  f"| {run['seconds']:.1f} | {run['size'] / 1e6:.1f} |", flush=True)


if __name__ == "__main__":
    main()
