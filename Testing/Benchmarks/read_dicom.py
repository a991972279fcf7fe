#!/usr/bin/env python3
"""How long a DICOM series takes to read, against SimpleITK alone.

    read_dicom.py [--slices 200] [--repeats 7]

Makes series of 512 x 512 pixels like a CT's, uncompressed and as lossless JPEG, reads each by turns with SimpleITK and
with `read_image`, and prints the median seconds of both and the median of their ratios.
"""
from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from TriplaneGaussianReconLib.io.readers import read_image

SIDE = 512  # pixels


def write_series(folder: Path, slices: int) -> None:
    """Uncompressed, Explicit VR Little Endian, with the fields of a CT."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    body = 1000 * np.exp(-((x - SIDE / 2) ** 2 + (y - SIDE / 2) ** 2) / 2e4)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    folder.mkdir()
    for k in range(slices):
        image = sitk.GetImageFromArray((body + generator.normal(0, 20, body.shape) - 1000).astype(np.int16))
        image.SetSpacing((0.7, 0.7))
        for tag, value in {
            "0008|0060": "CT", "0008|0016": "1.2.840.10008.5.1.4.1.1.2", "0020|000d": "1.2.3", "0020|000e": "1.2.3.4",
            "0008|0018": f"1.2.3.4.{k + 1}", "0020|0013": str(k + 1), "0020|0032": f"-180\\-180\\{1.5 * k}",
            "0020|0037": "1\\0\\0\\0\\1\\0", "0028|1052": "-1024", "0028|1053": "1", "0018|0050": "1.5",
            "0018|0060": "120", "0008|103e": "Thorax", "0010|0010": "Nobody", "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
        }.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{k:04}.dcm"))
        writer.Execute(image)


def compress(source: Path, target: Path) -> None:
    """Copy a series as lossless JPEG."""
    import gdcm

    target.mkdir()
    for path in source.iterdir():
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(target / path.name))
        writer.Write()


def with_simpleitk(folder: Path) -> np.ndarray:
    """What SimpleITK alone makes of a series."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    return sitk.GetArrayFromImage(reader.Execute())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder) / "uncompressed", Path(folder) / "JPEG lossless"
        write_series(plain, args.slices)
        compress(plain, packed)
        for series in (plain, packed):
            if not np.array_equal(with_simpleitk(series), read_image(series).array):
                raise SystemExit(f"{series.name}: the values differ.")
            seconds: list[tuple[float, float]] = []
            for _ in range(args.repeats):
                start = time.perf_counter()
                with_simpleitk(series)
                middle = time.perf_counter()
                read_image(series)
                seconds.append((middle - start, time.perf_counter() - middle))
            theirs, ours = (statistics.median(column) for column in zip(*seconds, strict=True))
            ratio = statistics.median(own / other for other, own in seconds)
            print(f"{series.name}: SimpleITK {theirs:.3f} s, read_image {ours:.3f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
