"""NIfTI files are read as their own header tells."""
from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
from image_file_case import assert_same_place, make_grid, refused, voxels

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.io.readers import read_image

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
GRID = make_grid("oblique")
PLAIN = Grid(voxels().shape, spacing=(1, 1, 3))


def write(path: Path, *, sform: np.ndarray | None, qform: np.ndarray | None, code: int = 1,
          array: np.ndarray | None = None, kind: type = nibabel.Nifti1Image) -> None:
    """Write voxels with matrices from index to LPS mm; None leaves the matrix out."""
    image = kind((voxels() if array is None else array).T, np.eye(4))
    for set_matrix, matrix in ((image.set_sform, sform), (image.set_qform, qform)):
        set_matrix(np.eye(4) if matrix is None else TO_RAS @ matrix, 0 if matrix is None else code)
    nibabel.save(image, path)


def patched(path: Path, at: int, *values: float, dtype: str = "<f4") -> None:
    """Overwrite fields of the header, from byte `at`."""
    content = bytearray(path.read_bytes())
    new = np.array(values, dtype).tobytes()
    content[at:at + len(new)] = new
    path.write_bytes(content)


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_the_sform_wins_with_a_warning_where_the_qform_differs(tmp_path: Path, code: int) -> None:
    elsewhere = GRID.ijk_to_lps
    elsewhere[:3, 3] += 37.0
    write(tmp_path / "a.nii", sform=GRID.ijk_to_lps, qform=elsewhere, code=code)
    with pytest.warns(UserWarning, match="two places, 64.1 mm apart. The sform is used") as caught:
        image = read_image(tmp_path / "a.nii")
    assert_same_place(image.grid, GRID)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("has", ["sform", "qform", "both"])
def test_either_form_tells_the_place_without_a_warning(tmp_path: Path, has: str) -> None:
    write(tmp_path / "a.nii.gz", sform=None if has == "qform" else GRID.ijk_to_lps,
          qform=None if has == "sform" else GRID.ijk_to_lps)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(tmp_path / "a.nii.gz")
    assert_same_place(image.grid, GRID)
    np.testing.assert_array_equal(image.array, voxels())


def test_without_a_form_the_spacing_is_all_that_is_known(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", sform=None, qform=None)
    patched(tmp_path / "a.nii", 80, 0.5, 0.6, 3.0)
    assert_same_place(read_image(tmp_path / "a.nii").grid, Grid((4, 5, 6), spacing=(0.5, 0.6, 3.0)))


def test_lengths_in_other_units_become_mm(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", sform=GRID.ijk_to_lps, qform=GRID.ijk_to_lps)
    patched(tmp_path / "a.nii", 123, 3, dtype="u1")  # micrometres
    grid = read_image(tmp_path / "a.nii").grid
    np.testing.assert_allclose(grid.spacing, np.array(GRID.spacing) / 1000, rtol=1e-6)
    np.testing.assert_allclose(grid.origin, np.array(GRID.origin) / 1000, rtol=1e-6)


def test_axes_off_by_rounding_are_brought_to_right_angles(tmp_path: Path) -> None:
    matrix = GRID.ijk_to_lps
    matrix[:3, 2] += 0.0005 * matrix[:3, 0]  # 0.0015 pixels over the three gaps
    write(tmp_path / "a.nii", sform=matrix, qform=None)
    grid = read_image(tmp_path / "a.nii").grid
    axes = np.asarray(grid.direction)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(grid.ijk_to_lps, matrix, atol=1e-3)


def test_a_sheared_sform_is_refused_whatever_the_qform_tells(tmp_path: Path) -> None:
    matrix = GRID.ijk_to_lps
    matrix[:3, 2] += 0.1 * matrix[:3, 0]
    write(tmp_path / "a.nii", sform=matrix, qform=GRID.ijk_to_lps)
    refused(tmp_path / "a.nii", "right angles", "Resample")


@pytest.mark.parametrize("side", [0.0, np.nan, np.inf])
def test_spacing_is_not_invented(tmp_path: Path, side: float) -> None:
    write(tmp_path / "a.nii", sform=None, qform=GRID.ijk_to_lps)
    patched(tmp_path / "a.nii", 88, side)
    refused(tmp_path / "a.nii", "no usable voxel spacing (0.7 x 0.9 x", "Correct the header")


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, 5.0), (np.nan, np.nan), (1.0, 0.0)])
def test_values_stay_as_stored_where_nothing_scales_them(tmp_path: Path, slope: float, intercept: float) -> None:
    write(tmp_path / "a.nii", sform=GRID.ijk_to_lps, qform=None)
    patched(tmp_path / "a.nii", 112, slope, intercept)
    image = read_image(tmp_path / "a.nii")
    np.testing.assert_array_equal(image.array, voxels())
    assert image.array.dtype == np.int16


@pytest.mark.parametrize(("intercept", "dtype"), [(-3.25, np.float32), (1e6, np.float64)])
def test_scaled_values_are_as_fine_as_they_need(tmp_path: Path, intercept: float, dtype: type) -> None:
    write(tmp_path / "a.nii", sform=GRID.ijk_to_lps, qform=None)
    patched(tmp_path / "a.nii", 112, 0.001, intercept)
    image = read_image(tmp_path / "a.nii")
    np.testing.assert_allclose(image.array, voxels() * np.float64(np.float32(0.001)) + intercept, rtol=0, atol=1e-6)
    assert image.array.dtype == dtype


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image, nibabel.Nifti1Pair])
@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_both_versions_in_any_byte_order_in_one_file_or_two(tmp_path: Path, kind: type, order: str) -> None:
    is_pair = kind is nibabel.Nifti1Pair
    array = voxels(order)
    image = kind(array.T, TO_RAS @ GRID.ijk_to_lps, kind.header_class(endianness=order[0]))
    image.set_data_dtype(order)
    nibabel.save(image, tmp_path / ("a.img" if is_pair else "a.nii"))
    for name in ("a.img", "a.hdr") if is_pair else ("a.nii",):
        back = read_image(tmp_path / name)
        np.testing.assert_array_equal(back.array, array)
        assert back.array.dtype == np.int16 and back.array.dtype.isnative
        assert_same_place(back.grid, GRID)


def test_gzip_is_told_by_the_content(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", sform=GRID.ijk_to_lps, qform=None)
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(content)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(content))
    for name in ("plain.nii.gz", "packed.nii"):
        np.testing.assert_array_equal(read_image(tmp_path / name).array, voxels())


def test_what_is_no_volume_of_real_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    for array, words in ((voxels(shape=(5, 6)), "it is one slice"), (voxels(shape=(3, 4, 5, 6)), "6 x 5 x 4 x 3"),
                         (voxels(np.complex64), "complex")):
        write(path, sform=None, qform=None, array=array)
        refused(path, words)
    colour = np.zeros((6, 5, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), path)
    refused(path, "3 values per voxel", "grey")


def test_a_single_frame_is_a_volume(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", sform=GRID.ijk_to_lps, qform=None, array=voxels()[None, None])
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii").array, voxels())


def test_a_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", sform=GRID.ijk_to_lps, qform=None)
    (tmp_path / "a.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:-60])
    refused(tmp_path / "a.nii", "ends early, after 180 of 240 bytes of voxels", "Copy or export it again")
    (tmp_path / "b.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:100])
    refused(tmp_path / "b.nii")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_one_of_several_volumes_is_chosen(tmp_path: Path, name: str) -> None:
    array = np.stack([voxels(), voxels() + 1, voxels() + 2])
    write(tmp_path / name, sform=GRID.ijk_to_lps, qform=None, array=array)
    for number in (1, 2, 3):
        image = read_image(tmp_path / name, volume_number=number)
        np.testing.assert_array_equal(image.array, array[number - 1])
        assert_same_place(image.grid, GRID)
    refused(tmp_path / name, "holds 3 volumes", "--volume-number, 1 to 3")
    write(tmp_path / name, sform=GRID.ijk_to_lps, qform=None)
    with pytest.raises(InputError, match="no volume 2"):
        read_image(tmp_path / name, volume_number=2)


@pytest.mark.parametrize(("at", "values"), [(76, (0.0,)), (256, (0.9, 0.9, 0.9)), (256, (np.nan, 0, 0))])
def test_a_quaternion_that_tells_nothing_does_no_harm_beside_a_sform(tmp_path: Path, at: int,
                                                                      values: tuple[float, ...]) -> None:
    affine = np.diag([1.0, 1, 3, 1])
    write(tmp_path / "a.nii", sform=affine, qform=affine)
    patched(tmp_path / "a.nii", at, *values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same_place(read_image(tmp_path / "a.nii").grid, PLAIN)


def test_a_first_pixdim_of_0_counts_as_1(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", sform=None, qform=np.diag([1.0, 1, 3, 1]))
    patched(tmp_path / "a.nii", 76, 0.0)
    assert_same_place(read_image(tmp_path / "a.nii").grid, PLAIN)


def test_a_quaternion_longer_than_1_is_refused_where_it_is_all(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", sform=None, qform=np.diag([1.0, 1, 3, 1]))
    patched(tmp_path / "a.nii", 256, 0.9, 0.9, 0.9)
    refused(tmp_path / "a.nii", "quaternion")


def test_a_sform_of_zeros_is_an_empty_field(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1, 3, 1])
    write(tmp_path / "a.nii", sform=affine, qform=affine)
    patched(tmp_path / "a.nii", 280, *[0.0] * 12)
    assert_same_place(read_image(tmp_path / "a.nii").grid, PLAIN)


def test_micrometres_told_in_metres_are_a_spacing(tmp_path: Path) -> None:
    affine = np.diag([1e-5, 1e-5, 3e-5, 1])
    write(tmp_path / "a.nii", sform=affine, qform=affine)
    patched(tmp_path / "a.nii", 123, 1, dtype="<u1")
    assert np.allclose(read_image(tmp_path / "a.nii").grid.spacing, (0.01, 0.01, 0.03))


def test_volumes_of_one_slice_are_refused_before_one_is_chosen(tmp_path: Path) -> None:
    nibabel.Nifti1Image(np.zeros((6, 5, 1, 4), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "one slice (6 x 5 x 1 x 4)")
