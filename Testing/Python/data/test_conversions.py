"""Images go to SimpleITK and nibabel and come back as they were, at the same place."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from image_file_case import DIRECTIONS, assert_same_place, make_grid, voxels
from numpy.typing import DTypeLike

from TriplaneGaussianReconLib.data import conversions
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.errors import InputError, MissingPackageError
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.io.writers import write_image

nibabel: Any = conversions.nibabel()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_round_trip_through_simpleitk(direction: str) -> None:
    image = Image(voxels(), make_grid(direction))
    theirs = image.to_sitk()
    for ijk in ((0, 0, 0), (5, 4, 3), (1, 2, 3)):
        assert theirs[ijk] == image.array[ijk[::-1]]
        np.testing.assert_allclose(theirs.TransformIndexToPhysicalPoint(ijk), image.grid.index_to_physical(ijk))
    back = Image.from_sitk(theirs)
    np.testing.assert_array_equal(back, image)
    assert back.array.dtype == np.int16 and back.grid.matches(image.grid, 1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_round_trip_through_nibabel(direction: str) -> None:
    image = Image(voxels(), make_grid(direction))
    theirs = image.to_nibabel()
    for ijk in ((0, 0, 0), (5, 4, 3), (1, 2, 3)):
        assert theirs.dataobj[ijk] == image.array[ijk[::-1]]
        place = nibabel.affines.apply_affine(theirs.affine, ijk)
        np.testing.assert_allclose(place * [-1, -1, 1], image.grid.index_to_physical(ijk))
    back = Image.from_nibabel(theirs)
    np.testing.assert_array_equal(back, image)
    assert back.array.dtype == np.int16 and back.grid.matches(image.grid, 1e-9)
    assert back.array.flags.c_contiguous


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_files_are_the_same_whoever_reads_them(tmp_path: Path, direction: str) -> None:
    path = tmp_path / "a.nii.gz"
    write_image(path, Image(voxels(), make_grid(direction)))
    ours, theirs = read_image(path), Image.from_nibabel(nibabel.load(path))
    np.testing.assert_array_equal(theirs, ours)
    assert theirs.grid == ours.grid
    assert_same_place(Image.from_sitk(sitk.ReadImage(str(path))).grid, ours.grid)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_nibabel_saves_lies_at_the_same_place_for_all(tmp_path: Path, direction: str) -> None:
    image = Image(voxels(), make_grid(direction))
    nibabel.save(image.to_nibabel(), tmp_path / "a.nii.gz")
    for back in read_image(tmp_path / "a.nii.gz"), Image.from_sitk(sitk.ReadImage(str(tmp_path / "a.nii.gz"))):
        np.testing.assert_array_equal(back, image)
        assert_same_place(back.grid, image.grid)


@pytest.mark.parametrize("way", ["sitk", "nibabel"])
@pytest.mark.parametrize(("dtype", "other"), [("u1", "u1"), ("i4", "i4"), ("f4", "f4"), ("f8", "f8"), ("i8", "i8"),
                                              (bool, "u1"), ("f2", "f4"), (">i2", "i2")])
def test_voxel_types_are_kept_or_widened(dtype: DTypeLike, other: str, way: str) -> None:
    image = Image(voxels(dtype), make_grid())
    back = getattr(Image, f"from_{way}")(getattr(image, f"to_{way}")())
    assert back.array.dtype == np.dtype(other)
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("way", ["sitk", "nibabel"])
def test_segmentations_become_label_maps(way: str) -> None:
    labels = np.zeros((4, 5, 6), np.int64)
    labels[1, 2, 3], labels[2] = 300, 5
    segmentation = Segmentation.from_labelmap(labels, make_grid())
    back = getattr(Segmentation, f"from_{way}")(getattr(segmentation, f"to_{way}")())
    np.testing.assert_array_equal(back, labels)
    assert back.layers.dtype == np.uint16 and [segment.value for segment in back.segments] == [5, 300]


def test_a_scaled_nifti_gives_real_units_in_the_same_bits(tmp_path: Path) -> None:
    theirs = nibabel.Nifti1Image(voxels("i2").T, np.eye(4))
    theirs.header.set_slope_inter(0.5, -3.0)
    theirs.header.set_xyzt_units("micron")
    nibabel.save(theirs, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = np.array([0.5, -3.0], "<f4").tobytes()  # slope and intercept, which nibabel works into the voxels
    (tmp_path / "a.nii").write_bytes(data)
    ours, theirs = read_image(tmp_path / "a.nii"), Image.from_nibabel(nibabel.load(tmp_path / "a.nii"))
    assert ours.array.dtype == theirs.array.dtype == np.float32 and theirs.grid == ours.grid
    np.testing.assert_array_equal(theirs, ours)
    np.testing.assert_allclose(ours.grid.spacing, 0.001)


def test_single_frames_of_four_dimensions_are_volumes() -> None:
    four = sitk.GetImageFromArray(voxels(shape=(1, 4, 5, 6)), isVector=False)
    np.testing.assert_array_equal(Image.from_sitk(four), voxels())
    np.testing.assert_array_equal(Image.from_nibabel(nibabel.Nifti1Image(voxels().T[..., None], np.eye(4))), voxels())


@pytest.mark.parametrize(("image", "words"), [
    (sitk.Image(4, 5, sitk.sitkInt16), "2 dimensions, 4 x 5. Give one volume"),
    (sitk.Image(4, 5, 6, sitk.sitkComplexFloat32), "complex numbers. Save their magnitude"),
    (sitk.GetImageFromArray(voxels("u1", (4, 5, 6, 3)), isVector=True), "three dimensions, not 4. Select one"),
])
def test_images_of_simpleitk_that_are_no_scalar_volumes(image: sitk.Image, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Image.from_sitk(image)


def test_images_of_nibabel_that_are_no_scalar_volumes() -> None:
    with pytest.raises(InputError, match="4 dimensions, 4 x 5 x 6 x 2. Give one volume"):
        Image.from_nibabel(nibabel.Nifti1Image(voxels(shape=(4, 5, 6, 2)), np.eye(4)))
    colour = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="3 values per voxel .* Convert colour"):
        Image.from_nibabel(nibabel.Nifti1Image(colour, np.eye(4)))


def test_sheared_images_are_refused() -> None:
    shear = np.eye(4)
    shear[0, 1] = 0.5
    with pytest.raises(InputError, match="right angles .* Resample"):
        Image.from_nibabel(nibabel.Nifti1Image(voxels(), shear))
    theirs = sitk.GetImageFromArray(voxels())
    theirs.SetDirection([1, 0.5, 0, 0, 1, 0, 0, 0, 1])
    with pytest.raises(InputError, match="right angles .* Resample"):
        Image.from_sitk(theirs)


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_useless_matrices_are_refused(affine: np.ndarray) -> None:
    with pytest.raises(InputError, match="no usable voxel spacing or direction. Correct"):
        Grid.from_affine(affine, (4, 5, 6))


@pytest.mark.parametrize(("package", "way"), [("SimpleITK", "to_sitk"), ("nibabel", "to_nibabel")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str, way: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=f"pip install {package}"):
        getattr(Image(voxels(), make_grid()), way)()
