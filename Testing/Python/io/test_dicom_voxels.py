"""Values are those that the headers mean, frame by frame, in a type that holds them."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_case import CT, DOSE, NUCLEAR, POSITIONS, SPACING, frames, group, image, pattern, save, write_slices
from image_file_case import refused
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, JPEG2000Lossless, RLELossless

from TriplaneGaussianReconLib.io.readers import read_image


def test_each_frame_has_its_own_scale(tmp_path: Path) -> None:
    slopes = [1.0, 0.5, 2.25, 1.0, 3.0, 1.0]
    array = pattern(dtype=np.uint16)
    own = [{"PixelValueTransformationSequence": {"RescaleSlope": slope, "RescaleIntercept": -3.0}} for slope in slopes]
    found = read_image(save(tmp_path / "a", frames(array[::-1], POSITIONS[::-1], own[::-1])))
    np.testing.assert_allclose(found.array, array * np.array(slopes)[:, None, None] - 3)


@pytest.mark.parametrize(("stored", "intercept", "expected"), [
    (np.uint8, 0, np.uint8), (np.uint8, -10, np.int16), (np.uint16, -1024, np.int16), (np.uint16, 65000, np.uint16),
    (np.int16, 40000, np.uint16), (np.uint16, 70000, np.int32), (np.uint32, 0, np.uint32), (np.int8, 0, np.int8)])
def test_whole_values_get_an_integer_type_that_holds_them(tmp_path: Path, stored: Any, intercept: float,
                                                          expected: type) -> None:
    array = pattern(dtype=stored)
    found = read_image(write_slices(tmp_path, array, RescaleSlope=1, RescaleIntercept=intercept))
    np.testing.assert_array_equal(found.array, array.astype(np.float64) + intercept)
    assert found.array.dtype == expected


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high", [11, 13, 15])
def test_bits_beside_the_value_are_dropped(tmp_path: Path, signed: bool, high: int) -> None:
    values = pattern() - 50 * signed
    words = ((values.astype(np.uint16) & 0xFFF) << (high - 11)).astype(np.uint16)
    if high < 15:
        words |= 0x8000  # an overlay
    write_slices(tmp_path, words, BitsStored=12, HighBit=high, PixelRepresentation=int(signed))
    np.testing.assert_array_equal(read_image(tmp_path).array, values)


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
def test_real_numbers(tmp_path: Path, keyword: str, dtype: type) -> None:
    array = pattern(dtype=dtype) / dtype(7)
    for n in range(6):
        save(tmp_path / f"{n}", image(array[n], number=n, ImagePositionPatient=list(POSITIONS[n]), PixelData=None,
                                      BitsStored=None, HighBit=None, **{keyword: array[n].tobytes()}))
    found = read_image(tmp_path)
    np.testing.assert_array_equal(found.array, array)
    assert found.array.dtype == dtype


def test_values_of_a_table(tmp_path: Path) -> None:
    table = group(ModalityLUTSequence={"LUTDescriptor": [100, 0, 16], "ModalityLUTType": "OD",
                                       "LUTData": (np.arange(100) ** 2).astype(np.uint16).tobytes()})
    table.ModalityLUTSequence[0]["LUTData"].VR = "OW"
    write_slices(tmp_path, pattern(dtype=np.uint16), ModalityLUTSequence=table.ModalityLUTSequence)
    np.testing.assert_array_equal(read_image(tmp_path).array, pattern(dtype=np.int64) ** 2)


@pytest.mark.parametrize(("value", "stated"), [(-2000, -2000), (-2000, 63536), (7, 7)])
def test_padding(tmp_path: Path, value: int, stated: int) -> None:
    array = pattern()
    array[1, :5] = value
    fields = {"RescaleSlope": 1, "RescaleIntercept": -1024, "PixelPaddingValue": np.int16(stated % 65536 - 65536).item()
              if stated > 32767 else stated}
    found = read_image(write_slices(tmp_path, array, class_uid=CT, **fields))
    np.testing.assert_array_equal(found.array, array - 1024)
    assert found.padding == value - 1024


def test_padding_that_does_not_occur_is_none(tmp_path: Path) -> None:
    assert read_image(write_slices(tmp_path, pattern(), PixelPaddingValue=-2000)).padding is None


def test_padding_is_one_value_where_slopes_or_values_differ(tmp_path: Path) -> None:
    array = pattern()
    array[1, :5], array[4, 2:7], array[4, 9] = -1000, -1000, -990
    write_slices(tmp_path, array, each=[{"RescaleSlope": 1 + n} for n in range(6)], PixelPaddingValue=-1000,
                 PixelPaddingRangeLimit=-980, RescaleIntercept=0)
    found = read_image(tmp_path)
    padded = array < -900
    assert (found.array[padded] == found.padding).all() and (found.array[~padded] != found.padding).all()
    np.testing.assert_array_equal(found.array[~padded], (array * np.arange(1, 7)[:, None, None])[~padded])


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("multiple", [False, True])
def test_transfer_syntaxes(tmp_path: Path, syntax: pydicom.uid.UID, multiple: bool) -> None:
    array = pattern(dtype=np.uint16)
    datasets = [frames(array, POSITIONS)] if multiple else [
        image(array[n], number=n + 1, ImagePositionPatient=list(POSITIONS[n])) for n in range(6)]
    for n, dataset in enumerate(datasets):
        path = tmp_path / f"{n}"
        if syntax == RLELossless:
            dataset.compress(syntax)
        elif syntax == JPEG2000Lossless:
            save(path, dataset)
            compress(path)
            continue
        elif syntax == ExplicitVRBigEndian:
            dataset.PixelData = array[slice(None) if multiple else n].astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset["PixelData"].VR = "OW"
            pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
        else:
            save(path, dataset)
    np.testing.assert_array_equal(read_image(path if multiple else tmp_path).array, array)


def compress(path: Path, syntax: str = "JPEG2000Lossless") -> None:
    """Have GDCM compress a file."""
    import gdcm

    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()


def test_damaged_compressed_pixels_are_told_of_their_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_slices(tmp_path, pattern(dtype=np.uint16))
    compress(tmp_path / "003.dcm")
    content = (tmp_path / "003.dcm").read_bytes()
    (tmp_path / "003.dcm").write_bytes(content.replace(b"\xff\x4f\xff\x51", bytes(4)))  # where the picture begins
    refused(tmp_path, "'003.dcm' cannot be read")
    assert capfd.readouterr() == ("", "")


def test_a_small_file_cannot_state_huge_pixels(tmp_path: Path) -> None:
    dataset = image(pattern(1, np.uint16)[0])
    dataset.compress(RLELossless)
    dataset.Rows = dataset.Columns = 65000
    refused(save(tmp_path / "a", dataset), "8.45 GB of pixels, which a file of its size cannot hold")


def test_a_deflated_file_unfolds_to_so_much_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("TriplaneGaussianReconLib.io.dicom_header._LARGEST_INFLATED", 2 ** 16)
    path = save(tmp_path / "a", image(pattern(1)[0]))
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.PixelData = bytes(2 ** 20)
    save(path, dataset)
    refused(path, "deflated, more than a slice can have")
    path.write_bytes(path.read_bytes()[:-40])
    refused(path, "deflated")


def test_an_unknown_encoding_is_named(tmp_path: Path) -> None:
    dataset = frames(pattern(), POSITIONS)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID("1.2.840.10008.1.2.4.100")
    dataset.PixelData = pydicom.encaps.encapsulate([b"video"] * 6)
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    refused(save(tmp_path / "a", dataset), "encoded as 'MPEG2", "uncompressed")


@pytest.mark.parametrize(("offsets", "depths"), [
    ((0, 4, 8, 12, 16, 20), ()), ((33, 37, 41, 45, 49, 53), ()), ((0, -4, -8, -12, -16, -20), ()),
    ((0, 4, 8, 13, 16, 20), (0, 4, 8, 13, 16, 20))])
def test_a_dose_is_scaled_and_its_planes_lie_at_their_offsets(tmp_path: Path, offsets: tuple[float, ...],
                                                              depths: tuple[float, ...]) -> None:
    array = pattern(dtype=np.uint32)
    path = save(tmp_path / "a", image(array, DOSE, NumberOfFrames=6, GridFrameOffsetVector=list(offsets),
                                      DoseGridScaling=0.001, ImagePositionPatient=list(POSITIONS[0])))
    if depths:
        with pytest.warns(UserWarning, match="unevenly"):
            found = read_image(path)
    else:
        found = read_image(path)
    is_reversed = offsets[1] < 0
    np.testing.assert_allclose(found.array, (array[::-1] if is_reversed else array) * 0.001, rtol=1e-6)
    assert found.grid.origin[2] == (13 if is_reversed else 33) and found.grid.depths == depths


@pytest.mark.parametrize(("fields", "words"), [
    ({"GridFrameOffsetVector": [0, 4]}, "6 dose planes but places for 2"),
    ({"GridFrameOffsetVector": [5, 9, 13, 17, 21, 25]}, "begin neither at 0"),
    ({"DoseGridScaling": None}, "does not tell the unit of its doses")])
def test_a_dose_without_its_places_or_unit_is_refused(tmp_path: Path, fields: dict, words: str) -> None:
    own = {"GridFrameOffsetVector": [0, 4, 8, 12, 16, 20], "DoseGridScaling": 1, **fields}
    refused(save(tmp_path / "a", image(pattern(dtype=np.uint16), DOSE, NumberOfFrames=6,
                                       ImagePositionPatient=list(POSITIONS[0]), **own)), words)


def nuclear(kind: str = "RECON TOMO", count: int = 6, **fields: Any) -> pydicom.Dataset:
    place = group(DetectorInformationSequence={"ImagePositionPatient": list(POSITIONS[0]),
                                               "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]})
    return image(pattern(count, np.uint16), NUCLEAR, NumberOfFrames=count, ImageType=["ORIGINAL", "PRIMARY", kind],
                 DetectorInformationSequence=place.DetectorInformationSequence, ImageOrientationPatient=None,
                 SpacingBetweenSlices=4, **fields)


def test_nuclear_slices_follow_each_other(tmp_path: Path) -> None:
    found = read_image(save(tmp_path / "a", nuclear()))
    np.testing.assert_array_equal(found.array, pattern(dtype=np.uint16))
    assert found.grid.spacing == (SPACING[1], SPACING[0], 4) and found.grid.origin == POSITIONS[0]
    gated = save(tmp_path / "b", nuclear("RECON GATED TOMO", 12, SliceVector=[*range(1, 7)] * 2,
                                         TimeSlotVector=[1] * 6 + [2] * 6))
    refused(gated, "1: time slot 1, 6 slices; 2: time slot 2, 6 slices")
    np.testing.assert_array_equal(read_image(gated, volume_number=2).array, pattern(12, np.uint16)[6:])


def test_nuclear_projections_are_refused(tmp_path: Path) -> None:
    refused(save(tmp_path / "a", nuclear("TOMO")), "projections")
    refused(save(tmp_path / "b", nuclear(SliceVector=[1, 2])), "does not describe each of its 6 frames")


def test_frames_that_are_described_otherwise_than_stated_are_refused(tmp_path: Path) -> None:
    dataset = frames(pattern(), POSITIONS)
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:5]
    refused(save(tmp_path / "a", dataset), "states 6 frames but describes 5")


@pytest.mark.parametrize("syntax", ["JPEGLSLossless", "JPEGLosslessProcess14_1"])
@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_jpeg_that_is_cut_short_is_named_and_does_not_hang(tmp_path: Path, syntax: str, cut: float,
                                                           capfd: pytest.CaptureFixture[str]) -> None:
    write_slices(tmp_path, pattern(dtype=np.uint16))
    compress(tmp_path / "003.dcm", syntax)
    np.testing.assert_array_equal(read_image(tmp_path).array, pattern())
    dataset = pydicom.dcmread(tmp_path / "003.dcm")
    picture = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([picture[:2 * int(cut * len(picture) / 2)]])
    save(tmp_path / "003.dcm", dataset)
    refused(tmp_path, "'003.dcm' cannot be read: frame 0 of its compressed pixels is cut short")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("fields", "unit"), [
    ({"Modality": "CT", "RescaleType": "HU", "RescaleIntercept": 0.0}, "HU"),
    ({"Modality": "CT", "RescaleIntercept": -1024.0}, "HU"), ({"Modality": "CT", "RescaleIntercept": 0.0}, ""),
    ({"Modality": "CT", "RescaleType": "US", "RescaleIntercept": -1024.0}, ""),
    ({"Modality": "MR", "RescaleType": "HU", "RescaleIntercept": -1024.0}, "")])
def test_hounsfield_units_are_known_where_the_header_says_so(tmp_path: Path, fields: dict[str, Any], unit: str) -> None:
    assert read_image(write_slices(tmp_path, pattern(), RescaleSlope=1.0, **fields)).unit == unit
