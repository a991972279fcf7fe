"""Results as DICOM: a folder of derived slices, and segmentations."""
from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_modules import lacking
from dicom_objects_case import CT, MR, PET, write_series
from image_file_case import assert_same_place, make_grid, voxels

from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.data.alignment import aligned_to
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.errors import InputError, OutputError
from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation
from TriplaneGaussianReconLib.io.terminology import Code, Terminology, tags_of, terminology_in
from TriplaneGaussianReconLib.io.writers import (
    check_segmentation_writable,
    check_writable,
    write_image,
    write_segmentation,
)

CAPTURE, ULTRASOUND = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.6.1"


def slices(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(file) for file in sorted(folder.iterdir())]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_series(tmp_path / "source", voxels(), make_grid())


@pytest.mark.parametrize("direction", ["identity", "flipped", "left-handed", "sagittal", "oblique"])
def test_a_volume_comes_back_voxel_by_voxel(tmp_path: Path, source: Path, direction: str) -> None:
    grid = make_grid(direction, (11, 5, 6))
    array = voxels(shape=grid.shape) - 50
    write_image(f"{tmp_path}/out/", Image(array, grid), like=source)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "out", source]
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "out")))
    by_itk = Image.from_sitk(reader.Execute())
    if direction == "left-handed":
        array = array[::-1]
        grid = Grid(grid.shape, tuple(grid.index_to_physical([0, 0, 10])), grid.spacing)
    for back in by_itk, read_image(tmp_path / "out"):
        np.testing.assert_array_equal(back.array, array)
        assert_same_place(back.grid, grid)


def test_whole_numbers_of_pet_below_zero_are_spread_over_16_bits(tmp_path: Path) -> None:
    source = write_series(tmp_path / "pet", voxels(), make_grid(), sop_class=PET)
    array = voxels() - 50
    write_image(tmp_path / "out", Image(array, make_grid()), like=source)
    np.testing.assert_allclose(read_image(tmp_path / "out").array, array, atol=50 / 32767)


def test_a_remark_is_in_the_derivation_and_names_the_series(tmp_path: Path, source: Path) -> None:
    write_image(tmp_path / "out", Image(voxels(), make_grid()), like=source, remark="even texture: not for measuring")
    for one in slices(tmp_path / "out"):
        assert "source; even texture: not for measuring, by" in one.DerivationDescription
        assert one.SeriesDescription == "Thorax: even texture (TriplaneGaussianRecon)"
        assert one.SOPClassUID == slices(source)[0].SOPClassUID


def test_patient_and_study_are_kept_and_the_derivation_is_told(tmp_path: Path, source: Path) -> None:
    write_image(tmp_path / "out", Image(voxels(), make_grid().resampled("k", 3.3)), like=source)
    written, given = slices(tmp_path / "out"), slices(source)
    for one in written:
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID",
                        "Manufacturer", "SOPClassUID", "Modality"):
            assert one[keyword].value == given[0][keyword].value
        assert one.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert "Research software, not a medical device." in one.DerivationDescription
        assert one.SeriesDescription == "Thorax (TriplaneGaussianRecon)"
        assert one.ContributingEquipmentSequence[-1].Manufacturer == "TriplaneGaussianRecon"
        assert {reference.ReferencedSOPInstanceUID for reference in one.SourceImageSequence} <= {
            image.SOPInstanceUID for image in given}
    assert len({one.SOPInstanceUID for one in written} | {one.SOPInstanceUID for one in given}) == 8
    assert len({one.SeriesInstanceUID for one in written}) == 1 and written[0].SeriesInstanceUID != "1.2.3.4"
    assert [one.InstanceNumber for one in written] == [1, 2, 3, 4]


def test_slices_name_those_that_they_lie_between(tmp_path: Path, source: Path) -> None:
    grid = make_grid().resampled("k", 1.1)
    write_image(tmp_path / "out", Image(voxels(shape=grid.shape), grid), like=source)
    numbers = {one.SOPInstanceUID: one.InstanceNumber for one in slices(source)}
    named = [sorted(numbers[reference.ReferencedSOPInstanceUID] for reference in one.SourceImageSequence)
             for one in slices(tmp_path / "out")]
    assert named == [[1], [1, 2], [1, 2], [2], [2, 3], [2, 3], [3], [3, 4], [3, 4], [4]]


@pytest.mark.parametrize(("given", "written"), [
    (CT, CT), (f"{CT}.1", CT), (MR, MR), (f"{MR}.1", MR), (PET, PET), ("1.2.840.10008.5.1.4.1.1.130", PET),
    (ULTRASOUND, CAPTURE)])
@pytest.mark.parametrize("content", ["", "expected error"])
def test_all_that_the_standard_demands_is_there(tmp_path: Path, given: str, written: str, content: str) -> None:
    source = write_series(tmp_path / "source", voxels(), make_grid(), given, Modality="XX")
    for array in (voxels(), voxels(np.float32) / 3):
        folder = tmp_path / str(array.dtype)
        write_image(folder, Image(array, make_grid()), like=source, content=content)
        one = slices(folder)[1]
        assert one.SOPClassUID == (CAPTURE if content else written)
        assert lacking(one) == []
        assert content in one.SeriesDescription and len(one.SeriesDescription) <= 64


@pytest.mark.parametrize(("low", "high"), [(-1024, 3071), (0, 65535), (-32768, 32767)])
def test_whole_numbers_of_16_bits_are_exact(tmp_path: Path, source: Path, low: int, high: int) -> None:
    array = np.linspace(low, high, 120).round().reshape(4, 5, 6)
    write_image(tmp_path / "out", Image(array, make_grid()), like=source)
    np.testing.assert_array_equal(read_image(tmp_path / "out").array, array)
    assert slices(tmp_path / "out")[0].RescaleSlope == 1


@pytest.mark.parametrize("scale", [1e-6, 0.37, 1e7])
@pytest.mark.parametrize("sop_class", [CT, PET])
@pytest.mark.parametrize("lowest", [0.0, -0.5])
def test_other_numbers_are_rounded_to_16_bits_of_their_range(tmp_path: Path, scale: float, sop_class: str,
                                                             lowest: float) -> None:
    source = write_series(tmp_path / "source", voxels(), make_grid(), sop_class)
    array = (np.random.default_rng(0).uniform(lowest, 1, (4, 5, 6)) * scale).astype(np.float32)
    write_image(tmp_path / "out", Image(array, make_grid()), like=source)
    step = scale * (1 - lowest) / (2 ** 15 if sop_class == PET else 2 ** 16 - 1)
    for one in slices(tmp_path / "out"):
        back = one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
        np.testing.assert_allclose(back, array[one.InstanceNumber - 1], atol=0.51 * step)
        assert sop_class != PET or one.RescaleIntercept == 0


def test_voxels_without_data_are_marked(tmp_path: Path, source: Path) -> None:
    array = voxels(np.float32) / 3
    array[0, 0, 0] = np.nan
    write_image(tmp_path / "nan", Image(array, make_grid()), like=source)
    one = slices(tmp_path / "nan")[0]
    assert one.PixelPaddingValue == 0 and np.argwhere(one.pixel_array == 0).tolist() == [[0, 0]]
    write_image(tmp_path / "whole", Image(voxels() - 2000, make_grid(), padding=-2000.0), like=source)
    assert slices(tmp_path / "whole")[0].PixelPaddingValue == -2000


def test_what_cannot_be_dicom_is_found_early(tmp_path: Path, source: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for path, like, error, words in (
            ("full", source, OutputError, "is not empty"), ("file", source, OutputError, "is a file"),
            ("none/out", source, OutputError, "does not exist"), ("out", None, InputError, "from a DICOM volume"),
            ("out", tmp_path / "file", InputError, "from a DICOM volume"),
            ("out", tmp_path, InputError, "DICOM volume"), ("out.dcm", source, InputError, "folder of DICOM slices")):
        with pytest.raises(error, match=words):
            check_writable(tmp_path / path, like)
    with pytest.raises(InputError, match="from a DICOM volume"):
        check_segmentation_writable(tmp_path / "a.dcm")
    with pytest.raises(InputError, match="a segmentation is one file"):
        check_segmentation_writable(f"{tmp_path}/out/", source)
    with pytest.raises(InputError, match="no DICOM series matches"):
        write_image(tmp_path / "out", Image(voxels(), make_grid()), like=source, series="other")
    tilted = Grid((4, 5, 6), direction=((1, 0, 0), (0, 1, 0.6), (0, 0, 0.8)))
    for grid in (Grid((4, 5, 6), depths=(0, 1, 3, 4)), tilted):
        with pytest.raises(InputError, match="sheared or uneven"):
            write_image(tmp_path / "out", Image(voxels(), grid), like=source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full", "source"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, done = pydicom.Dataset.save_as, []

    def fail_at_the_third(dataset: pydicom.Dataset, *arguments: object, **named: object) -> None:
        done.append(dataset)
        if len(done) == 3:
            raise OSError(28, "No space left on device")
        whole(dataset, *arguments, **named)

    monkeypatch.setattr(pydicom.Dataset, "save_as", fail_at_the_third)
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="was not written: No space left"):
        write_image(tmp_path / "out", Image(voxels(), make_grid()), like=source)
    assert not list((tmp_path / "out").iterdir()) and len(list(tmp_path.iterdir())) == 2


KIDNEY = Terminology(Code("SCT", "123037004", "Anatomical Structure"), Code("SCT", "64033007", "Kidney"),
                     Code("SCT", "7771000", "Left"), Code("SCT", "818983003", "Abdomen"))


def overlapping() -> Segmentation:
    layers = np.zeros((2, 4, 5, 6), np.uint8)
    layers[0, 1:3, 1:4, 1:4], layers[0, 3, 0, 0], layers[1, 2:, 2:, 2:] = 1, 2, 3
    segments = (Segment("Niere é", 1, 0, "kidney", (1.0, 0.0, 0.0)), Segment("Cyst", 2, 0, "x", (0.2, 0.6, 0.4)),
                Segment("Tumour", 3, 1, "tumour"))
    return Segmentation(layers, segments, make_grid(), {"Segment0_ID": "kidney", "Segment0_Tags": tags_of(KIDNEY)})


@pytest.mark.parametrize("kind", [CT, f"{MR}.1", ULTRASOUND])
def test_a_segmentation_keeps_names_codes_colours_and_overlaps(tmp_path: Path, kind: str) -> None:
    source = write_series(tmp_path / "source", voxels(), make_grid(), kind)
    given = overlapping()
    write_segmentation(tmp_path / "a.dcm", given, like=source)
    dataset = highdicom.seg.segread(tmp_path / "a.dcm")
    assert lacking(dataset) == [] and dataset.PatientID == "p1" and dataset.FrameOfReferenceUID == "1.2.3.9"
    assert dataset.StudyInstanceUID == "1.2.3"
    images = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {image.ReferencedSOPClassUID for image in images} == {kind} and len(images) == 4
    back = read_segmentation(tmp_path / "a.dcm")
    on_grid = aligned_to(back, given.grid)
    for (_, mask), (_, expected) in zip(on_grid.masks(), given.masks(), strict=True):
        np.testing.assert_array_equal(mask, expected)
    assert [one.name for one in back.segments] == ["Niere é", "Cyst", "Tumour"]
    assert back.segments[1].color == pytest.approx((0.2, 0.6, 0.4), abs=0.01)
    assert terminology_in(back.metadata["Segment0_Tags"]) == KIDNEY
    generic = terminology_in(back.metadata["Segment1_Tags"])
    assert generic is not None and generic.kind.meaning == "Tissue"


def test_segments_that_dicom_must_number_anew_are_told(tmp_path: Path, source: Path) -> None:
    labels = np.zeros((4, 5, 6), np.uint16)
    labels[1], labels[2] = 300, 7
    with pytest.warns(UserWarning, match="1 = Label 7, 2 = Label 300"):
        write_segmentation(tmp_path / "a.dcm", Segmentation.from_labelmap(labels, make_grid()), like=source)
    assert [(one.name, one.value) for one in read_segmentation(tmp_path / "a.dcm").segments] == [
        ("Label 7", 1), ("Label 300", 2)]


def test_segmentations_that_dicom_cannot_hold_are_refused(tmp_path: Path, source: Path) -> None:
    one = Segment("a", 1)
    with pytest.raises(OutputError, match="has no voxel"):
        write_segmentation(tmp_path / "a.dcm", Segmentation(np.zeros((1, 4, 5, 6), np.uint8), (one,), make_grid()),
                           like=source)
    uneven = Grid((4, 5, 6), depths=(0, 1, 3, 4))
    with pytest.raises(InputError, match="sheared or uneven"):
        write_segmentation(tmp_path / "a.dcm", Segmentation(np.ones((1, 4, 5, 6), np.uint8), (one,), uneven),
                           like=source)


def test_the_program_reads_and_writes_dicom_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    grid = Grid((5, 24, 24), (-10, 20, 33), (1, 1, 4))
    k, j, i = np.indices(grid.shape)
    array = (300 + 200 * np.sin(0.4 * i + 0.5 * k) * np.cos(0.3 * j)).astype(np.int16)
    write_series(tmp_path / "ct", array, grid, WindowCenter=40, WindowWidth=400)
    labels = Segmentation((array[None] > 350).astype(np.uint8), (Segment("Hot", 1, color=(1.0, 0.0, 0.0)),), grid)
    write_segmentation("in.dcm", labels, like="ct")
    assert main(["reconstruct", "ct", "--labels", "in.dcm", "--output", "dense/", "--output-labels", "dense.dcm",
                 "--output-confidence", "error/", "--device", "cpu"]) == 0
    dense, error, seg = read_image("dense"), read_image("error"), read_segmentation("dense.dcm")
    assert dense.grid.shape == error.grid.shape == (17, 24, 24) and dense.array.dtype == np.int16
    assert error.array.min() >= 0 and [one.name for one in seg.segments] == ["Hot"]
    on_grid = aligned_to(seg, dense.grid).layers[0]
    assert (on_grid[::4] == labels.layers[0]).mean() > 0.95
    named = pydicom.dcmread("dense.dcm").ReferencedSeriesSequence[0].SeriesInstanceUID
    assert named == slices(Path("dense"))[0].SeriesInstanceUID
    assert main(["reconstruct", "ct", "--output", "dense/"]) == 4


def test_a_series_is_chosen_for_the_result_as_for_the_volume(tmp_path: Path) -> None:
    source = write_series(tmp_path / "source", voxels(), make_grid(), SeriesDescription="T2 axial", SeriesNumber=7)
    write_image(tmp_path / "out", Image(voxels(), make_grid()), like=source, series="axi")
    assert len(slices(tmp_path / "out")) == len(voxels())
    with pytest.raises(InputError, match="no DICOM series matches 'other'. There are: number 7, 'T2 axial'"):
        write_image(tmp_path / "other", Image(voxels(), make_grid()), like=source, series="other")
