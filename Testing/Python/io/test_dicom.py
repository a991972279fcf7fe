"""Folders of DICOM slices are read as one volume, or refused with cause and remedy."""
from __future__ import annotations

import locale
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from image_file_case import assert_same_place, make_grid, refused, voxels

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.errors import InputError, InputNote
from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation


def write_dicom(folder: Path, array: np.ndarray, grid: Grid, series: str = "1", skip: tuple[int, ...] = (),
                shift: np.ndarray | None = None) -> None:
    """Write slices of `array` in scrambled file order; `shift` is added to the positions, (K, 3) mm."""
    folder.mkdir(exist_ok=True)
    language = locale.setlocale(locale.LC_ALL)  # GDCM's writer leaves another behind
    direction = np.asarray(grid.direction)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(len(array)):
        if k in skip:
            continue
        position = grid.index_to_physical(np.array([0, 0, k])) + (0 if shift is None else shift[k])
        image = sitk.GetImageFromArray(array[k])
        image.SetSpacing(grid.spacing[:2])
        for tag, value in {
            "0008|0060": "MR", "0008|103e": f"Series {series}", "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0020|000d": "1.2.3", "0020|000e": f"1.2.3.{series}", "0008|0018": f"1.2.3.{series}.{k + 1}",
            "0020|0013": str(k + 1), "0020|0032": "\\".join(f"{x:.9g}" for x in position),
            "0020|0037": "\\".join(f"{x:.9g}" for x in direction[:, :2].T.ravel()),
            "0018|0050": "1",
        }.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{series}_{k * 7 % 11:02d}.dcm"))
        writer.Execute(image)
    locale.setlocale(locale.LC_ALL, language)


@pytest.mark.parametrize("direction", ["identity", "sagittal", "oblique"])
def test_dicom_folder(tmp_path: Path, direction: str) -> None:
    array, grid = voxels(shape=(8, 5, 6)), make_grid(direction, (8, 5, 6))
    folder = tmp_path / "series"
    write_dicom(folder, array, grid)
    (folder / "notes.txt").write_text("not DICOM")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(folder)
    np.testing.assert_array_equal(image.array, array)
    assert image.array.dtype == np.int16
    assert_same_place(image.grid, grid)


def change(folder: Path, number: int, **fields: object) -> Path:
    """Set fields of the header of slice `number`; returns its file."""
    path = next(path for path in sorted(folder.iterdir()) if pydicom.dcmread(path).InstanceNumber == number + 1)
    slice_ = pydicom.dcmread(path)
    for name, value in fields.items():
        setattr(slice_, name, value)
    slice_.save_as(path)
    return path


@pytest.mark.parametrize(("slopes", "intercept", "dtype"), [
    ((1.0, 1.0, 1.0), 0.0, np.int16), ((1.0, 2.75, 1000.0), 0.0, np.float32), ((1.0, 1.0, 1.0), -40000.0, np.int32)])
def test_each_slice_is_rescaled_by_its_own_header(tmp_path: Path, slopes: tuple[float, ...], intercept: float,
                                                  dtype: type) -> None:
    """Whatever the type of the first slice, none is rounded, wraps or is cut off."""
    array, grid = voxels(shape=(3, 5, 6)), make_grid(shape=(3, 5, 6))
    write_dicom(tmp_path / "a", array, grid)
    for number, slope in enumerate(slopes):
        change(tmp_path / "a", number, RescaleSlope=slope, RescaleIntercept=intercept if number else 0.0)
    image = read_image(tmp_path / "a")
    expected = array * np.array(slopes)[:, None, None]
    expected[1:] += intercept
    np.testing.assert_array_equal(image.array, expected)
    assert image.array.dtype == dtype


@pytest.mark.parametrize("stored", [np.uint8, np.uint16, np.int16])
def test_monochrome1_keeps_its_values(tmp_path: Path, stored: type) -> None:
    """GDCM inverts them, for display."""
    array, grid = voxels(stored, (3, 5, 6)), make_grid(shape=(3, 5, 6))
    write_dicom(tmp_path / "a", array, grid)
    for number in range(3):
        change(tmp_path / "a", number, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2.0, RescaleIntercept=-7.0)
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, 2.0 * array - 7.0)


def test_slices_of_other_size_or_pixel_spacing_are_named(tmp_path: Path) -> None:
    array, grid = voxels(shape=(5, 5, 6)), make_grid(shape=(5, 5, 6))
    write_dicom(tmp_path / "a", array, grid)
    odd = change(tmp_path / "a", 2, PixelSpacing=[0.5, 0.5])
    refused(tmp_path / "a", "differ in pixel spacing", "most have 0.7 x 0.9 mm", f"'{odd.name}' (0.5 x 0.5 mm)")
    write_dicom(tmp_path / "b", array, grid)
    odd = change(tmp_path / "b", 0, Rows=3, PixelData=array[0, :3].tobytes())
    refused(tmp_path / "b", "differ in pixels", "most have 6 x 5", f"'{odd.name}' (6 x 3)")


def test_rounded_dicom_positions_are_even(tmp_path: Path) -> None:
    grid = Grid((10, 5, 6), spacing=(1, 1, 0.65))
    shift = np.zeros((10, 3))
    shift[:, 2] = np.round(np.arange(10) * 0.65, 1) - np.arange(10) * 0.65
    write_dicom(tmp_path / "a", voxels(shape=grid.shape), grid, shift=shift)
    assert read_image(tmp_path / "a").grid.spacing[2] == pytest.approx(0.65, abs=0.02)


def test_largest_of_several_dicom_series_is_read_with_a_note(tmp_path: Path) -> None:
    small, large = make_grid(shape=(3, 5, 6)), make_grid(shape=(8, 5, 6))
    write_dicom(tmp_path / "a", voxels(shape=small.shape), small, "1")
    write_dicom(tmp_path / "a", voxels(shape=large.shape), large, "2")
    with pytest.warns(InputNote, match="'Series 1', 3 files, 1.2.3.1; .*'Series 2', 8 files, 1.2.3.2") as caught:
        assert read_image(tmp_path / "a").grid.shape == (8, 5, 6)
    assert caught[0].filename == __file__
    assert "Reading the largest" in str(caught[0].message) and "--series" in str(caught[0].message)


def test_slices_that_lie_otherwise_are_refused(tmp_path: Path) -> None:
    array, grid = voxels(shape=(9, 5, 6)), make_grid("identity", (9, 5, 6))
    write_dicom(tmp_path / "turned", array, grid, skip=(0,))
    write_dicom(tmp_path / "turned", array[:1], make_grid("oblique", (1, 5, 6)))
    refused(tmp_path / "turned", "not parallel", "'1_00.dcm'")


def test_folders_without_a_dicom_volume_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, "no DICOM slices")
    write_dicom(tmp_path / "a", voxels(shape=(1, 5, 6)), make_grid(shape=(1, 5, 6)))
    refused(tmp_path / "a", "single DICOM slice")
    refused(next((tmp_path / "a").iterdir()), "single DICOM slice", "folder")
    write_dicom(tmp_path / "b", voxels(), make_grid())
    for file in (tmp_path / "b").iterdir():  # make tag 0020,0032, the position, one that means nothing
        file.write_bytes(file.read_bytes().replace(b"\x20\x00\x32\x00", b"\x20\x00\x31\x00"))
    refused(tmp_path / "b", "position and orientation")
    with pytest.raises(InputError, match="is a folder"):
        read_segmentation(tmp_path)
