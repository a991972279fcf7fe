"""Volumes and segmentations survive the way to disk and back; bad files are refused with cause and remedy."""
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike

from TriplaneGaussianReconLib import image_files
from TriplaneGaussianReconLib.errors import InputError, ReconstructionError
from TriplaneGaussianReconLib.geometry import Grid
from TriplaneGaussianReconLib.image_files import (
    check_writable,
    read_image,
    read_segmentation,
    write_image,
    write_segmentation,
)
from TriplaneGaussianReconLib.images import Image, Segment, Segmentation, aligned_to

sitk = pytest.importorskip("SimpleITK")

ROOT = Path(__file__).parents[2]
FORMATS = ("nrrd", "nii.gz", "nii", "mha", "npz")
TAGS = ("Segmentation.Status:inprogress|TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy "
        "list~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^|")


def rotation(a: float, b: float, c: float) -> np.ndarray:
    return np.reshape(sitk.Euler3DTransform((0, 0, 0), a, b, c).GetMatrix(), (3, 3))


DIRECTIONS = {
    "identity": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([1.0, 1.0, -1.0]),
    "sagittal": np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "oblique": rotation(0.3, -0.2, 0.5),
}


def make_grid(name: str = "oblique", shape: tuple[int, int, int] = (4, 5, 6)) -> Grid:
    return Grid(shape, (-31.5, 12.25, 104.0), (0.7, 0.9, 3.3), tuple(map(tuple, DIRECTIONS[name])))


def voxels(dtype: DTypeLike = np.int16, shape: tuple[int, ...] = (4, 5, 6)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def assert_same_place(one: Grid, other: Grid) -> None:
    assert one.shape == other.shape
    np.testing.assert_allclose(one.origin, other.origin, atol=1e-4)
    np.testing.assert_allclose(one.spacing, other.spacing, rtol=1e-6)
    np.testing.assert_allclose(one.direction, other.direction, atol=1e-6)


def header(path: Path) -> str:
    return path.read_bytes().split(b"\n\n", 1)[0].decode()


# Images -------------------------------------------------------------------------------------------------------------


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
from TriplaneGaussianReconLib import image_files as files
from TriplaneGaussianReconLib.errors import ReconstructionError
from TriplaneGaussianReconLib.geometry import Grid
from TriplaneGaussianReconLib.images import Image, Segmentation
labels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
grid = Grid(labels.shape, (1, 2, 3), (1, 1, 5))
files.check_writable("a.npz")
files.write_image("a.npz", Image(labels, grid))
assert (files.read_image("a.npz").array == labels).all() and files.read_image("a.npz").grid == grid
files.write_segmentation("s.npz", Segmentation.from_labelmap(labels, grid))
assert len(files.read_segmentation("s.npz").segments) == 23
open("a.nrrd", "w").close()
for use in (files.read_image, files.read_segmentation, files.check_writable):
    try:
        use("a.nrrd")
    except ReconstructionError as error:
        assert "pip install SimpleITK" in str(error) and ".npz" in str(error), error
    else:
        raise AssertionError(use)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment, check=True)


# Bad images ---------------------------------------------------------------------------------------------------------


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_image(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


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


# DICOM --------------------------------------------------------------------------------------------------------------


def write_dicom(folder: Path, array: np.ndarray, grid: Grid, series: str = "1", skip: tuple[int, ...] = (),
                shift: np.ndarray | None = None) -> None:
    """Write slices of `array` in scrambled file order; `shift` is added to the positions, (K, 3) mm."""
    folder.mkdir(exist_ok=True)
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


def test_rounded_dicom_positions_are_even(tmp_path: Path) -> None:
    grid = Grid((10, 5, 6), spacing=(1, 1, 0.65))
    shift = np.zeros((10, 3))
    shift[:, 2] = np.round(np.arange(10) * 0.65, 1) - np.arange(10) * 0.65
    write_dicom(tmp_path / "a", voxels(shape=grid.shape), grid, shift=shift)
    assert read_image(tmp_path / "a").grid.spacing[2] == pytest.approx(0.65, abs=0.02)


def test_largest_of_several_dicom_series_is_read_with_a_warning(tmp_path: Path) -> None:
    small, large = make_grid(shape=(3, 5, 6)), make_grid(shape=(8, 5, 6))
    write_dicom(tmp_path / "a", voxels(shape=small.shape), small, "1")
    write_dicom(tmp_path / "a", voxels(shape=large.shape), large, "2")
    with pytest.warns(UserWarning, match="3 files, 'Series 1'; 8 files, 'Series 2'|8 files.*3 files") as caught:
        assert read_image(tmp_path / "a").grid.shape == (8, 5, 6)
    assert caught[0].filename == __file__
    assert "Reading the largest, 'Series 2'" in str(caught[0].message)


def test_uneven_dicom_series_are_refused(tmp_path: Path) -> None:
    array, grid = voxels(shape=(9, 5, 6)), make_grid("identity", (9, 5, 6))
    write_dicom(tmp_path / "missing", array, grid, skip=(4,))
    refused(tmp_path / "missing", "missing", "3.3 mm", "6.6 mm between slices 3 and 4", "Export the series again")
    shift = np.zeros((9, 3))
    shift[5, 2] = -3.3
    write_dicom(tmp_path / "double", array, grid, shift=shift)
    refused(tmp_path / "double", "same place")
    tilt = np.arange(9)[:, None] * np.array([0, 0.8, 0])
    write_dicom(tmp_path / "tilted", array, grid, shift=tilt)
    refused(tmp_path / "tilted", "gantry")
    write_dicom(tmp_path / "turned", array, grid, skip=(0,))
    write_dicom(tmp_path / "turned", array[:1], make_grid("oblique", (1, 5, 6)))
    refused(tmp_path / "turned", "not parallel")


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


# Segmentations ------------------------------------------------------------------------------------------------------


def overlapping() -> Segmentation:
    layers = np.zeros((3, 4, 5, 6), np.uint8)
    layers[0, 1:3, 1:3, 2:5] = 1
    layers[0, 3, 3, 3] = 7
    layers[1, 2:4, 2:5, 3:6] = 1
    layers[2, 0, 0, 0] = 3
    segments = (Segment("Leber é 肝", 1, 0, "liver", (0.87, 0.31, 0.501961)), Segment("Spleen", 7, 0, "s:1", (0, 0, 1)),
                Segment("Tumour | a:=b", 1, 1, "Segment_3", (1, 0, 0)), Segment("Дом", 3, 2, "Segment_1", (0, 1, 0)))
    metadata = {"Segment0_ID": "liver", "Segment0_Tags": TAGS, "Segment0_NameAutoGenerated": "1", "Source": "hospital",
                "Segmentation_ContainedRepresentationNames": "Binary labelmap|Closed surface|"}
    return Segmentation(layers, segments, make_grid(), metadata)


@pytest.mark.parametrize("layer_count", [1, 2, 3])
def test_slicer_segmentation_round_trip(tmp_path: Path, layer_count: int) -> None:
    segmentation = overlapping()
    segmentation = Segmentation(segmentation.layers[:layer_count], segmentation.segments[:layer_count + 1],
                                segmentation.grid, segmentation.metadata)
    paths = tmp_path / "a.seg.nrrd", tmp_path / "b.seg.nrrd"
    write_segmentation(paths[0], segmentation)
    once = read_segmentation(paths[0])
    write_segmentation(paths[1], once)
    for back in once, read_segmentation(paths[1]):
        np.testing.assert_array_equal(back.layers, segmentation.layers)
        assert back.layers.dtype == np.uint8
        assert back.segments == segmentation.segments
        assert_same_place(back.grid, segmentation.grid)
        for key, value in segmentation.metadata.items():
            assert back.metadata[key] == value
        assert back.metadata["Segment1_Extent"] == "0 5 0 4 0 3"
        assert back.metadata["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert header(paths[0]).partition("Segment0_")[2] == header(paths[1]).partition("Segment0_")[2]
    assert ("kinds: list domain domain domain" in header(paths[0])) == (layer_count > 1)


def test_metadata_follows_reordered_segments(tmp_path: Path) -> None:
    segmentation = overlapping()
    reordered = Segmentation(segmentation.layers, segmentation.segments[::-1], segmentation.grid, segmentation.metadata)
    write_segmentation(tmp_path / "a.seg.nrrd", reordered)
    metadata = read_segmentation(tmp_path / "a.seg.nrrd").metadata
    assert (metadata["Segment3_ID"], metadata["Segment3_Tags"]) == ("liver", TAGS)
    assert (metadata["Segment0_ID"], metadata["Segment0_Tags"]) == ("Segment_1", "")


def test_segments_without_identifier_get_unique_ones(tmp_path: Path) -> None:
    labels = voxels("u2") % 3 * 300
    segmentation = Segmentation.from_labelmap(labels, make_grid())
    taken = Segment("x", 9, identifier="Segment_3")
    segments = (*segmentation.segments, taken, Segment("y", 8))
    write_segmentation(tmp_path / "a.seg.nrrd", Segmentation(labels[None], segments, make_grid()))
    back = read_segmentation(tmp_path / "a.seg.nrrd")
    assert [s.identifier for s in back.segments] == ["Segment_1", "Segment_2", "Segment_3", "Segment_4"]
    assert back.layers.dtype == np.uint16
    assert len({s.color for s in back.segments}) == 4


def slicer_file(path: Path, offset: str, parameters: str) -> Segmentation:
    """A segmentation as 3D Slicer saves it: cropped, on the lattice of a larger volume."""
    grid = make_grid("identity")
    image = sitk.GetImageFromArray(np.ones((2, 2, 2), np.uint8))
    image.SetOrigin(tuple(grid.index_to_physical(np.array([3, 1, 1]))))
    image.SetSpacing(grid.spacing)
    for key, value in {"Segment0_ID": "a", "Segment0_Name": "A", "Segment0_Extent": "0 1 0 1 0 1",
                       "Segment0_LabelValue": "1", "Segment0_Layer": "0",
                       "Segmentation_ReferenceImageExtentOffset": offset,
                       "Segmentation_ConversionParameters": parameters}.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, path)
    return read_segmentation(path)


def test_cropped_segmentation_is_aligned_and_keeps_its_reference(tmp_path: Path) -> None:
    # RAS matrix of make_grid("identity") and the extent of 6 x 5 x 4 voxels
    geometry = "-0.7;0;0;31.5;0;-0.9;0;-12.25;0;0;3.3;104;0;0;0;1;0;5;0;4;0;3;"
    parameters = f"Smoothing factor|0.2|Smooth.&Reference image geometry|{geometry}|Description.&"
    cropped = slicer_file(tmp_path / "a.seg.nrrd", "3 1 1", parameters)
    assert cropped.grid.shape == (2, 2, 2)
    write_segmentation(tmp_path / "b.seg.nrrd", cropped)
    metadata = read_segmentation(tmp_path / "b.seg.nrrd").metadata
    assert metadata["Segmentation_ReferenceImageExtentOffset"] == "3 1 1"
    assert metadata["Segmentation_ConversionParameters"] == parameters

    whole = aligned_to(cropped, make_grid("identity"))
    expected = np.zeros((1, 4, 5, 6), np.uint8)
    expected[:, 1:3, 1:3, 3:5] = 1
    np.testing.assert_array_equal(whole.layers, expected)
    assert whole.grid == make_grid("identity")
    write_segmentation(tmp_path / "c.seg.nrrd", whole)
    metadata = read_segmentation(tmp_path / "c.seg.nrrd").metadata
    assert metadata["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert metadata["Segmentation_ConversionParameters"] == parameters
    assert metadata["Segment0_Extent"] == "0 5 0 4 0 3"
    np.testing.assert_array_equal(aligned_to(whole, cropped.grid).layers, cropped.layers)

    finer = make_grid("identity").resampled("k", 1.1)
    layers = np.ones((1, *finer.shape), np.uint8)
    write_segmentation(tmp_path / "d.seg.nrrd", Segmentation(layers, whole.segments, finer, whole.metadata))
    metadata = read_segmentation(tmp_path / "d.seg.nrrd").metadata
    assert metadata["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert metadata["Segment0_Extent"] == "0 5 0 4 0 9"
    rewritten = metadata["Segmentation_ConversionParameters"]
    assert rewritten.startswith("Smoothing factor|0.2|Smooth.&Reference image geometry|-0.7;")
    assert ";1.1;104.0;" in rewritten and rewritten.endswith(";0;5;0;4;0;9;|Description.&")


def test_offset_without_reference_geometry_is_reset(tmp_path: Path) -> None:
    write_segmentation(tmp_path / "b.seg.nrrd", slicer_file(tmp_path / "a.seg.nrrd", "3 1 1", "Smoothing|0.2|S.&"))
    metadata = read_segmentation(tmp_path / "b.seg.nrrd").metadata
    assert metadata["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert metadata["Segmentation_ConversionParameters"].startswith("Smoothing|0.2|S.&Reference image geometry|-0.7;")


def test_aligned_to_refuses_other_lattices() -> None:
    segmentation = Segmentation.from_labelmap(np.ones((4, 5, 6), np.uint8), make_grid())
    grid = make_grid()
    half = Grid(grid.shape, tuple(grid.index_to_physical(np.array([0.5, 0, 0]))), grid.spacing, grid.direction)
    far = Grid(grid.shape, tuple(grid.index_to_physical(np.array([6, 0, 0]))), grid.spacing, grid.direction)
    thick = Grid((1, 5, 6), grid.origin, (0.7, 0.9, 6.6), grid.direction)
    turned = make_grid("identity")
    for other, words in ((half, "Resample"), (thick, "Resample"), (turned, "Resample"), (far, "outside")):
        with pytest.raises(InputError, match=words):
            aligned_to(segmentation, other)


def test_old_slicer_files_without_layer_and_value(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.moveaxis(overlapping().layers[:2] % 2, 0, -1), isVector=True)
    for n, name in enumerate("ab"):
        image.SetMetaData(f"Segment{n}_ID", name)
    sitk.WriteImage(image, tmp_path / "a.seg.nrrd")
    assert read_segmentation(tmp_path / "a.seg.nrrd").segments == (Segment("a", 1, 0, "a"), Segment("b", 1, 1, "b"))


def test_latin1_names_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(path, overlapping())
    path.write_bytes(path.read_bytes().replace("Leber é 肝".encode(), b"Gef\xe4\xdf"))
    for _ in range(2):
        segmentation = read_segmentation(path)
        assert segmentation.segments[0].name == "Gefäß"
        write_segmentation(path, segmentation)


@pytest.mark.parametrize("extension", FORMATS)
def test_label_map_round_trip(tmp_path: Path, extension: str) -> None:
    labels = np.zeros((4, 5, 6), np.int32)
    labels[1, 2, 3], labels[2] = 300, 5
    path = tmp_path / f"a.{extension}"
    write_segmentation(path, Segmentation.from_labelmap(labels, make_grid()))
    back = read_segmentation(path)
    assert back.layers.dtype == np.uint16
    np.testing.assert_array_equal(back.layers[0], labels)
    assert [s.value for s in back.segments] == [5, 300]
    assert_same_place(back.grid, make_grid())


def test_label_map_of_overlapping_segments(tmp_path: Path) -> None:
    with pytest.warns(UserWarning) as caught:
        write_segmentation(tmp_path / "a.nii.gz", overlapping())
    messages = [str(w.message) for w in caught]
    assert "2 = Spleen, 3 = Tumour" in messages[0] and "later segment wins" in messages[1]
    assert all(".seg.nrrd" in message for message in messages)
    assert all(w.filename == __file__ for w in caught)
    labels = read_segmentation(tmp_path / "a.nii.gz").layers[0]
    layers = overlapping().layers
    assert (labels[layers[1] == 1] == 3).all()
    assert (labels[(layers[0] == 1) & (layers[1] == 0)] == 1).all()
    assert labels[0, 0, 0] == 4


def test_bad_segmentations_are_refused(tmp_path: Path) -> None:
    def check(name: str, image: object, words: str) -> None:
        sitk.WriteImage(image, tmp_path / name)
        with pytest.raises(InputError, match=words) as caught:
            read_segmentation(tmp_path / name)
        assert name in str(caught.value)

    check("a.nrrd", sitk.Image(3, 4, 5, sitk.sitkUInt8), "empty")
    check("b.nrrd", sitk.GetImageFromArray(voxels("f4") / 7), "whole numbers")
    check("c.nrrd", sitk.GetImageFromArray(voxels("u1", (4, 5, 6, 2)), isVector=True), "Segment0_ID")
    image = sitk.Image(3, 4, 5, sitk.sitkUInt8)
    image.SetMetaData("Segment0_ID", "x")
    image.SetMetaData("Segment0_Layer", "1")
    check("d.seg.nrrd", image, "layer 1, but the file has 1")
    image.SetMetaData("Segment0_Layer", "one")
    check("e.seg.nrrd", image, "is no number")
    with pytest.raises(InputError, match="32 bits"):
        write_segmentation(tmp_path / "f.nrrd",
                           Segmentation.from_labelmap(np.full((2, 2, 2), 2**40), Grid((2, 2, 2))))


# Writing whole or not at all ----------------------------------------------------------------------------------------


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


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a folder that refuses writing")
def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ReconstructionError, match="Permission denied"):
        check_writable(tmp_path / "a.nrrd")


def test_folder_that_refuses_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(ReconstructionError, match="Permission denied") as caught:
        write_image(tmp_path / "a.nrrd", Image(voxels(), make_grid()))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("extension", [*FORMATS, "seg.nrrd"])
def test_failed_write_leaves_the_old_file(tmp_path: Path, extension: str) -> None:
    """A limit on file size stands for the full disk."""
    pytest.importorskip("resource")
    path = tmp_path / f"a.{extension}"
    path.write_text("old")
    code = f"""
import resource
import numpy as np
from TriplaneGaussianReconLib import image_files as files
from TriplaneGaussianReconLib.errors import ReconstructionError
from TriplaneGaussianReconLib.geometry import Grid
from TriplaneGaussianReconLib.images import Image, Segment, Segmentation
array = np.random.default_rng(0).integers(0, 30000, (2, 20, 60, 60)).astype(np.int16)
grid = Grid(array.shape[1:])
resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))
try:
    if "seg" in "{extension}":
        files.write_segmentation("{path.name}", Segmentation(array, (Segment("a", 1),), grid))
    else:
        files.write_image("{path.name}", Image(array[0], grid))
except ReconstructionError as error:
    assert "'{path.name}' was not written" in str(error), error
else:
    raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [path.name]


def test_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    path.write_text("old")

    def interrupt(file: Path, **_: object) -> None:
        file.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(image_files.np, "savez_compressed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_image(path, Image(voxels(), make_grid()))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.npz"]


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
