"""One of several volumes, and what is used of it."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.errors import InputError


def image(spacing: tuple[float, float, float], **grid: Any) -> Image:
    return Image(np.zeros((4, 5, 6), np.int16), Grid((4, 5, 6), spacing=spacing, **grid))


def test_the_slice_axis_is_that_of_largest_spacing_k_on_a_tie() -> None:
    assert StackInput(image((1, 3, 1))).slice_axis == "j"
    assert StackInput(image((1, 1, 1))).slice_axis == "k"
    assert StackInput(image((1, 3, 1)), axis="i").slice_axis == "i"


def test_all_slices_are_used_as_thick_as_they_are_apart() -> None:
    stack = StackInput(image((1, 3, 1)))
    assert stack.used == Selection.every(5, 1) and stack.width == 3.0
    assert StackInput(image((1, 3, 1)), thickness=4.5).width == 4.5


def test_uneven_slices_are_as_thick_as_they_usually_lie_apart() -> None:
    assert StackInput(image((5, 1, 2), depths=(0.0, 2.0, 4.0, 9.0))).width == 2.0
    with pytest.raises(InputError, match="unevenly"):
        StackInput(image((5, 1, 2), depths=(0.0, 2.0, 4.0, 9.0)), axis="i")


@pytest.mark.parametrize(("options", "what"), [
    ({"profile": "triangle"}, "profile"), ({"thickness": 0.0}, "thickness"), ({"thickness": np.nan}, "thickness"),
    ({"selection": Selection((0,), 9)}, "9 slices"), ({"to_first": np.diag([2.0, 1, 1, 1])}, "not rigid")])
def test_what_cannot_be_is_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        StackInput(image((1, 1, 3)), **options)
