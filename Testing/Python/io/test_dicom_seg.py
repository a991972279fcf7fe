"""DICOM segmentations in: frames at their own places, segments with number, name, colour and codes."""
from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_objects_case import code, item, save, write_seg
from image_file_case import assert_same_place, make_grid

from TriplaneGaussianReconLib.data.alignment import aligned_to
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Segmentation
from TriplaneGaussianReconLib.errors import InputError, InputNote
from TriplaneGaussianReconLib.io.readers import read_segmentation
from TriplaneGaussianReconLib.io.terminology import Code, Terminology, terminology_in
from TriplaneGaussianReconLib.io.writers import write_segmentation

LIVER = item(SegmentNumber=1, SegmentLabel="Liver é", RecommendedDisplayCIELabValue=[34885, 53485, 50171],  # red
             SegmentedPropertyCategoryCodeSequence=[code("SCT", "123037004", "Anatomical Structure")],
             SegmentedPropertyTypeCodeSequence=[item(
                 CodeValue="64033007", CodingSchemeDesignator="SCT", CodeMeaning="Kidney",
                 SegmentedPropertyTypeModifierCodeSequence=[code("SCT", "7771000", "Left")])],
             AnatomicRegionSequence=[code("SCT", "818983003", "Abdomen")])
TUMOUR = item(SegmentNumber=2, SegmentLabel="Tumour")


def masks(planes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (planes, 5, 6)).astype(np.uint8)


def mask_of(segmentation: Segmentation, number: int) -> np.ndarray:
    segment = next(one for one in segmentation.segments if one.value == number)
    return segmentation.layers[segment.layer] == number


@pytest.mark.parametrize("direction", ["identity", "sagittal", "oblique"])
def test_frames_lie_where_they_say_in_any_order_and_segments_overlap(tmp_path: Path, direction: str) -> None:
    grid, one, two = make_grid(direction), masks(4, 0), masks(4, 1)
    frames = [(k, 1, one[k]) for k in range(4)] + [(k, 2, two[k]) for k in (3, 2)]
    order = np.random.default_rng(0).permutation(len(frames))
    write_seg(tmp_path / "a.dcm", grid, [frames[n] for n in order], [LIVER, TUMOUR])
    back = read_segmentation(tmp_path / "a.dcm")
    two[:2] = 0
    assert_same_place(back.grid, grid)
    np.testing.assert_array_equal(mask_of(back, 1), one)
    np.testing.assert_array_equal(mask_of(back, 2), two)
    assert [(s.name, s.value, s.layer) for s in back.segments] == [("Liver é", 1, 0), ("Tumour", 2, 1)]
    assert back.segments[0].color == pytest.approx((1, 0, 0), abs=0.01) and back.segments[1].color is None


def test_planes_without_a_frame_are_empty(tmp_path: Path) -> None:
    grid, one = make_grid(shape=(9, 5, 6)), masks(9) | 1
    write_seg(tmp_path / "a.dcm", grid, [(k, 1, one[k]) for k in (0, 1, 4, 8)], [LIVER])
    back = read_segmentation(tmp_path / "a.dcm")
    assert_same_place(back.grid, grid)
    assert back.layers[0].any(axis=(1, 2)).nonzero()[0].tolist() == [0, 1, 4, 8]
    write_seg(tmp_path / "b.dcm", grid, [(k, 1, one[k]) for k in (0, 4)], [LIVER],
              measures={"SpacingBetweenSlices": grid.spacing[2]})
    assert read_segmentation(tmp_path / "b.dcm").grid.shape == (5, 5, 6)
    write_seg(tmp_path / "c.dcm", grid, [(3, 1, one[3])], [LIVER], measures={"SliceThickness": 2.5})
    alone = read_segmentation(tmp_path / "c.dcm")
    assert alone.grid.shape == (1, 5, 6) and np.allclose(alone.grid.origin, grid.index_to_physical([0, 0, 3]))


def test_uneven_planes_keep_their_places(tmp_path: Path) -> None:
    grid = Grid((4, 5, 6), spacing=(1, 1, 2), depths=(0, 2, 4.5, 6.5))
    write_seg(tmp_path / "a.dcm", grid, [(k, 1, masks(4)[k]) for k in range(4)], [LIVER])
    assert read_segmentation(tmp_path / "a.dcm").grid.depths == pytest.approx(grid.depths)


def test_a_label_map_has_its_own_numbers(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).choice([0, 1, 2, 9], (4, 5, 6)).astype(np.uint8)
    background, nine = item(SegmentNumber=0, SegmentLabel="Background"), item(SegmentNumber=9, SegmentLabel="Nine")
    write_seg(tmp_path / "a.dcm", make_grid(), [(k, 0, labels[k]) for k in (2, 0, 3, 1)],
              [background, LIVER, TUMOUR, nine], "LABELMAP")
    back = read_segmentation(tmp_path / "a.dcm")
    np.testing.assert_array_equal(back.layers, labels[None])
    assert [segment.value for segment in back.segments] == [1, 2, 9]


@pytest.mark.parametrize("highest", [255, 100])
def test_fractions_are_a_segment_from_one_half_on(tmp_path: Path, highest: int) -> None:
    fractions = (np.linspace(0, 1, 120).reshape(4, 5, 6) * highest).astype(np.uint8)
    write_seg(tmp_path / "a.dcm", make_grid(), [(k, 1, fractions[k]) for k in range(4)], [LIVER], "FRACTIONAL",
              MaximumFractionalValue=highest)
    with pytest.warns(InputNote, match="fractions.*one half"):
        back = read_segmentation(tmp_path / "a.dcm")
    np.testing.assert_array_equal(back.layers[0], fractions >= highest / 2)


def test_codes_reach_a_seg_nrrd_in_the_words_of_slicer(tmp_path: Path) -> None:
    write_seg(tmp_path / "a.dcm", make_grid(), [(k, 1, masks(4)[k]) for k in range(4)], [LIVER])
    write_segmentation(tmp_path / "a.seg.nrrd", read_segmentation(tmp_path / "a.dcm"))
    tags = read_segmentation(tmp_path / "a.seg.nrrd").metadata["Segment0_Tags"]
    assert tags == ("TerminologyEntry:Segmentation category and type - DICOM master list"
                    "~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left"
                    "~Anatomic codes - DICOM master list~SCT^818983003^Abdomen~^^|")
    assert terminology_in("Segmentation.Status:inprogress|" + tags) == Terminology(
        Code("SCT", "123037004", "Anatomical Structure"), Code("SCT", "64033007", "Kidney"),
        Code("SCT", "7771000", "Left"), Code("SCT", "818983003", "Abdomen"), Code())
    assert terminology_in("") is None and terminology_in("TerminologyEntry:x~^^~^^|") is None


def changed(path: Path, **fields: Any) -> Path:
    dataset = pydicom.dcmread(path)
    for name, value in fields.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(("fields", "words"), [
    ({"SegmentSequence": []}, "without any segment"),
    ({"PixelData": b"\0\0"}, "pixels are missing, cut short"),
    ({"PixelData": None}, "pixels are missing"),
    ({"PixelData": bytes(16)}, "segments are all empty"),
    ({"PerFrameFunctionalGroupsSequence": None}, "do not tell where they lie"),
    ({"SegmentSequence": [LIVER, TUMOUR], "PerFrameFunctionalGroupsSequence": [
        item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, k])]) for k in range(4)]}, "which segment"),
    ({"PerFrameFunctionalGroupsSequence": [item(
        PlanePositionSequence=[item(ImagePositionPatient=[k * k, 0, k])], SegmentIdentificationSequence=[item(
            ReferencedSegmentNumber=1)]) for k in range(4)]}, "shifted against each other"),
    ({"PerFrameFunctionalGroupsSequence": [item(
        PlanePositionSequence=[item(ImagePositionPatient=[0, 0, z])], SegmentIdentificationSequence=[item(
            ReferencedSegmentNumber=1)]) for z in (0, 0.1, 1e6, 2e6)]}, "too far apart"),
    ({"PerFrameFunctionalGroupsSequence": [item(
        PlanePositionSequence=[item(ImagePositionPatient=[0, 0, k])], SegmentIdentificationSequence=[item(
            ReferencedSegmentNumber=1)], PixelMeasuresSequence=[item(PixelSpacing=[1 + k, 1])]) for k in range(4)]},
     "differ in direction or pixel spacing")])
def test_what_is_no_whole_segmentation_is_refused(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    grid = Grid((4, 5, 6), spacing=(0.7, 0.9, 3.3))
    write_seg(tmp_path / "a.dcm", grid, [(k, 1, masks(4)[k]) for k in range(4)], [LIVER])
    with pytest.raises(InputError, match=words) as caught:
        read_segmentation(changed(tmp_path / "a.dcm", **fields))
    assert str(tmp_path / "a.dcm") in str(caught.value)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    write_seg(tmp_path / "a.dcm", make_grid(), [(k, 1, masks(4)[k]) for k in range(4)], [LIVER])
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[:len(content) - 10])
    with pytest.raises(InputError, match="again"):
        read_segmentation(tmp_path / "a.dcm")


def test_planes_of_a_tilted_gantry_keep_their_places(tmp_path: Path) -> None:
    grid = Grid((4, 5, 6), direction=((1, 0, 0), (0, 1, 0.6), (0, 0, 0.8)))
    write_seg(tmp_path / "a.dcm", grid, [(k, 1, masks(4)[k] | 1) for k in (0, 1, 3)], [LIVER])
    back = read_segmentation(tmp_path / "a.dcm").grid
    np.testing.assert_allclose(back.ijk_to_lps, grid.ijk_to_lps, atol=1e-6)


def test_other_dicom_is_read_as_before(tmp_path: Path) -> None:
    save(tmp_path / "a.dcm", "1.2.840.10008.5.1.4.1.1.2")
    with pytest.raises(InputError):
        read_segmentation(tmp_path / "a.dcm")


@pytest.mark.parametrize("planes", [(1, 2, 3), (0, 2, 4), (2,)])
@pytest.mark.parametrize("measures", [{}, {"SliceThickness": 1.0}, {"SliceThickness": 2.5}, {"SliceThickness": 8.0}])
def test_the_slices_of_the_volume_tell_how_far_frames_reach(tmp_path: Path, planes: tuple[int, ...],
                                                            measures: dict[str, float]) -> None:
    grid = Grid((6, 8, 10), (-10.0, 20.0, 33.0), (0.5, 2.0, 4.0))
    drawn = np.zeros(grid.shape, bool)
    drawn[list(planes), 2:5, 3:7] = True
    path = write_seg(tmp_path / "a.dcm", grid, [(plane, 1, drawn[plane]) for plane in planes],
                     [item(SegmentNumber=1, SegmentLabel="Liver")], measures=measures)
    for volume in (grid, Grid(grid.shape, (-10.0, 20.0, 53.0), grid.spacing, ((1, 0, 0), (0, 1, 0), (0, 0, -1)))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputNote)  # of turned axes
            found = aligned_to(read_segmentation(path, volume), volume)
        np.testing.assert_array_equal(mask_of(found, 1), drawn if volume is grid else drawn[::-1])
