"""Which slices are observed."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.selection import Selection, parse_numbers
from TriplaneGaussianReconLib.errors import InputError


def test_indices_are_sorted_and_unique() -> None:
    selection = Selection((7, 2, 2, 0), 9)
    assert selection.indices == (0, 2, 7) and len(selection) == 3
    assert not selection.is_everything
    assert Selection((2, 0, 1), 3).is_everything


@pytest.mark.parametrize(("count", "step", "expected"), [(10, 4, (0, 4, 8)), (9, 4, (0, 4, 8)), (3, 1, (0, 1, 2)),
                                                         (5, 9, (0,))])
def test_every(count: int, step: int, expected: tuple[int, ...]) -> None:
    assert Selection.every(count, step).indices == expected


@pytest.mark.parametrize(("count", "step", "expected"), [
    (7, 2, (0, 2, 4, 6)), (8, 2, (0, 2, 4, 6, 7)), (9, 3, (0, 1, 3, 4, 6, 7, 8)), (10, 3, (0, 1, 3, 4, 6, 7, 9)),
    (2, 2, (0, 1)), (1, 2, (0,))])
def test_all_but_every(count: int, step: int, expected: tuple[int, ...]) -> None:
    assert Selection.all_but_every(count, step).indices == expected


@pytest.mark.parametrize(("count", "percent", "expected"), [
    (11, 30.0, (0, 5, 10)), (11, 100.0, tuple(range(11))), (11, 0.1, (0, 10)), (1, 50.0, (0,)), (2, 1.0, (0, 1))])
def test_percentage(count: int, percent: float, expected: tuple[int, ...]) -> None:
    assert Selection.percentage(count, percent).indices == expected


@pytest.mark.parametrize("count", [2, 3, 17, 100])
@pytest.mark.parametrize("percent", [3.0, 25.0, 61.0, 99.0])
def test_percentage_is_even_and_holds_the_ends(count: int, percent: float) -> None:
    indices = Selection.percentage(count, percent).indices
    assert indices[0] == 0 and indices[-1] == count - 1
    assert len(indices) == max(2, round(count * percent / 100))
    steps = {b - a for a, b in zip(indices, indices[1:], strict=False)}
    assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize(("text", "expected"), [
    ("0,4,8-11", (0, 4, 8, 9, 10, 11)), (" 3 , 1 ", (1, 3)), ("5-5", (5,)), ("every:5", (0, 5, 10)),
    ("every:5,7,1-2", (0, 1, 2, 5, 7, 10)),
    ("hide:5", (0, 1, 2, 3, 5, 6, 7, 8, 10, 11)), ("25%", (0, 6, 11)), ("all", tuple(range(12))), ("12.5 %", (0, 11))])
def test_parse(text: str, expected: tuple[int, ...]) -> None:
    assert Selection.parse(12, text).indices == expected


@pytest.mark.parametrize("text", ["a", "1,,2", "1;2", "-3", "1-2-3", "every:x", "every:5,", "every:5,x", "hide:", "x%",
                                  "2.5", "every", "0,9-4"])
def test_what_cannot_be_read_is_named_with_the_remedy(text: str) -> None:
    with pytest.raises(InputError, match=r"Cannot read the slices .*0,4,8-20 or every:4, hide:3, 25%, all"):
        Selection.parse(12, text)


@pytest.mark.parametrize(("text", "message"), [
    ("0,12", "Slice 12 does not exist: this axis has slices 0 to 11"), ("", "Write the numbers of slices, such as 0,4"),
    ("every:0", "'Keep every'.*at least 1, not 0"),
    ("hide:1", "'Hide every'.*at least 2, not 1"), ("0%", "between 0 and 100"), ("101%", "between 0 and 100"),
    ("nan%", "between 0 and 100")])
def test_what_makes_no_sense_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Selection.parse(12, text)


def test_errors_of_the_constructors() -> None:
    with pytest.raises(InputError, match="Slice -1 does not exist"):
        Selection((-1, 3), 5)
    with pytest.raises(InputError, match="No slice is left.*Select at least two"):
        Selection((), 5)
    with pytest.raises(InputError):
        Selection.every(5, -1)


def test_excluding() -> None:
    selection = Selection.every(12, 3)
    assert selection.excluding([3, 4]).indices == (0, 6, 9)
    assert selection.excluding([]) == selection
    with pytest.raises(InputError, match="Slice 12 does not exist"):
        selection.excluding([12])
    with pytest.raises(InputError, match="No slice is left"):
        selection.excluding([0, 3, 6, 9])


def test_parse_numbers() -> None:
    assert parse_numbers("7,12,20-23") == [7, 12, 20, 21, 22, 23]
    for text in ("", "x", "3-", "-", "5-2"):
        with pytest.raises(ValueError):  # noqa: PT011 - callers tell what is wrong
            parse_numbers(text)


@pytest.mark.parametrize("slices", ["0,2,6", [6, 0, 2], range(0, 7, 2), np.array([2, 6]), Selection((1, 2), 7),
                                    [True, False, True, False, False, False, False]])
def test_slices_are_given_in_many_ways(slices: Any) -> None:
    expected = {"0,2,6": (0, 2, 6), "[6, 0, 2]": (0, 2, 6), "range(0, 7, 2)": (0, 2, 4, 6), "[2 6]": (2, 6)}
    selection = Selection.of(7, slices)
    if isinstance(slices, Selection):
        assert selection is slices
    else:
        assert selection.indices == expected.get(str(slices), (0, 2)) and selection.count == 7


@pytest.mark.parametrize("slices", [3, [0.0, 1.0], [True, False], [[0, 1]], ["0", "1"]])
def test_other_things_are_no_slices(slices: Any) -> None:
    with pytest.raises(InputError, match="whole numbers from 0 to 6, or as 7 values True or False"):
        Selection.of(7, slices)


def test_no_slices_are_too_few() -> None:
    with pytest.raises(InputError, match="Select at least two"):
        Selection.of(7, [])


@pytest.mark.parametrize(("indices", "text"), [
    ((3,), "1 of 40 slices: 3"), (range(40), "40 of 40 slices: 0-39"), ((0, 1, 2, 7), "4 of 40 slices: 0-2,7"),
    (range(0, 40, 2), "20 of 40 slices: 0,2,4,6,...,38")])
def test_the_short_text_lists_runs(indices: Sequence[int], text: str) -> None:
    assert repr(Selection(tuple(indices), 40)) == f"Selection({text})"
