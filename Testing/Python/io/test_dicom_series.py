"""One series of a folder is chosen by UID, number or description; otherwise the largest is read."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_case import POSITIONS, frames, pattern, save, write_slices

from TriplaneGaussianReconLib.errors import InputError, InputNote
from TriplaneGaussianReconLib.io.readers import read_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_slices(tmp_path, pattern(4), SeriesInstanceUID="1.2.3.5", SeriesNumber=2, SeriesDescription="T1 axial")
    write_slices(tmp_path, pattern(), first=11, SeriesInstanceUID="1.2.3.6", SeriesNumber=5,
                 SeriesDescription="T2 axial")
    write_slices(tmp_path, pattern(3), first=21, SeriesInstanceUID="1.2.3.7", SeriesNumber=5, SeriesDescription="Scout")
    return tmp_path


def test_the_largest_is_read_and_all_are_listed(folder: Path) -> None:
    with pytest.warns(InputNote) as caught:
        assert len(read_image(folder).array) == 6
    assert str(caught[0].message) == (
        "The folder holds 3 DICOM series: number 2, 'T1 axial', 4 files, 1.2.3.5; number 5, 'T2 axial', 6 files, "
        "1.2.3.6; number 5, 'Scout', 3 files, 1.2.3.7. Reading the largest, number 5, 'T2 axial'. Choose another with "
        "--series, by number, description or UID.")


@pytest.mark.parametrize(("wanted", "count"), [("1.2.3.7", 3), ("2", 4), ("t2 AXIAL", 6), ("scout", 3), ("T1", 4)])
def test_a_series_is_chosen(folder: Path, wanted: str, count: int) -> None:
    np.testing.assert_array_equal(read_image(folder, series=wanted).array, pattern(count))


@pytest.mark.parametrize(("wanted", "words"), [
    ("axial", "2 DICOM series match 'axial'"), ("5", "2 DICOM series match '5'"),
    ("PET", "no DICOM series matches 'PET'")])
def test_no_or_several_matches_are_refused_with_the_list(folder: Path, wanted: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_image(folder, series=wanted)
    assert "'T2 axial', 6 files, 1.2.3.6" in str(caught.value)


def test_slices_count_not_files(folder: Path) -> None:
    save(folder / "mf", frames(pattern(9), [(0, 0, k) for k in range(9)], SeriesInstanceUID="1.2.3.9"))
    with pytest.warns(InputNote, match="number 7, 'thick', 1 file, 9 slices, 1.2.3.9"):
        assert len(read_image(folder).array) == 9
    assert len(read_image(folder / "mf", series="7").array) == 9


def test_one_series_of_several_objects_is_one_volume(tmp_path: Path) -> None:
    save(tmp_path / "b", frames(pattern()[:3], POSITIONS[:3]))
    save(tmp_path / "a", frames(pattern()[3:], POSITIONS[3:], number=2))
    np.testing.assert_array_equal(read_image(tmp_path).array, pattern())
