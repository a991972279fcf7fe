"""Several volumes at the same places are told apart and chosen; copies are named and set aside."""
from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_case import POSITIONS, frames, pattern, save, write_slices
from image_file_case import refused

from TriplaneGaussianReconLib.errors import InputError, InputNote
from TriplaneGaussianReconLib.io.readers import read_image

TIMES = [{"FrameContentSequence": {"TemporalPositionIndex": 1 + n % 2}} for n in range(12)]


def twice(folder: Path, one: dict, other: dict) -> np.ndarray:
    """Write two volumes [volume, k, j, i] that differ in these fields."""
    array = pattern(12)
    write_slices(folder, array[:6], each=[other] * 6)
    write_slices(folder, array[6:], each=[one] * 6, first=7)
    return np.stack([array[6:], array[:6]])


@pytest.mark.parametrize(("one", "other", "words"), [
    ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}, ("1: time point 1, 6 slices", "2: time")),
    ({"EchoTime": 4.6}, {"EchoTime": 12.5}, ("1: echo time 4.6 ms", "2: echo time 12.5 ms")),
    ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}, ("1: b-value 0 s/mm2", "2: b-value 1000 s/mm2")),
    ({"TriggerTime": 20}, {"TriggerTime": 100}, ("trigger time 20 ms", "trigger time 100 ms")),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, ("PRIMARY\\M", "\\P")),
    ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, ("acquisition 1", "acquisition 2")),
    ({"AcquisitionTime": "120000"}, {"AcquisitionTime": "120130.5"}, ("acquired at 120000", "120130.5"))])
def test_volumes_are_listed_and_chosen_by_what_differs(tmp_path: Path, one: dict, other: dict,
                                                       words: tuple[str, ...]) -> None:
    volumes = twice(tmp_path / "a", one, other)
    refused(tmp_path / "a", "2 volumes at the same places", *words, "--volume-number")
    for number in (1, 2):
        np.testing.assert_array_equal(read_image(tmp_path / "a", volume_number=number).array, volumes[number - 1])
    with pytest.raises(InputError, match="no volume number 3; its series holds 2 volumes: 1: "):
        read_image(tmp_path / "a", volume_number=3)


def test_time_points_in_one_file(tmp_path: Path) -> None:
    array = pattern(12)
    path = save(tmp_path / "a.dcm", frames(array, np.repeat(POSITIONS, 2, axis=0).tolist(), TIMES))
    refused(path, "1: time point 1, 6 slices; 2: time point 2, 6 slices", "--volume-number")
    np.testing.assert_array_equal(read_image(path, volume_number=2).array, array[1::2])


def test_two_fields_together_tell_volumes_apart(tmp_path: Path) -> None:
    array = pattern(24)
    for n in range(4):
        write_slices(tmp_path, array[6 * n:6 * n + 6], first=6 * n + 1, each=[
            {"TemporalPositionIdentifier": 1 + n // 2, "EchoNumbers": 1 + n % 2}] * 6)
    refused(tmp_path, "4 volumes", "2: time point 1, echo 2, 6 slices")
    np.testing.assert_array_equal(read_image(tmp_path, volume_number=3).array, array[12:18])


def test_volumes_that_nothing_tells_apart_are_numbered_in_order(tmp_path: Path) -> None:
    volumes = twice(tmp_path / "a", {}, {})
    refused(tmp_path / "a", "2 volumes", "from '001.dcm' on", "from '007.dcm' on", "order of the slices")
    np.testing.assert_array_equal(read_image(tmp_path / "a", volume_number=2).array, volumes[0])


@pytest.mark.parametrize("count", [1, 6])
def test_copies_are_named_and_the_first_is_used(tmp_path: Path, count: int) -> None:
    write_slices(tmp_path / "a", pattern())
    for n in range(count):
        shutil.copy(tmp_path / "a" / f"00{n + 1}.dcm", tmp_path / "a" / f"copy{n}.dcm")
    with pytest.warns(InputNote, match="with the same pixels.*'copy0.dcm'"):
        np.testing.assert_array_equal(read_image(tmp_path / "a").array, pattern())


def test_slices_sent_again_are_named_and_the_first_is_used(tmp_path: Path) -> None:
    write_slices(tmp_path / "a", pattern())
    write_slices(tmp_path / "a", pattern()[2:3], POSITIONS[2:3], first=9, AcquisitionTime="130000")
    with pytest.warns(InputNote, match="with the same pixels.*'009.dcm'"):
        read_image(tmp_path / "a")
    write_slices(tmp_path / "b", pattern())
    write_slices(tmp_path / "b", pattern()[3:4], POSITIONS[2:3], first=9)
    with pytest.warns(InputNote, match="with other pixels at the same place.*'009.dcm'"):
        np.testing.assert_array_equal(read_image(tmp_path / "b").array, pattern())


def test_a_number_of_the_only_volume(tmp_path: Path) -> None:
    write_slices(tmp_path / "a", pattern())
    assert read_image(tmp_path / "a", volume_number=1).array.shape == (6, 20, 24)
    with pytest.raises(InputError, match="no volume number 2; its series holds one volume alone"):
        read_image(tmp_path / "a", volume_number=2)


@pytest.mark.parametrize("apart", [4.0, 100.0])
def test_numbered_stacks_that_lie_apart_are_volumes_and_those_that_adjoin_are_one(tmp_path: Path, apart: float) -> None:
    places = [(x, y, z + (apart - 4.0) * (n >= 3)) for n, (x, y, z) in enumerate(POSITIONS)]
    stacks = [{"FrameContentSequence": {"StackID": str(1 + n // 3)}} for n in range(6)]
    path = save(tmp_path / "a.dcm", frames(pattern(), places, stacks))
    if apart == 4.0:
        np.testing.assert_array_equal(read_image(path).array, pattern())
        return
    refused(path, "2 volumes, one stack beyond another", "1: stack 1, 3 slices; 2: stack 2", "--volume-number")
    image = read_image(path, volume_number=2)
    np.testing.assert_array_equal(image.array, pattern()[3:])
    np.testing.assert_allclose(image.grid.origin, places[3])
