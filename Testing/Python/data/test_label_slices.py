"""Which slices carry labels."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Segment, Segmentation
from TriplaneGaussianReconLib.data.label_slices import (
    LabelSlices,
    drawn_rule,
    labelled_slices,
    named_slices,
    presence,
)
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError


def present(count: int, *segments: Any) -> np.ndarray:
    """(slice, segment) bool, from the slices on which each segment is drawn."""
    found = np.zeros((count, len(segments)), bool)
    for number, slices in enumerate(segments):
        found[list(slices), number] = True
    return found


def unlabelled(found: np.ndarray) -> list[int]:
    return np.flatnonzero(~drawn_rule(found)).tolist()


@pytest.mark.parametrize(("count", "slices"), [(9, [4]), (9, range(9)), (9, range(3, 7)), (4, []), (1, [0])])
def test_slices_in_a_row_leave_nothing_to_fill(count: int, slices: Any) -> None:
    assert unlabelled(present(count, slices)) == []


def test_what_lies_between_drawn_slices_was_skipped() -> None:
    assert unlabelled(present(13, [0, 4, 8, 12])) == [1, 2, 3, 5, 6, 7, 9, 10, 11]


def test_beyond_the_ends_slices_are_empty_from_the_usual_distance_on() -> None:
    assert unlabelled(present(30, [10, 15, 20])) == [6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19, 21, 22, 23, 24]


@pytest.mark.parametrize(("after", "skipped"), [(20, True), (21, False)])
def test_a_segment_goes_on_across_three_times_the_usual_distance(after: int, skipped: bool) -> None:
    """Else the middle of the gap is empty."""
    found = unlabelled(present(40, [0, 4, 8, after, after + 4]))
    assert found == [1, 2, 3, 5, 6, 7, *(range(9, after) if skipped else (9, 10, 11, after - 3, after - 2, after - 1)),
                     *range(after + 1, after + 4), *range(after + 5, after + 8)]


def test_no_segment_goes_on_from_one_object_to_another() -> None:
    """Each is on two slices, so that between them those far from either are empty."""
    assert unlabelled(present(21, [0, 3, 6], [14, 17, 20])) == [1, 2, 4, 5, 7, 8, 12, 13, 15, 16, 18, 19]


@pytest.mark.parametrize(("after", "skipped"), [(5, [3, 4]), (6, [])])
def test_two_slices_missing_in_a_row_were_skipped_and_more_are_empty(after: int, skipped: list[int]) -> None:
    assert unlabelled(present(12, [0, 1, 2, after, after + 1, after + 2])) == skipped


def test_an_object_that_was_not_drawn_again_is_not_expected_between() -> None:
    assert unlabelled(present(9, [0, 1, 2], [5, 6, 7])) == []


def test_uneven_distances_count_by_their_median() -> None:
    assert unlabelled(present(12, [0, 1, 4])) == [2, 3, 5]  # the median of 1 and 3 is 2
    assert unlabelled(present(12, [0, 1, 3])) == [2, 4]  # 1.5: a neighbour is nearer than that


# ------------------------------------------------------------------------------------------------------ what is said


def labelled(labels_on: Any, observed: Selection, *segments: Any) -> tuple[int, ...] | None:
    found = labelled_slices(labels_on, observed, present(observed.count, *segments))
    return None if found is None else found.indices


def test_slices_that_are_not_used_do_not_count() -> None:
    """Distances are counted in used slices, and what is drawn on others is not looked at."""
    every_second = Selection.every(17, 2)
    assert labelled("drawn", every_second, [0, 8, 16]) == (0, 8, 16)
    assert labelled("drawn", every_second, [0, 1, 3, 5, 8, 13, 16]) == (0, 8, 16)
    assert labelled("drawn", every_second, range(17)) is None


@pytest.mark.parametrize(("labels_on", "expected"), [
    ("drawn", (0, 4, 8)), (" drawn ", (0, 4, 8)), ("drawn,2", (0, 2, 4, 8)), ("5-6, drawn", (0, 4, 5, 6, 8)),
    ("drawn,every:3", (0, 3, 4, 6, 8)), ("all", None), ("every:1", None), ("0,8", (0, 8)), ("hide:2", (0, 2, 4, 6, 8)),
    (range(3), (0, 1, 2)), (np.arange(9) == 5, (5,)), (Selection((1, 7), 9), (1, 7))])
def test_slices_can_be_named(labels_on: Any, expected: tuple[int, ...] | None) -> None:
    assert labelled(labels_on, Selection.every(9, 1), [0, 4, 8]) == expected


@pytest.mark.parametrize("labels_on", ["", "none", "drawn,", "drawn,x", "drawn,9", "0,9", [], [0.5], "drawn drawn"])
def test_what_cannot_be_read_is_explained(labels_on: Any) -> None:
    with pytest.raises(InputError, match="Which slices carry labels: .*'drawn,40' these and slice 40"):
        named_slices(labels_on, 9)


# -------------------------------------------------------------------------------------------------- what slices tell


def test_slices_are_sorted_by_what_they_tell() -> None:
    layers = np.zeros((2, 5, 3, 4), np.int16)
    layers[0, 0], layers[1, 2], layers[0, 3], layers[0, 4] = 2, 5, 2, 9
    segments = (Segment("a", 2), Segment("b", 5, 1))  # 9 is of no segment
    assert LabelSlices.of(layers, segments) == LabelSlices((0, 2, 3), (1, 4), ())
    found = LabelSlices.of(layers, segments, np.array([True, True, False, False, True]), (40, 30, 20, 10, 0))
    assert found == LabelSlices((40,), (0, 30), (10, 20))
    assert str(found) == "Labels are taken from 1 slice: 40; 2 others count as empty: 0,30; the labels of 2 are filled."


def test_segments_on_slices() -> None:
    grid = Grid((4, 5, 6))
    layers = np.zeros((2, *grid.shape), np.int32)
    layers[0, 1, 2:4, 3], layers[1, 3, 0, 0] = 70000, -2
    segmentation = Segmentation(layers, (Segment("a", 70000), Segment("b", -2, 1)), grid)
    for axis, slices in (("k", ([1], [3])), ("j", ([2, 3], [0])), ("i", ([3], [0]))):
        assert [np.flatnonzero(column).tolist() for column in presence(segmentation, axis).T] == list(slices)
