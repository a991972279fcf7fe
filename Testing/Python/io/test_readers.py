"""Volumes survive the way to disk and back; bad files are refused with cause and remedy."""
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from image_file_case import DIRECTIONS, FORMATS, assert_same_place, make_grid, refused, voxels
from numpy.typing import DTypeLike
from posix_case import POSIX, SHORTFALLS, room_for
from repository import ROOT

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.errors import InputError, OutputError, ReconstructionError
from TriplaneGaussianReconLib.io import npz
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.io.writers import check_writable, write_image, write_segmentation

NOBODY = 65534  # the number of a user who owns nothing


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


@pytest.mark.parametrize(("dtype", "stored"), [(bool, "u1"), ("f2", "f4"), (">i2", "i2")])
def test_voxel_types_that_files_lack_are_widened(tmp_path: Path, dtype: DTypeLike, stored: str) -> None:
    array = voxels(dtype)
    write_image(tmp_path / "a.nrrd", Image(array, make_grid()))
    back = read_image(tmp_path / "a.nrrd").array
    assert back.dtype == np.dtype(stored)
    np.testing.assert_array_equal(back, array)


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


def test_npz_works_without_simpleitk(tmp_path: Path) -> None:
    code = """
import sys
import tempfile
sys.modules["SimpleITK"] = None
import numpy as np
import TriplaneGaussianReconLib as files
from TriplaneGaussianReconLib import Grid, Image, ReconstructionError, Segmentation
from TriplaneGaussianReconLib.io.writers import check_writable
labels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
grid = Grid(labels.shape, (1, 2, 3), (1, 1, 5))
check_writable("a.npz")
files.write_image("a.npz", Image(labels, grid))
assert (files.read_image("a.npz").array == labels).all() and files.read_image("a.npz").grid == grid
files.write_segmentation("s.npz", Segmentation.from_labelmap(labels, grid))
assert len(files.read_segmentation("s.npz").segments) == 23
open("a.nrrd", "w").close()
for use in (files.read_image, files.read_segmentation, check_writable):
    try:
        use("a.nrrd")
    except ReconstructionError as error:
        assert "pip install SimpleITK" in str(error) and ".npz" in str(error), error
    else:
        raise AssertionError(use)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment, check=True)


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


# Bad images -----------------------------------------------------------------------------------------------------------


def test_missing_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.nii", "does not exist", "NIfTI")
    (tmp_path / "text.nrrd").write_text("hello")
    refused(tmp_path / "text.nrrd", "DICOM")
    (tmp_path / "text.npz").write_text("hello")
    refused(tmp_path / "text.npz", "numpy.savez")
    (tmp_path / "empty.npz").touch()
    refused(tmp_path / "empty.npz", "numpy.savez")


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


@pytest.mark.parametrize(("change", "words"), [
    ({"spacing": None}, "lacks spacing"),
    ({"spacing": np.ones(2)}, "three values"),
    ({"spacing": np.zeros(3)}, "positive"),
    ({"array": np.zeros((3, 3))}, "2 dimensions"),
    ({"array": np.zeros((3, 3, 3), complex)}, "complex"),
    ({"array": np.array([None] * 8).reshape(2, 2, 2)}, "numpy.savez"),
])
def test_bad_npz_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    content: dict[str, Any] = {"array": voxels(), "origin": np.zeros(3), "spacing": np.ones(3), "direction": np.eye(3)}
    content |= change
    np.savez(tmp_path / "a.npz", **{key: value for key, value in content.items() if value is not None})
    refused(tmp_path / "a.npz", words)


# Writing whole or not at all ------------------------------------------------------------------------------------------


def test_unusable_targets_are_found_early(tmp_path: Path) -> None:
    for name in ("a", "a.jpg", "a.nhdr"):
        with pytest.raises(InputError, match=r"\.nii\.gz.*\.npz"):
            check_writable(tmp_path / name)
    with pytest.raises(ReconstructionError, match="does not exist"):
        check_writable(tmp_path / "none" / "a.nrrd")
    (tmp_path / "b.nrrd").mkdir()
    with pytest.raises(ReconstructionError, match="is a folder"):
        check_writable(tmp_path / "b.nrrd")
    check_writable(tmp_path / "A.NII.GZ")
    assert os.listdir(tmp_path) == ["b.nrrd"]


@contextmanager
def not_as_root() -> Iterator[None]:
    """Root may write anywhere; others may not."""
    user = os.geteuid()
    os.seteuid(user or NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_folder_without_permission() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are for one user
        Path(folder).chmod(0o555)
        with not_as_root(), pytest.raises(ReconstructionError, match="Permission denied"):
            check_writable(Path(folder) / "a.nrrd")


def test_folder_that_refuses_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ReconstructionError, match="Permission denied") as caught:
        write_image(tmp_path / "a.nrrd", Image(voxels(), make_grid()))
    assert str(tmp_path) in str(caught.value)


@POSIX
@pytest.mark.parametrize("extension", [*FORMATS, "seg.nrrd"])
def test_failed_write_leaves_the_old_file(tmp_path: Path, extension: str) -> None:
    path, array = tmp_path / f"a.{extension}", np.random.default_rng(0).integers(0, 30000, (2, 8, 40, 40), np.int16)
    grid = Grid(array.shape[1:])

    def write() -> None:
        if extension == "seg.nrrd":
            write_segmentation(path, Segmentation(array, (Segment("a", 1),), grid))
        else:
            write_image(path, Image(array[0], grid))

    write()
    size = path.stat().st_size
    for shortfall in (*SHORTFALLS, size // 2, size):
        path.write_text("old")
        with room_for(size - shortfall), pytest.raises(OutputError, match=f"a.{extension}' was not written"):
            write()
        assert path.read_text() == "old" and os.listdir(tmp_path) == [path.name]
    with room_for(size + 2):  # the header of a .seg.nrrd is made shorter when it is there
        write()
    assert path.stat().st_size == size


@pytest.mark.parametrize("extension", [name for name in FORMATS if name != "npz"])  # Python tells of every failure
def test_voxels_that_arrive_changed_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
                                                ) -> None:
    """As where a block in the middle is lost, in a format without checksum, too."""
    whole, image = sitk.WriteImage, Image(voxels(), make_grid())

    def write(given: sitk.Image, *arguments: object, **named: object) -> None:
        whole(given + 1, *arguments, **named)

    monkeypatch.setattr(sitk, "WriteImage", write)
    with pytest.raises(OutputError, match="was not written: only 0 of 240 bytes of voxels arrived"):
        write_image(tmp_path / f"a.{extension}", image)
    assert not os.listdir(tmp_path)


def test_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    path.write_text("old")

    def interrupt(file: Path, **_: object) -> None:
        file.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(npz.np, "savez_compressed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_image(path, Image(voxels(), make_grid()))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.npz"]
