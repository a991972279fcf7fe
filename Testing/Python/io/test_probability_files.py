"""Probabilities of segments as files: what is written is what other programs and our own reader find."""
from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
from posix_case import POSIX, room_for

from TriplaneGaussianReconLib import InputError, LabelProbabilities, OutputError, Segment, read_image, read_segmentation
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.errors import InputNote
from TriplaneGaussianReconLib.io.nrrd_files import read_nrrd
from TriplaneGaussianReconLib.io.probability_files import check_probabilities_writable, write_probabilities

SHAPE = (5, 6, 7)
SEGMENTS = (Segment("liver", 4, 0, "first", (0.5, 0.25, 0.125)), Segment("tumour", 7, 0, "second"),
            Segment("cyst", 1, 1, "third"))
FORMATS = ("seg.nrrd", "nrrd", "nii.gz", "nii")


def probabilities(rotation: np.ndarray | None = None, most: int = 100) -> LabelProbabilities:
    array = np.random.default_rng(0).integers(0, most + 1, (3, *SHAPE)).astype(np.uint8)
    direction = np.eye(3) if rotation is None else rotation
    grid = Grid(SHAPE, (12.5, -40.0, 7.0), (0.9, 0.8, 2.5), tuple(map(tuple, direction)))
    return LabelProbabilities(array, SEGMENTS, grid, {"Segment0_ID": "third", "Segment0_Tags": "TerminologyEntry:c|",
                                                      "Segmentation_MasterRepresentation": "Binary labelmap"})


@pytest.mark.parametrize("most", [100, 90])  # where nothing is certain the header alone tells what 90 means
def test_a_fractional_labelmap(tmp_path: Path, rotation: np.ndarray, most: int) -> None:
    path, given = tmp_path / "p.seg.nrrd", probabilities(rotation, most)
    write_probabilities(path, given)
    array, grid, metadata = read_nrrd(path, None)
    np.testing.assert_array_equal(np.moveaxis(array, -1, 0), given.array)
    assert array.dtype == np.uint8 and grid.matches(given.grid)
    with pytest.warns(InputNote, match="fractions from 0 to 100"):
        found = read_segmentation(path)
    np.testing.assert_array_equal(found.layers, given.array >= 50)
    assert [(s.name, s.identifier, s.layer) for s in found.segments] == [
        ("liver", "first", 0), ("tumour", "second", 1), ("cyst", "third", 2)]
    assert found.segments[0].color == SEGMENTS[0].color and found.segments[1].color != found.segments[2].color
    assert metadata["Segmentation_MasterRepresentation"] == "Fractional labelmap"
    assert metadata["Segment2_Tags"] == "TerminologyEntry:c|" and metadata["Segment2_LabelValue"] == "100"
    voxels, header = nrrd.read(str(path))
    np.testing.assert_array_equal(voxels.T, np.moveaxis(given.array, 0, -1))
    assert header["kinds"] == ["list", "domain", "domain", "domain"]


def test_a_volume_of_each_segment_as_nrrd(tmp_path: Path, rotation: np.ndarray) -> None:
    path, given = tmp_path / "p.nrrd", probabilities(rotation)
    write_probabilities(path, given)
    voxels, header = nrrd.read(str(path))
    np.testing.assert_array_equal(voxels.T, np.moveaxis(given.array, 0, -1))
    assert not any(key.startswith("Segment") for key in header)


@pytest.mark.parametrize("extension", ["nii.gz", "nii"])
def test_a_volume_of_each_segment_as_nifti(tmp_path: Path, rotation: np.ndarray, extension: str) -> None:
    path, given = tmp_path / f"p.{extension}", probabilities(rotation)
    write_probabilities(path, given)
    image = nibabel.load(path)
    assert image.shape == (7, 6, 5, 3) and image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, given.array)
    np.testing.assert_allclose(image.affine, given.grid.affine, atol=1e-5)


@pytest.mark.parametrize("extension", FORMATS[1:])
def test_our_reader_takes_one_of_the_volumes(tmp_path: Path, rotation: np.ndarray, extension: str) -> None:
    path, given = tmp_path / f"p.{extension}", probabilities(rotation)
    write_probabilities(path, given)
    for number in (1, 2, 3):
        image = read_image(path, volume_number=number)
        np.testing.assert_array_equal(image.array, given.array[number - 1])
        assert image.array.dtype == np.uint8 and image.grid.matches(given.grid)


@pytest.mark.parametrize("extension", FORMATS)
def test_a_single_segment_is_a_single_volume(tmp_path: Path, extension: str) -> None:
    given = replace(probabilities(), array=probabilities().array[:1], segments=SEGMENTS[:1])
    write_probabilities(tmp_path / f"p.{extension}", given)
    np.testing.assert_array_equal(read_image(tmp_path / f"p.{extension}").array, given.array[0])


@pytest.mark.parametrize("name", ["p.mha", "p.npz", "p.dcm", "p.seg.nhdr", "p", "folder/"])
def test_other_files_cannot_hold_them(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot hold a probability of each segment. Use .seg.nrrd for a fractional"):
        check_probabilities_writable(tmp_path / name)
    with pytest.raises(OutputError, match="does not exist"):
        check_probabilities_writable(tmp_path / "none" / "p.nii.gz")


@POSIX
@pytest.mark.parametrize("extension", FORMATS)
def test_failed_write_leaves_the_old_file(tmp_path: Path, extension: str) -> None:
    path, given = tmp_path / f"p.{extension}", probabilities()
    write_probabilities(path, given)
    size = path.stat().st_size
    path.write_text("old")
    for shortfall in (1, size // 2):
        with room_for(size - shortfall), pytest.raises(OutputError, match="was not written"):
            write_probabilities(path, given)
        assert path.read_text() == "old" and os.listdir(tmp_path) == [path.name]
