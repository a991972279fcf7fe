"""Slices that are not regular are read where they lie, and what was done is said."""
from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from dicom_case import AXIAL, POSITIONS, frames, pattern, save, write_slices
from image_file_case import refused

from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.errors import InputNote
from TriplaneGaussianReconLib.io.readers import read_image


def read(path: Path, *words: str) -> Image:
    """Read with one note, in which all words stand; with none if there are none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_image(path)
    assert len(caught) == bool(words), [str(one.message) for one in caught]
    for word in words:
        assert word in str(caught[0].message)
    return found


def at(*depths: float) -> list[tuple[float, float, float]]:
    return [(-10.0, 20.0, 33.0 + depth) for depth in depths]


def test_slices_lie_where_their_headers_say(tmp_path: Path) -> None:
    array = pattern()
    found = read(write_slices(tmp_path / "a", array[::-1], POSITIONS[::-1]))
    np.testing.assert_array_equal(found.array, array)
    assert found.grid.spacing == (0.5, 2.0, 4.0) and found.grid.origin == POSITIONS[0] and not found.grid.depths


@pytest.mark.parametrize("multiple", [False, True])
def test_a_missing_slice_is_a_gap(tmp_path: Path, multiple: bool) -> None:
    array, positions = pattern(), at(0, 4, 8, 16, 20, 24)
    path = tmp_path / "a"
    if multiple:
        save(path, frames(array, positions))
    else:
        write_slices(path, array, positions)
    found = read(path, "slice or more is missing between slices 2 and 3, 8 mm apart", "filled like any other")
    np.testing.assert_array_equal(found.array, array)
    assert found.grid.depths == (0, 4, 8, 16, 20, 24) and found.grid.spacing[2] == 4.0


def test_uneven_slices_keep_their_positions(tmp_path: Path) -> None:
    write_slices(tmp_path / "a", pattern(), at(0, 4, 8.5, 12, 16, 20))
    found = read(tmp_path / "a", "lie unevenly: 3.5 to 4.5 mm apart")
    assert found.grid.depths == (0, 4, 8.5, 12, 16, 20)


def test_rounding_is_no_unevenness(tmp_path: Path) -> None:
    found = read(write_slices(tmp_path / "a", pattern(), at(0, 0.7, 1.3, 2.0, 2.6, 3.3)))
    assert not found.grid.depths and found.grid.spacing[2] == pytest.approx(0.66)


def smooth(k: float, offset: float = 0.0) -> np.ndarray:
    """[row, column] of a smooth object, which depends on where a pixel lies; offset: mm along the rows' axis."""
    y, x = np.meshgrid(2.0 * np.arange(20) + offset, 0.5 * np.arange(24), indexing="ij")
    return 1000 + 300 * np.sin(y / 9 + k) + 200 * np.cos(x / 4)


def test_gantry_tilt_is_corrected_along_the_stated_geometry(tmp_path: Path) -> None:
    tilt = [(-10.0, 20.0 + 1.3 * k, 33.0 + 4.0 * k) for k in range(6)]
    array = np.round([smooth(k, 1.3 * k) for k in range(6)]).astype(np.int16)
    found = read(write_slices(tmp_path / "a", array, tilt), "18 degrees", "gantry", "up to 6.5 mm", "no data")
    assert found.array.dtype == np.int16 and found.grid.origin == POSITIONS[0] and found.array.shape == (6, 24, 24)
    for k in range(6):
        held = found.array[k] != found.padding
        expected = np.pad(smooth(k), ((0, 4), (0, 0)), mode="reflect")
        expected[20:] = smooth(k, 40.0)[:4]
        assert held.sum() >= 19 * 24
        assert np.abs(found.array[k] - expected)[held].max() < 25  # cubic at the rim of a slice
        inner = held.copy()
        inner[:int(0.65 * k) + 4] = inner[int(0.65 * k) + 16:] = False
        assert np.abs(found.array[k] - expected)[inner].max() < 3


def test_single_shifted_slices_lie_where_their_headers_say(tmp_path: Path) -> None:
    array = pattern()
    positions = [(-10.0 + 0.5 * (k == 2), 20.0, 33.0 + 4.0 * k) for k in range(6)]
    found = read(write_slices(tmp_path / "a", array, positions), "shifted against each other")
    assert found.array.shape == (6, 20, 25) and found.padding == -1
    np.testing.assert_array_equal(found.array[2, :, 1:], array[2])
    np.testing.assert_array_equal(found.array[3, :, :24], array[3])
    assert (found.array[2, :, 0] == -1).all()


def test_slices_far_apart_in_their_planes_are_refused(tmp_path: Path) -> None:
    refused(write_slices(tmp_path / "a", pattern(), [(200.0 * k, 0, k) for k in range(6)]), "within their planes")
    refused(write_slices(tmp_path / "b", pattern(), [(200.0 * (k % 2), 0, k // 2) for k in range(6)]), "side by side")


def test_three_orientations_are_refused(tmp_path: Path) -> None:
    turned = [{"PlaneOrientationSequence": {"ImageOrientationPatient": list(AXIAL)}},
              {"PlaneOrientationSequence": {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}},
              {"PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}}]
    refused(save(tmp_path / "a.dcm", frames(pattern(), POSITIONS, turned * 2)), "localizer", "2, 2, 2 lie alike",
            "'a.dcm, frame 1'")


def test_slices_at_one_place_are_no_volume(tmp_path: Path) -> None:
    refused(write_slices(tmp_path / "a", pattern(), POSITIONS[:1] * 6), "at one place")


def test_notes_are_input_notes(tmp_path: Path) -> None:
    with pytest.warns(InputNote) as caught:
        read_image(write_slices(tmp_path / "a", pattern(), at(0, 4, 8, 16, 20, 24)))
    assert caught[0].filename == __file__
