"""Files of a folder are told by their content; what is damaged or no picture of slices is named."""
from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_case import CINE, CT, POSITIONS, frames, image, pattern, save, write_slices
from image_file_case import refused

from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.io.readers import read_image

CLASSES = "1.2.840.10008.5.1.4.1.1."


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return write_slices(tmp_path / "series", pattern())


def read_quietly(path: Path, capfd: pytest.CaptureFixture[str]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array = read_image(path).array
    assert capfd.readouterr() == ("", "")
    return array


def test_names_do_not_matter_and_other_files_are_passed_over(series: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (series / "001.dcm").rename(series / "IM1")
    (series / "002.dcm").rename(series / "a.jpg")
    (series / "notes.txt").write_text("not DICOM " * 50)
    (series / "._003.dcm").write_bytes(b"resource fork")
    (series / "README").write_text("x")
    (series / "more").mkdir()
    save(series / "DICOMDIR", image(pattern(1)[0], "1.2.840.10008.1.3.10", PixelData=None))
    save(series / "sr.dcm", image(pattern(1)[0], f"{CLASSES}88.11", PixelData=None))
    save(series / "seg.dcm", image(pattern(1)[0], f"{CLASSES}66.4"))
    np.testing.assert_array_equal(read_quietly(series, capfd), pattern())


def test_files_without_preamble_are_read(series: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in series.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(path, implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_quietly(series, capfd), pattern())


@pytest.mark.parametrize("number", [1, 3, 6])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.4, 0.7, 0.98])
def test_a_file_that_is_cut_short_is_named(series: Path, number: int, share: float, capfd: pytest.CaptureFixture[str]
                                           ) -> None:
    path = series / f"00{number}.dcm"
    content = path.read_bytes()
    path.write_bytes(content[:int(share * len(content))])
    refused(series, f"'{path.name}' cannot be read", "Copy or export it again")
    assert capfd.readouterr() == ("", "")


def test_all_damaged_files_are_named_together(series: Path) -> None:
    for number in (1, 6):
        path = series / f"00{number}.dcm"
        path.write_bytes(path.read_bytes()[:-400])
    refused(series, "2 of its files are damaged or cut short: '001.dcm', '006.dcm'")


def test_what_only_its_name_calls_dicom_is_named(series: Path) -> None:
    (series / "002.dcm").write_text("version https://git-lfs.github.com/spec/v1\n" * 9)
    refused(series, "'002.dcm' cannot be read: it is no DICOM file")


def test_a_number_that_is_none_is_named(series: Path) -> None:
    path = series / "002.dcm"
    path.write_bytes(path.read_bytes().replace(b"-10.0\\20.0", b"-10.0\\2x.0"))
    refused(series, "'002.dcm' cannot be read: its field 'Image Position (Patient)' is no finite number")


@pytest.mark.parametrize(("fields", "words"), [
    ({"Rows": 60000, "Columns": 60000}, "7200000000 bytes of pixels, but there are 960"),
    ({"Rows": 0}, "24 x 0 pixels"), ({"BitsAllocated": 12}, "of 12 bits"), ({"BitsStored": 40}, "40 bits in 16"),
    ({"HighBit": 3}, "16 bits in 16"),
    ({"PixelData": pattern(2).tobytes()}, "states 1 frame, but there are pixels of 2"),
    ({"ImagePositionPatient": ["1", "2", "nan"]}, "'Image Position (Patient)' is no finite number"),
    ({"ImagePositionPatient": [1, 2]}, "position or orientation is incomplete"),
    ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "perpendicular directions"),
    ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, "perpendicular directions"),
    ({"PixelSpacing": [0, 1]}, "does not tell the size of its pixels"),
    ({"PhotometricInterpretation": "RGB"}, "in colour (RGB)"),
    ({"PhotometricInterpretation": "PALETTE COLOR"}, "in colour (PALETTE COLOR)"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "MOSAIC"]}, "mosaic"),
    ({"ImagePositionPatient": None}, "does not tell its position")])
def test_what_is_wrong_with_a_header_is_told_of_its_file(series: Path, fields: dict, words: str,
                                                         capfd: pytest.CaptureFixture[str]) -> None:
    own = {"ImagePositionPatient": list(POSITIONS[2]), **fields}
    with pydicom.config.disable_value_validation():
        save(series / "003.dcm", image(pattern()[2], number=3, **own))
    refused(series, "'003.dcm'", words)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("end", "words"), [
    ("66.4", ("DICOM Segmentation", "--labels")), ("481.3", ("RT Structure Set", "--labels")),
    ("88.11", ("Basic Text SR", "no slices")), ("104.1", ("Encapsulated PDF", "no slices")),
    ("11.1", ("Presentation State", "no slices")), ("9.1.1", ("ECG", "no slices")),
    ("481.5", ("RT Plan", "no slices")), ("77.1.6", ("Whole Slide", "tiles"))])
def test_what_is_no_picture_of_slices_is_refused_by_name(tmp_path: Path, end: str, words: tuple[str, ...]) -> None:
    path = save(tmp_path / "a" / "x.dcm", image(pattern(1)[0], CLASSES + end))
    refused(path, *words)
    refused(tmp_path / "a", "no DICOM slices but other DICOM objects", "'x.dcm'", *words)


def test_frames_over_time_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "us", image(pattern(), CINE, NumberOfFrames=6))
    refused(path, "Ultrasound Multi-frame Image of 6 frames over time", "no positions")


def test_tiles_are_refused(tmp_path: Path) -> None:
    refused(save(tmp_path / "a", frames(pattern(), POSITIONS, DimensionOrganizationType="TILED_FULL")), "tiles")


def test_a_slice_alone_is_refused(tmp_path: Path) -> None:
    write_slices(tmp_path / "a", pattern(1))
    refused(tmp_path / "a" / "001.dcm", "single DICOM slice", "folder")
    refused(tmp_path / "a", "single DICOM slice")


def test_bytes_changed_anywhere_raise_nothing_but_input_errors(tmp_path: Path, capfd: pytest.CaptureFixture[str]
                                                               ) -> None:
    path = save(tmp_path / "a.dcm", frames(pattern(), POSITIONS, class_uid=CT, Modality="CT"))
    content, generator = path.read_bytes(), np.random.default_rng(1)
    for _ in range(150):
        changed = bytearray(content)
        for place in generator.integers(132, len(content) - 5800, 4):
            changed[place] = generator.integers(256)
        path.write_bytes(changed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(InputError):
                read_image(path)
    assert capfd.readouterr() == ("", "")


def test_the_class_is_known_from_the_first_group_too(tmp_path: Path) -> None:
    write_slices(tmp_path, pattern(), SOPClassUID=None)
    assert read_image(tmp_path).array.shape == (6, 20, 24)
