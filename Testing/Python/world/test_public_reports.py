"""Inputs of public bug reports, one of each kind: values, positions and names come out right, or the message names what
is wrong.  `docs/reference/files.md` lists what is read.
"""
from __future__ import annotations

import bz2
import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_case import DOSE, POSITIONS, frames, image, save, write_slices
from dicom_objects_case import item, write_rtstruct, write_seg
from scipy import ndimage

from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.errors import InputError, InputNote
from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation
from TriplaneGaussianReconLib.io.writers import write_image, write_segmentation

SHAPE = (8, 24, 24)
GRID = Grid(SHAPE, (-10.0, 20.0, 33.0), (1.0, 1.0, 4.0))
PLACES = [(-10.0, 20.0, 33.0 + 4.0 * k) for k in range(8)]
DICOM_GRID = Grid(SHAPE, PLACES[0], (0.5, 2.0, 4.0))  # where `dicom_case` puts slices at these places
assert PLACES[:len(POSITIONS)] == POSITIONS
INTERNALS = ("itk", "sitk", "gdcm", "pydicom", "nrrdio", "teem", "traceback", ".cxx", "0x")


def phantom(shape: tuple[int, int, int]) -> np.ndarray:
    """A tilted column of 800 to 1000 in 0 to 24, [k, j, i]."""
    k, j, i = np.indices(shape)
    column = np.hypot(i - 9.0 - 0.7 * k, j - 12.0) < 6.0
    return np.where(column, 800 + 8 * i, k + j % 7 + i % 11).astype(np.int16)


PHANTOM = phantom(SHAPE)


def is_right(path: Path, array: np.ndarray = PHANTOM, grid: Grid = GRID) -> None:
    """Check that exactly these voxels are read at exactly this place."""
    found = read_image(path)
    np.testing.assert_allclose(found.array, array, rtol=1e-6, atol=0.0)
    np.testing.assert_allclose(found.grid.ijk_to_lps, grid.ijk_to_lps, atol=1e-4)


def is_refused(path: Path, *words: str) -> None:
    """Check that the message names file and cause, in words of the user."""
    with pytest.raises(InputError) as caught:
        read_image(path)
    text = str(caught.value).replace(str(path), "FILE").lower()
    assert all(word.lower() in text for word in words), text
    assert not any(word in text for word in INTERNALS), text


def nifti(path: Path, array: np.ndarray, affine: np.ndarray,
          header: Callable[[nibabel.Nifti1Header], None] | None = None, kind: type = nibabel.Nifti1Image
          ) -> Path:
    """Write [k, j, i] voxels; `header` changes the header afterwards."""
    written = kind(array.T, affine)
    if header is not None:
        header(written.header)
    written.to_filename(path)
    return path


RAS = GRID.affine


# What the file says is what is read


def test_each_slice_of_a_pet_series_is_scaled_by_its_own_slope(tmp_path: Path) -> None:
    slopes = [1.0, *(1.0 + 0.37 * k for k in range(1, 8))]
    folder = write_slices(tmp_path / "pet", PHANTOM, PLACES, [{"RescaleSlope": slope, "RescaleIntercept": 0}
                                                              for slope in slopes])
    is_right(folder, PHANTOM * np.reshape(slopes, (8, 1, 1)), DICOM_GRID)


def test_an_intercept_that_begins_with_the_second_slice_keeps_negative_values(tmp_path: Path) -> None:
    intercepts = [0, *[-1024] * 7]
    folder = write_slices(tmp_path / "ct", PHANTOM.astype(np.uint16), PLACES, [
        {"RescaleSlope": 1, "RescaleIntercept": intercept} for intercept in intercepts])
    is_right(folder, PHANTOM + np.reshape(intercepts, (8, 1, 1)), DICOM_GRID)


def test_monochrome1_keeps_its_values(tmp_path: Path) -> None:
    folder = write_slices(tmp_path / "x", PHANTOM, PLACES, PhotometricInterpretation="MONOCHROME1")
    is_right(folder, PHANTOM, DICOM_GRID)


def test_frames_of_one_file_are_sorted_by_their_positions(tmp_path: Path) -> None:
    order = [5, 0, 7, 2, 1, 6, 3, 4]
    path = save(tmp_path / "mf.dcm", frames(PHANTOM[order], [PLACES[k] for k in order]))
    is_right(path, PHANTOM, DICOM_GRID)


def test_a_gap_among_the_frames_of_one_file_is_where_it_is(tmp_path: Path) -> None:
    there = [0, 1, 2, 4, 5, 6, 7]
    path = save(tmp_path / "mf.dcm", frames(PHANTOM[there], [PLACES[k] for k in there]))
    with pytest.warns(InputNote, match="missing"):
        found = read_image(path)
    np.testing.assert_array_equal(found.array, PHANTOM[there])
    np.testing.assert_allclose(found.grid.index_to_physical([[0, 0, n] for n in range(7)]), [PLACES[k] for k in there])


def test_time_points_of_one_file_are_listed_and_chosen(tmp_path: Path) -> None:
    times = [{"FrameContentSequence": {"TemporalPositionIndex": time}} for time in [1] * 8 + [2] * 8]
    path = save(tmp_path / "mf.dcm", frames(np.concatenate([PHANTOM, PHANTOM + 100]), PLACES * 2, times))
    is_refused(path, "2 volumes", "--volume-number")
    for number in (1, 2):
        np.testing.assert_array_equal(read_image(path, volume_number=number).array, PHANTOM + 100 * (number - 1))


def test_a_dose_is_scaled_and_lies_where_its_offsets_say(tmp_path: Path) -> None:
    dose = image(PHANTOM.astype(np.uint16), DOSE, NumberOfFrames=8, ImagePositionPatient=list(PLACES[0]),
                 GridFrameOffsetVector=[4.0 * k for k in range(8)], DoseGridScaling=0.001, DoseUnits="GY")
    is_right(save(tmp_path / "dose.dcm", dose), PHANTOM * 0.001, DICOM_GRID)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_nifti_is_read_whether_its_name_tells_of_gzip_or_not(tmp_path: Path, name: str) -> None:
    other = {"v.nii": "v.nii.gz", "v.nii.gz": "v.nii"}[name]
    nifti(tmp_path / other, PHANTOM, RAS).rename(tmp_path / name)
    is_right(tmp_path / name)


def test_nifti2_is_read(tmp_path: Path) -> None:
    is_right(nifti(tmp_path / "v.nii.gz", PHANTOM, RAS, kind=nibabel.Nifti2Image))


def test_the_sform_is_preferred_to_a_qform_elsewhere(tmp_path: Path) -> None:
    def elsewhere(header: nibabel.Nifti1Header) -> None:
        header.set_qform(RAS + [[0, 0, 0, 37], [0] * 4, [0] * 4, [0] * 4], code=1)

    with pytest.warns(InputNote, match="two places"):
        is_right(nifti(tmp_path / "v.nii.gz", PHANTOM, RAS, elsewhere))


def test_axes_at_right_angles_but_for_rounding_are_read(tmp_path: Path) -> None:
    affine = RAS.copy()
    affine[0, 2] += 0.003 / 8
    found = read_image(nifti(tmp_path / "v.nii.gz", PHANTOM, affine, lambda header: header.set_qform(None, code=0)))
    np.testing.assert_allclose(found.grid.affine, RAS, atol=0.001)


def test_a_slope_of_zero_leaves_values_as_stored(tmp_path: Path) -> None:
    path = nifti(tmp_path / "v.nii", PHANTOM, RAS)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", 0.0, 5.0)
    path.write_bytes(content)
    is_right(path)


def test_the_last_slice_is_not_lost_by_rounding(tmp_path: Path) -> None:
    path = nifti(tmp_path / "v.nii.gz", phantom((20, 10, 10)), np.diag([0.6, 0.6, 6.0, 1.0]))
    grid = read_image(path).grid
    assert grid.resampled("k", grid.spacing[0]).count("k") == 191


def test_a_large_offset_leaves_the_contrast(tmp_path: Path) -> None:
    path = nifti(tmp_path / "v.nii.gz", PHANTOM / 1000.0 + 1e6, RAS)
    assert main(["reconstruct", str(path), "--slices", "0-7", "--output-spacing", "input", "--device", "cpu",
                 "--output", str(tmp_path / "o.nrrd")]) == 0
    error = read_image(tmp_path / "o.nrrd").array - (PHANTOM / 1000.0 + 1e6)
    assert np.abs(error).mean() < 0.01


def test_values_beyond_single_precision_are_read_or_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = nifti(tmp_path / "v.nii.gz", PHANTOM * 1e300, RAS)
    code = main(["reconstruct", str(path), "--device", "cpu", "--output", str(tmp_path / "o.nrrd")])
    said = capfd.readouterr().err
    assert code in (0, 2) and "holds NaN" not in said and "overflow" not in said
    assert code == 0 or "precision" in said


def test_bzip2_is_read(tmp_path: Path) -> None:
    write_image(tmp_path / "v.nrrd", Image(PHANTOM, GRID))
    start = (tmp_path / "v.nrrd").read_bytes().partition(b"\n\n")[0].replace(b"encoding: gzip", b"encoding: bzip2")
    (tmp_path / "v.nrrd").write_bytes(start + b"\n\n" + bz2.compress(PHANTOM.astype("<i2").tobytes()))
    is_right(tmp_path / "v.nrrd")


# What cannot be read is named


@pytest.mark.parametrize("number", [0, 4, 7])
def test_a_slice_that_is_cut_short_is_named(tmp_path: Path, number: int) -> None:
    folder = write_slices(tmp_path / "series", PHANTOM, PLACES)
    path = folder / f"{number + 1:03}.dcm"
    path.write_bytes(path.read_bytes()[:700])
    is_refused(folder, path.name)


def test_the_slices_of_another_pixel_spacing_are_named(tmp_path: Path) -> None:
    each = [{"PixelSpacing": [2, 2]} if k in (1, 6) else {} for k in range(8)]
    is_refused(write_slices(tmp_path / "s", PHANTOM, PLACES, each), "spacing", "'002.dcm'", "'007.dcm'")


def test_a_scout_in_the_series_is_named(tmp_path: Path) -> None:
    folder = write_slices(tmp_path / "series", PHANTOM, PLACES)
    write_slices(folder, PHANTOM[:1, :10, :12], PLACES, first=99, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    is_refused(folder, "'099.dcm'")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "v.nii.gz").touch()
    is_refused(tmp_path / "v.nii.gz", "empty")


def test_a_header_without_its_img_is_told_so(tmp_path: Path) -> None:
    nibabel.Nifti1Pair(PHANTOM.T, RAS).to_filename(tmp_path / "v.hdr")
    (tmp_path / "v.img").unlink()
    is_refused(tmp_path / "v.hdr", "v.img")


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.mhd"])
def test_a_file_that_ends_early_is_told_so(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    sitk.WriteImage(Image(PHANTOM, GRID).to_sitk(), str(path), useCompression=False)
    data = path.with_suffix(".raw") if name == "v.mhd" else path
    data.write_bytes(data.read_bytes()[:-500])
    is_refused(path, "ends early")
    assert not capfd.readouterr().err


def test_a_header_over_a_nifti_is_told_that_the_data_is_longer(tmp_path: Path) -> None:
    nifti(tmp_path / "v.nii.gz", PHANTOM, RAS)
    (tmp_path / "v.nhdr").write_text(
        "NRRD0004\ntype: int16\ndimension: 3\nsizes: 24 24 8\nspace: left-posterior-superior\nendian: little\n"
        "space directions: (1,0,0) (0,1,0) (0,0,4)\nspace origin: (0,0,0)\nencoding: gzip\ndata file: v.nii.gz\n")
    is_refused(tmp_path / "v.nhdr", "longer")


@pytest.mark.parametrize("shape", [(1, 24, 24), (24, 24)], ids=["one slice", "two dimensions"])
def test_a_single_slice_is_told_that_two_are_needed(tmp_path: Path, shape: tuple[int, ...],
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    path = nifti(tmp_path / "v.nii.gz", np.zeros(shape, np.int16) + np.arange(24, dtype=np.int16), RAS)
    assert main(["reconstruct", str(path), "--device", "cpu", "--output", str(tmp_path / "o.nrrd")]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("warning", "error"))]
    assert len(said) == 1 and "one slice" in said[0] and "at least two" in said[0].lower()


def test_a_sheared_sform_is_refused_and_not_read_with_the_qform(tmp_path: Path) -> None:
    sheared = RAS.copy()
    sheared[1, 2] += 1.2
    path = nifti(tmp_path / "v.nii.gz", PHANTOM, sheared, lambda header: header.set_qform(RAS, code=1))
    is_refused(path, "shear")


def test_a_spacing_of_zero_is_refused_and_not_replaced(tmp_path: Path) -> None:
    path = nifti(tmp_path / "v.nii", PHANTOM, RAS)
    content = bytearray(path.read_bytes())
    content[88:92], content[252:256] = struct.pack("<f", 0.0), struct.pack("<hh", 0, 0)
    path.write_bytes(gzip.compress(content))
    is_refused(path, "spacing")


@pytest.mark.parametrize("value", [3e9, 2 ** 40])
def test_a_label_beyond_32_bits_is_kept_or_refused_before_the_work(tmp_path: Path, value: float,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    write_image(tmp_path / "v.nrrd", Image(PHANTOM, GRID))
    labels = np.where(PHANTOM > 500, value, 0).astype(np.float64 if value < 2 ** 32 else np.int64)
    write_image(tmp_path / "s.npz", Image(labels, GRID))
    code = main(["reconstruct", str(tmp_path / "v.nrrd"), "--labels", str(tmp_path / "s.npz"), "--device", "cpu",
                 "--output", str(tmp_path / "o.nrrd"), "--output-labels", str(tmp_path / "l.nrrd")])
    if code == 0:
        assert set(np.unique(read_segmentation(tmp_path / "l.nrrd").layers).tolist()) == {0, int(value)}
        return
    assert code == 2 and "32 bits" in capsys.readouterr().err and not (tmp_path / "o.nrrd").exists()


# Labels


def filled(folder: Path, labels: Path) -> Segmentation:
    """What the program makes of labels of the phantom, at 1 mm."""
    write_image(folder / "v.nrrd", Image(PHANTOM, GRID))
    assert main(["reconstruct", str(folder / "v.nrrd"), "--labels", str(labels), "--device", "cpu",
                 "--output", str(folder / "o.nrrd"), "--output-labels", str(folder / "o.seg.nrrd")]) == 0
    return read_segmentation(folder / "o.seg.nrrd")


def drawn(path: Path, labels: np.ndarray) -> Path:
    write_segmentation(path, Segmentation.from_labelmap(labels.astype(np.uint8), GRID))
    return path


@pytest.mark.parametrize("width", [1, 2])
def test_a_thin_line_that_moves_stays_unbroken_in_every_gap(tmp_path: Path, width: int) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    for k in range(8):
        labels[k, 4:20, 5 + k:5 + k + width] = 1
    dense = filled(tmp_path, drawn(tmp_path / "s.nrrd", labels)).layers[0] > 0
    assert ndimage.label(dense, np.ones((3, 3, 3)))[1] == 1
    areas = dense.sum(axis=(1, 2))
    assert areas.min() >= 0.75 * 16 * width and areas.max() <= 1.5 * 16 * width


def test_a_lesion_on_one_thick_slice_keeps_about_its_volume(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[4] = np.hypot(*(np.indices((24, 24)) - 11.5)) < 7.9
    dense = filled(tmp_path, drawn(tmp_path / "s.nrrd", labels)).layers[0] > 0
    assert abs(int(dense.sum()) / (4.0 * int(labels.sum())) - 1.0) < 0.15  # cubic millimetres, 1 mm voxels


def test_segments_of_a_dicom_seg_keep_names_and_slices(tmp_path: Path) -> None:
    low, high = np.zeros((24, 24), bool), np.zeros((24, 24), bool)
    low[4:10, 4:10], high[12:20, 12:20] = True, True
    drawn_on = [(k, 1, low) for k in (1, 2, 3)] + [(k, 2, high) for k in (4, 5)]
    path = write_seg(tmp_path / "seg.dcm", GRID, drawn_on, [item(SegmentNumber=1, SegmentLabel="liver"),
                                                            item(SegmentNumber=2, SegmentLabel="tumour")])
    found = filled(tmp_path, path)
    assert [segment.name for segment in found.segments] == ["liver", "tumour"]
    masks = dict(found.masks())
    for number, mask, slices in ((0, low, (1, 2, 3)), (1, high, (4, 5))):
        for k in slices:
            np.testing.assert_array_equal(masks[number][4 * k], mask)
        assert not masks[number][[4 * k for k in range(8) if k not in slices]].any()


def test_structures_are_drawn_on_their_own_planes(tmp_path: Path) -> None:
    square = np.array([[4.6, 6.6], [14.4, 6.6], [14.4, 12.4], [4.6, 12.4]])
    contours = [GRID.index_to_physical(np.column_stack([square, np.full(4, k)])) for k in (2, 3, 4)]
    path = write_rtstruct(tmp_path / "rs.dcm", {"heart": contours}, color=(255, 0, 40))
    found = filled(tmp_path, path)
    assert found.segments[0].name == "heart" and found.segments[0].color == pytest.approx((1, 0, 40 / 255), abs=0.01)
    wanted = np.zeros((24, 24), bool)
    wanted[7:13, 5:15] = True
    mask = next(found.masks())[1]
    for k in range(8):
        np.testing.assert_array_equal(mask[4 * k], wanted if k in (2, 3, 4) else False)


def test_a_fractional_labelmap_is_a_segment_where_it_is_at_least_a_half(tmp_path: Path) -> None:
    fraction = np.clip(255 - 20 * np.hypot(*(np.indices(SHAPE)[1:] - 11.5)), 0, 255).round().astype(np.uint8)
    fraction[:, 0, 0] = 1
    stored = Image(fraction, GRID).to_sitk()
    for key, value in {
        "Segment0_ID": "Segment_1", "Segment0_Name": "fat", "Segment0_LabelValue": "1", "Segment0_Layer": "0",
        "Segment0_Extent": "0 23 0 23 0 7", "Segmentation_MasterRepresentation": "Fractional labelmap",
        "Segmentation_ContainedRepresentationNames": "Fractional labelmap|",
    }.items():
        stored.SetMetaData(key, value)
    sitk.WriteImage(stored, str(tmp_path / "s.seg.nrrd"))
    found = read_segmentation(tmp_path / "s.seg.nrrd")
    np.testing.assert_array_equal(next(found.masks())[1], fraction >= 127.5)
    assert found.segments[0].name == "fat"

