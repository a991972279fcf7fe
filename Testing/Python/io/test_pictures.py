"""A folder of plain pictures, or pages of a TIFF, are a volume once the spacing is given."""
from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_file_case import voxels
from PIL import Image as Pillow

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.errors import InputError, InputNote
from TriplaneGaussianReconLib.io.readers import read_image

SPACING = (0.5, 0.6, 3.0)
ARRAY = voxels("u1")  # four slices


def save(folder: Path, names: list[str], array: np.ndarray = ARRAY) -> None:
    for name, pixels in zip(names, array, strict=True):
        Pillow.fromarray(pixels).save(folder / name)


def read(path: Path) -> Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_image(path, spacing=SPACING)


def refused(path: Path, *words: str, spacing: tuple[float, float, float] | None = SPACING) -> None:
    with pytest.raises(InputError) as caught:
        read_image(path, spacing=spacing)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("names", [
    ["slice1.png", "slice2.png", "slice10.png", "slice11.png"][:2] + ["slice3.png", "slice4.png"],
    ["a_008.tif", "a_009.tif", "a_010.tif", "a_011.tif"],
    ["8.bmp", "9.bmp", "10.bmp", "11.bmp"],
    ["z005_512x512.PNG", "z010_512x512.PNG", "z015_512x512.PNG", "z020_512x512.PNG"],
])
def test_pictures_are_stacked_by_their_numbers(tmp_path: Path, names: list[str]) -> None:
    save(tmp_path, names)
    image = read(tmp_path)
    np.testing.assert_array_equal(image.array, ARRAY)
    assert image.array.dtype == np.uint8
    assert image.grid == Grid((4, 5, 6), spacing=SPACING)


def test_missing_numbers_are_gaps(tmp_path: Path) -> None:
    save(tmp_path, ["1.png", "2.png", "4.png", "7.png"])
    with pytest.warns(InputNote, match="3 pictures are missing between the numbers 1 and 7") as caught:
        image = read_image(tmp_path, spacing=SPACING)
    assert image.grid.depths == (0.0, 3.0, 9.0, 18.0) and caught[0].filename == __file__
    np.testing.assert_array_equal(image.array, ARRAY)


@pytest.mark.parametrize("array", [voxels("u2") * 600, voxels("f4") / 7, voxels("i4") * 70000, voxels("u1") > 50])
def test_grey_values_of_any_depth_are_kept(tmp_path: Path, array: np.ndarray) -> None:
    save(tmp_path, [f"{n}.tif" for n in range(4)], array)
    expected = array.astype(np.uint8) * 255 if array.dtype == bool else array
    np.testing.assert_array_equal(read(tmp_path).array, expected)


def test_png_of_16_bits_keeps_them(tmp_path: Path) -> None:
    save(tmp_path, [f"{n}.png" for n in range(4)], voxels("u2") * 600)
    image = read(tmp_path)
    assert image.array.dtype == np.uint16
    np.testing.assert_array_equal(image.array, voxels("u2") * 600)


@pytest.mark.parametrize(("mode", "extension"), [("RGB", "png"), ("P", "png"), ("P", "tif"), ("RGB", "bmp"),
                                                 ("L", "bmp"), ("RGB", "tif")])
def test_colours_that_are_grey_are_exact(tmp_path: Path, mode: str, extension: str) -> None:
    for n, pixels in enumerate(ARRAY):
        Pillow.fromarray(pixels).convert(mode).save(tmp_path / f"{n}.{extension}")
    np.testing.assert_array_equal(read(tmp_path).array, ARRAY)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_left_out_and_said(tmp_path: Path, mode: str) -> None:
    for n, pixels in enumerate(ARRAY):
        Pillow.fromarray(pixels).convert(mode).save(tmp_path / f"{n}.png")
    with pytest.warns(InputNote, match="transparency"):
        image = read_image(tmp_path, spacing=SPACING)
    np.testing.assert_array_equal(image.array, ARRAY)


@pytest.mark.parametrize(("dtype", "extension"), [(np.uint8, "png"), (np.uint16, "png"), (np.uint16, "tif")])
def test_colours_become_grey_by_their_luma(tmp_path: Path, dtype: type, extension: str) -> None:
    colours = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (4, 5, 6, 3)).astype(dtype)
    for n, pixels in enumerate(colours):
        cv2.imwrite(str(tmp_path / f"{n}.{extension}"), pixels[..., ::-1])
    with pytest.warns(InputNote, match=r"BT\.601"):
        image = read_image(tmp_path, spacing=SPACING)
    np.testing.assert_array_equal(image.array, np.rint(colours @ [0.299, 0.587, 0.114]))
    assert image.array.dtype == dtype


def test_pages_of_a_tiff_are_slices(tmp_path: Path) -> None:
    first, *others = (Pillow.fromarray(pixels) for pixels in voxels("u2") * 600)
    first.save(tmp_path / "a.tif", save_all=True, append_images=others, compression="tiff_lzw")
    image = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array, voxels("u2") * 600)
    assert image.grid == Grid((4, 5, 6), spacing=SPACING)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.tif").rename(tmp_path / "folder" / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "folder").array, voxels("u2") * 600)


def test_pictures_that_are_no_stack_are_refused(tmp_path: Path) -> None:
    for folder, names, words in (
        ("two", ["a_1.png", "a_2.png", "b_1.png", "b_2.png"], "2 different names ('a_1.png'"),
        ("twice", ["1_1.png", "1_2.png", "2_1.png", "2_2.png"], "several numbered stacks"),
        ("same", ["1.png", "2.png", "02.png", "3.png"], "same number"),
        ("irregular", ["1.png", "4.png", "6.png", "13.png"], "not regular"),
        ("names", ["a.png", "b.png", "c.png", "d.png"], "4 different names"),
    ):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder, names)
        refused(tmp_path / folder, words)


def test_odd_and_damaged_pictures_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, [f"{n}.png" for n in range(4)])
    Pillow.fromarray(np.zeros((7, 8), np.uint8)).save(tmp_path / "4.png")
    refused(tmp_path, "most have 6 x 5 pixels", "'4.png' (8 x 7)")
    for n, content in enumerate((b"", b"hello", (tmp_path / "0.png").read_bytes()[:60])):
        (tmp_path / "4.png").write_bytes(content)
        refused(tmp_path, "'4.png' cannot be read")
        assert n < 3 and capfd.readouterr() == ("", "")


def test_spacing_is_asked_for_pictures_and_refused_for_all_else(tmp_path: Path) -> None:
    save(tmp_path, [f"{n}.png" for n in range(4)])
    refused(tmp_path, "--spacing 0.5,0.5,3", spacing=None)
    refused(tmp_path / "0.png", "one slice", "two are needed")
    np.savez(tmp_path / "a.npz", array=voxels())
    refused(tmp_path / "a.npz", "its own voxel spacing")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "its own voxel spacing")


@pytest.mark.parametrize("names", [
    ["z0.0.png", "z1.5.png", "z3.0.png", "z4.5.png"],
    ["10.58.png", "10.59.png", "11.00.png", "11.01.png"],
])
def test_numbers_that_tell_no_one_order_are_refused(tmp_path: Path, names: list[str]) -> None:
    save(tmp_path, names)
    refused(tmp_path, "'" + names[0] + "'", "'" + names[-1] + "'")


@pytest.mark.parametrize("names", [
    ["1.tif", "2.tiff", "3.TIF", "4.tif"],
    ["1_of_4_0.png", "2_of_4_1.png", "3_of_4_0.png", "4_of_4_1.png"],
    ["a9_z1.png", "a8_z2.png", "a7_z3.png", "a6_z4.png"],
])
def test_endings_and_further_numbers_do_not_part_a_stack(tmp_path: Path, names: list[str]) -> None:
    save(tmp_path, names)
    assert np.array_equal(read(tmp_path).array, ARRAY)


def test_pictures_of_several_depths_are_refused(tmp_path: Path) -> None:
    save(tmp_path, [f"{n}.png" for n in range(4)])
    Pillow.fromarray(ARRAY[3].astype(np.uint16) * 257).save(tmp_path / "3.png")
    refused(tmp_path, "uint16, uint8", "one type")


def test_text_beside_pictures_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, [f"{n}.png" for n in range(4)])
    for n in range(4):
        (tmp_path / f"{n}.xml").write_text("<a/>")
    assert np.array_equal(read(tmp_path).array, ARRAY)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0)])
def test_a_spacing_that_is_none_is_not_laid_to_the_header(tmp_path: Path, spacing: tuple[float, ...]) -> None:
    save(tmp_path, [f"{n}.png" for n in range(4)])
    refused(tmp_path, "three numbers above 0", "--spacing", spacing=spacing)  # type: ignore[arg-type]


def test_a_series_is_refused_for_what_is_no_dicom(tmp_path: Path) -> None:
    save(tmp_path, [f"{n}.png" for n in range(4)])
    with pytest.raises(InputError, match="Leave out --series"):
        read_image(tmp_path, spacing=SPACING, series="3")
