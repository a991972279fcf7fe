"""Files appear whole or not at all; what cannot be written is found early."""
from __future__ import annotations

import gzip
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from image_file_case import FORMATS, make_grid, voxels
from numpy.typing import DTypeLike
from posix_case import POSIX, SHORTFALLS, room_for

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.errors import InputError, OutputError, ReconstructionError
from TriplaneGaussianReconLib.io import npz
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.io.writers import check_writable, write_image, write_segmentation

NOBODY = 65534  # the number of a user who owns nothing


@pytest.mark.parametrize(("dtype", "stored"), [(bool, "u1"), ("f2", "f4"), (">i2", "i2")])
def test_voxel_types_that_files_lack_are_widened(tmp_path: Path, dtype: DTypeLike, stored: str) -> None:
    array = voxels(dtype)
    write_image(tmp_path / "a.nrrd", Image(array, make_grid()))
    back = read_image(tmp_path / "a.nrrd").array
    assert back.dtype == np.dtype(stored)
    np.testing.assert_array_equal(back, array)


def test_unusable_targets_are_found_early(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.nhdr"):
        with pytest.raises(InputError, match=r"\.nii\.gz.*\.npz"):
            check_writable(tmp_path / name)
    with pytest.raises(ReconstructionError, match="does not exist"):
        check_writable(tmp_path / "none" / "a.nrrd")
    (tmp_path / "b.nrrd").mkdir()
    for name in ("a", "b.nrrd"):
        with pytest.raises(InputError, match="The folder of DICOM slices.*a file such as .nrrd"):
            check_writable(tmp_path / name)
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


@pytest.mark.parametrize("extension", ["nrrd", "nii.gz", "nii", "mha"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8", bool, ">i2"])
@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 5, 6), (7, 1, 6), (7, 5, 1), (300, 3, 2)])
@pytest.mark.parametrize("direction", ["oblique", "flipped"])
def test_files_are_those_that_simpleitk_writes(tmp_path: Path, extension: str, dtype: DTypeLike,
                                               shape: tuple[int, int, int], direction: str) -> None:
    """To the last byte, but for how well the voxels are packed."""
    ours, theirs = tmp_path / f"a.{extension}", tmp_path / f"b.{extension}"
    image = Image(voxels(dtype, shape), make_grid(direction, shape))
    write_image(ours, image)
    sitk.WriteImage(image.to_sitk(), str(theirs), useCompression=True)
    assert unpacked(ours) == unpacked(theirs)


def unpacked(path: Path) -> bytes:
    """A file's bytes; packed voxels are unpacked, and how many bytes they were is left out."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".nii":
        return content
    end = {".nrrd": b"\n\n", ".mha": b"LOCAL\n"}[path.suffix]
    header, _, packed = content.partition(end)
    stated = re.search(rb"CompressedDataSize = (\d+)\n", header)
    assert stated is None or int(stated[1]) == len(packed)
    return re.sub(rb"CompressedDataSize = \d+\n", b"", header) + zlib.decompress(packed, wbits=32 + zlib.MAX_WBITS)


def test_files_are_read_by_nibabel(tmp_path: Path) -> None:
    image = Image(voxels(), make_grid())
    for name in ("a.nii", "a.nii.gz"):
        write_image(tmp_path / name, image)
        back = nibabel.load(tmp_path / name)
        np.testing.assert_array_equal(np.asanyarray(back.dataobj).T, image.array)
        np.testing.assert_allclose(back.affine, image.grid.affine, atol=1e-5)


def test_python_packs_where_zlib_ng_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image(voxels(), make_grid())
    write_image(tmp_path / "a.nrrd", image)
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    write_image(tmp_path / "b.nrrd", image)
    assert unpacked(tmp_path / "a.nrrd") == unpacked(tmp_path / "b.nrrd")


@pytest.mark.parametrize("extension", ["nii", "nii.gz"])
def test_more_voxels_a_side_than_a_format_holds(tmp_path: Path, extension: str) -> None:
    with pytest.raises(OutputError, match="NIfTI holds 32767 voxels a side at most. Free disk space, or choose"):
        write_image(tmp_path / f"a.{extension}", Image(np.zeros((40000, 1, 1), np.uint8), Grid((40000, 1, 1))))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("extension", [name for name in FORMATS if name != "npz"])
def test_headers_that_arrive_changed_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
                                                 ) -> None:
    """As where there is no room for the end of what SimpleITK writes, of which it does not always tell."""
    whole, image = sitk.WriteImage, Image(voxels(), make_grid())

    def write(given: sitk.Image, name: str, **named: object) -> None:
        whole(given, name, **named)
        os.truncate(name, 30)

    monkeypatch.setattr(sitk, "WriteImage", write)
    with pytest.raises(OutputError, match="was not written: its header did not arrive"):
        write_image(tmp_path / f"a.{extension}", image)
    assert not os.listdir(tmp_path)


def test_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    path.write_text("old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(npz, "planes_as", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_image(path, Image(voxels(), make_grid()))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.npz"]
