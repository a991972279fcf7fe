"""Which segments of several volumes are the same, and on which layers they lie."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.common_segments import CommonSegments, common_metadata
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Segment, Segmentation


def test_segments_of_one_name_are_the_same_whatever_their_values() -> None:
    common = CommonSegments.of([[Segment("Liver", 1), Segment("Tumour", 2)],
                                [Segment("Tumour", 1), Segment("Liver", 5)]])
    assert [(s.name, s.value) for s in common.segments] == [("Liver", 1), ("Tumour", 2)]
    assert common.numbers == ((0, 1), (1, 0))


def test_other_names_of_one_value_are_not_the_same() -> None:
    common = CommonSegments.of([[Segment("Liver", 1)], [Segment("Spleen", 1)]])
    assert [s.name for s in common.segments] == ["Liver", "Spleen"]
    assert len({(s.layer, s.value) for s in common.segments}) == 2


@pytest.mark.parametrize("is_plain_first", [False, True])
def test_a_label_map_goes_by_its_values_and_takes_over_names(is_plain_first: bool) -> None:
    volumes = [[Segment("Liver", 3, identifier="a")], [Segment("Label 3", 3), Segment("Label 4", 4)]]
    common = CommonSegments.of(volumes[::-1] if is_plain_first else volumes)
    assert [(s.name, s.value) for s in common.segments] == [("Liver", 3), ("Label 4", 4)]


def test_a_name_comes_before_a_value() -> None:
    common = CommonSegments.of([[Segment("Label 1", 2), Segment("Liver", 1)], [Segment("Label 1", 1)]])
    assert common.numbers == ((0, 1), (0,))


def test_overlapping_segments_stay_in_different_layers() -> None:
    plain = [Segment("Liver", 1), Segment("Tumour", 2)]
    overlapping = [Segment("Tumour", 1, 0), Segment("Liver", 1, 1)]
    common = CommonSegments.of([plain, overlapping])
    assert [s.layer for s in common.segments] == [0, 1]
    first = common.recoded(np.array([[0, 1, 2]]), 0, plain)
    second = common.recoded(np.array([[1, 1, 0], [0, 1, 1]]), 1, overlapping)
    np.testing.assert_array_equal(first, [[0, 1, 0], [0, 0, 2]])
    np.testing.assert_array_equal(second, [[0, 1, 1], [2, 2, 0]])
    assert first.dtype == np.uint8


def test_segments_of_one_segmentation_keep_layers_values_and_large_labels() -> None:
    segments = [Segment("a", 7, 0, "x"), Segment("b", 70_000, 0, "y"), Segment("c", 1, 1, "z")]
    common = CommonSegments.of([segments])
    assert list(common.segments) == segments
    assert common.recoded(np.array([[70_000], [1]]), 0, segments).tolist() == [[70_000], [1]]


def test_identifiers_are_given_once_and_header_fields_follow_them() -> None:
    grid = Grid((1, 1, 1))

    def one(name: str, identifier: str, tag: str) -> Segmentation:
        return Segmentation(np.ones((1, 1, 1, 1), np.uint8), (Segment(name, 1, identifier=identifier),), grid,
                            {"Segment0_ID": identifier, "Segment0_Tags": tag, "Other": tag})

    volumes = [one("Liver", "S1", "liver"), one("Spleen", "S1", "spleen"), one("Lung", "S2", "lung")]
    assert [s.identifier for s in CommonSegments.of([v.segments for v in volumes]).segments] == ["S1", "", "S2"]
    assert common_metadata(volumes) == {"Segment0_ID": "S1", "Segment0_Tags": "liver", "Other": "liver",
                                        "Segment1_ID": "S2", "Segment1_Tags": "lung"}
    assert common_metadata([]) == {}
