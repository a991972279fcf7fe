"""NRRD and MetaImage files are read as their own headers tell, at the place where ITK has them."""
from __future__ import annotations

import bz2
import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from image_file_case import assert_same_place, voxels

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.errors import InputError, InputNote
from TriplaneGaussianReconLib.io.readers import read_image

START = b"NRRD0005\ntype: short\ndimension: 3\nsizes: 6 5 4\nendian: little\n"
OBLIQUE = b"space directions: (0.6,0.8,0) (-1.6,1.2,0) (0,0,3)\nspace origin: (5,-6,7.5)\n"
DATA = voxels().tobytes()
PACK = {"raw": bytes, "gzip": gzip.compress, "gz": gzip.compress, "bzip2": bz2.compress, "bz2": bz2.compress}


def write(path: Path, fields: bytes, start: bytes = START, data: bytes = DATA, encoding: str = "raw") -> Path:
    path.write_bytes(start + fields + f"encoding: {encoding}\n\n".encode() + PACK[encoding](data))
    return path


@pytest.mark.parametrize("fields", [
    b"space: left-posterior-superior\n" + OBLIQUE, b"space: LPS\n" + OBLIQUE, b"space: RAS\n" + OBLIQUE,
    b"space: right-anterior-superior\n" + OBLIQUE, b"space: left-anterior-superior\n" + OBLIQUE,
    b"space: scanner-xyz\n" + OBLIQUE, b"space dimension: 3\n" + OBLIQUE, b"spacings: 1 2 3\n",
    b"spacings: 1 2 3\naxis mins: 5 6 7\n", b"spacings: 1 2 3\naxis mins: 5 6 7\ncenterings: node node node\n",
    b"space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,3)\n",
])
def test_voxels_lie_where_itk_has_them(tmp_path: Path, fields: bytes) -> None:
    path = write(tmp_path / "a.nrrd", fields)
    expected = Image.from_sitk(sitk.ReadImage(str(path)))
    for encoding in PACK:
        image = read_image(write(path, fields, encoding=encoding))
        np.testing.assert_array_equal(image.array, expected.array)
        assert_same_place(image.grid, expected.grid)


@pytest.mark.parametrize(("unit", "factor"), [("m", 1000), ("cm", 10), ("um", 0.001)])
def test_lengths_in_other_units_become_mm_and_it_is_said(tmp_path: Path, unit: str, factor: float) -> None:
    quoted = f'"{unit}" "{unit}" "{unit}"'
    write(tmp_path / "a.nrrd", b"space: LPS\n" + OBLIQUE + f"space units: {quoted}\n".encode())
    with pytest.warns(InputNote, match=f"from {unit}") as caught:
        grid = read_image(tmp_path / "a.nrrd").grid
    np.testing.assert_allclose(grid.spacing, np.array([1, 2, 3]) * factor)
    np.testing.assert_allclose(grid.origin, np.array([5, -6, 7.5]) * factor)
    assert caught[0].filename == __file__


def test_a_spacing_that_no_header_tells_is_said(tmp_path: Path) -> None:
    with pytest.warns(InputNote, match="no voxel spacing") as caught:
        assert read_image(write(tmp_path / "a.nrrd", b"")).grid == Grid((4, 5, 6))
    assert caught[0].filename == __file__


def test_axes_off_by_rounding_are_brought_to_right_angles(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", b"space: LPS\nspace directions: (1,0.0005,0) (0,1,0) (0,0.0008,3)\n")
    axes = np.asarray(read_image(path).grid.direction)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(("fields", "axis"), [
    (b"sizes: 6 5 4 3\nkinds: domain domain domain list\n", 0), (b"sizes: 6 5 4 3\n", 0),
    (b"sizes: 6 5 4 3\nkinds: space space space time\n", 0), (b"sizes: 3 6 5 4\nkinds: list domain domain domain\n", 3),
    (b"sizes: 3 6 5 4\nkinds: vector domain domain domain\n", 3),
])
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_one_of_several_volumes_is_chosen(tmp_path: Path, fields: bytes, axis: int, encoding: str) -> None:
    array = np.stack([voxels(), voxels() + 1, voxels() + 2], axis)
    directions = b"none (1,0,0) (0,1,0) (0,0,3)" if axis else b"(1,0,0) (0,1,0) (0,0,3) none"
    path = write(tmp_path / "a.nrrd", fields + b"space: LPS\nspace directions: " + directions + b"\n",
                 b"NRRD0005\ntype: short\ndimension: 4\nendian: little\n", array.tobytes(), encoding)
    for number in (1, 2, 3):
        image = read_image(path, volume_number=number)
        np.testing.assert_array_equal(image.array, voxels() + number - 1)
        assert image.grid == Grid((4, 5, 6), spacing=(1, 1, 3))
    for wrong in (None, 0, 4):
        with pytest.raises(InputError, match="--volume-number, 1 to 3"):
            read_image(path, volume_number=wrong)


@pytest.mark.parametrize("is_vector", [False, True])
def test_one_of_several_volumes_of_a_metaimage_is_chosen(tmp_path: Path, is_vector: bool) -> None:
    array = np.stack([voxels(), voxels() + 1], 3 if is_vector else 0)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=is_vector), tmp_path / "a.mha")
    np.testing.assert_array_equal(read_image(tmp_path / "a.mha", volume_number=2).array, voxels() + 1)
    with pytest.raises(InputError, match="--volume-number, 1 to 2"):
        read_image(tmp_path / "a.mha")


@pytest.mark.parametrize("listing", ["LIST\nb1.raw\nb2.raw\nb3.raw\nb4.raw", "b%d.raw 1 4 1", "LIST 2\n" + "\n".join(
    f"b{n}.raw" for n in range(1, 5))])
def test_slices_in_files_of_their_own_are_read(tmp_path: Path, listing: str) -> None:
    for n, pixels in enumerate(voxels(), 1):
        (tmp_path / f"b{n}.raw").write_bytes(pixels.tobytes())
    (tmp_path / "a.nhdr").write_bytes(START + b"spacings: 1 1 3\nencoding: raw\ndata file: " + listing.encode() + b"\n")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nhdr").array, voxels())
    (tmp_path / "a.mhd").write_text("NDims = 3\nDimSize = 6 5 4\nElementSpacing = 1 1 3\nElementType = MET_SHORT\n"
                                    f"ElementDataFile = {listing}\n")
    np.testing.assert_array_equal(read_image(tmp_path / "a.mhd").array, voxels())
    (tmp_path / "b3.raw").write_bytes(b"12")
    for name in ("a.nhdr", "a.mhd"):
        with pytest.raises(InputError, match=r"'b3\.raw' ends early, after 2 of 60"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_metaimage_lies_where_itk_has_it(tmp_path: Path, is_compressed: bool) -> None:
    image = sitk.GetImageFromArray(voxels("f4"))
    image.SetDirection([0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1])
    image.SetSpacing((0.7, 0.9, 3.3))
    image.SetOrigin((5, -6, 7.5))
    for name in ("a.mha", "a.mhd"):
        sitk.WriteImage(image, tmp_path / name, is_compressed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            back = read_image(tmp_path / name)
        np.testing.assert_array_equal(back.array, voxels("f4"))
        assert_same_place(back.grid, Image.from_sitk(image).grid)
