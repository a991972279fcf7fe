"""Volumes survive the way to disk and back; bad files are refused with cause and remedy."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from image_file_case import DIRECTIONS, FORMATS, assert_same_place, make_grid, refused, voxels

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.errors import ReconstructionError
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.io.writers import write_image


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("extension", FORMATS)
def test_image_round_trip(tmp_path: Path, extension: str, direction: str) -> None:
    image = Image(voxels(), make_grid(direction))
    path = tmp_path / f"é 肝.{extension}"
    write_image(path, image)
    back = read_image(str(path))
    np.testing.assert_array_equal(back.array, image.array)
    assert back.array.dtype == np.int16
    assert_same_place(back.grid, image.grid)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("extension", FORMATS)
def test_voxel_type_is_kept(tmp_path: Path, extension: str, dtype: str) -> None:
    path = tmp_path / f"a.{extension}"
    write_image(path, Image(voxels(dtype), make_grid()))
    assert read_image(path).array.dtype == np.dtype(dtype)


def test_rescaled_nifti_is_read_in_real_units(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    write_image(path, Image(voxels(), make_grid()))
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([0.5, -3.0], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(data)
    np.testing.assert_allclose(read_image(path).array, voxels() * 0.5 - 3)


def test_single_frame_of_a_4d_file_is_a_volume(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(voxels(shape=(1, 4, 5, 6)), isVector=False), tmp_path / "a.mha")
    np.testing.assert_array_equal(read_image(tmp_path / "a.mha").array, voxels())


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.npz"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_not_finite_voxels_are_not_taken_for_values(tmp_path: Path, name: str, dtype: type) -> None:
    """ITK reads NaN and infinity in NIfTI files as 0."""
    array = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    array[1, 2, 3], array[2, 0, 0] = np.nan, np.inf
    write_image(tmp_path / name, Image(array, make_grid(shape=(3, 4, 5))))
    read = read_image(tmp_path / name).array
    assert np.array_equal(np.isfinite(read), np.isfinite(array))
    assert np.array_equal(read[np.isfinite(array)], array[np.isfinite(array)])


def test_missing_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.nii", "does not exist", "NIfTI")
    (tmp_path / "text.nrrd").write_text("hello")
    refused(tmp_path / "text.nrrd", "it is text")
    (tmp_path / "text.npz").write_text("hello")
    refused(tmp_path / "text.npz", "numpy.savez")
    (tmp_path / "empty.npz").touch()
    refused(tmp_path / "empty.npz", "is empty")


@pytest.mark.parametrize("extension", FORMATS)
def test_truncated_files_are_refused(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    write_image(path, Image(voxels(), make_grid()))
    path.write_bytes(path.read_bytes()[:-60])
    refused(path)


@pytest.mark.parametrize("extension", ["nrrd", "nii.gz", "npz"])
def test_damaged_files_are_refused(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    write_image(path, Image(voxels(shape=(20, 30, 40)), Grid((20, 30, 40))))
    data = path.read_bytes()
    path.write_bytes(data[:2000] + b"\xff" * 500 + data[2500:])
    refused(path)


def test_images_other_than_scalar_volumes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    for array, is_vector, words in (
        (voxels(shape=(5, 6)), False, "2 dimensions"),
        (voxels(shape=(3, 4, 5, 6)), False, "4 dimensions, 6 x 5 x 4 x 3"),
        (voxels("u1", (4, 5, 6, 3)), True, "3 values per voxel"),
        (voxels(np.complex64), False, "complex"),
    ):
        sitk.WriteImage(sitk.GetImageFromArray(array, isVector=is_vector), path)
        refused(path, words)


def test_sheared_volumes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    write_image(path, Image(voxels(), make_grid()))
    data = bytearray(path.read_bytes())
    data[252:256] = np.array([0, 2], "<i2").tobytes()  # the matrix (sform) alone counts
    data[280:328] = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "<f4").tobytes()
    path.write_bytes(data)
    refused(path, "right angles", "Resample")
    (tmp_path / "a.nrrd").write_bytes(
        b"NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 2 2\n"
        b"space directions: (1,0,0) (0.5,1,0) (0,0,1)\nencoding: raw\nspace origin: (0,0,0)\n\n" + bytes(8))
    refused(tmp_path / "a.nrrd", "right angles", "Resample")
    with pytest.raises(ReconstructionError, match="right angles"):
        write_image(tmp_path / "b.nii", Image(voxels(), Grid((4, 5, 6), direction=((1, 0.5, 0), (0, 1, 0), (0, 0, 1)))))


def test_tracked_frames_are_refused(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(voxels())
    image.SetMetaData("Seq_Frame0000_Timestamp", "1.0")
    sitk.WriteImage(image, tmp_path / "a.mha")
    refused(tmp_path / "a.mha", "tracked")
