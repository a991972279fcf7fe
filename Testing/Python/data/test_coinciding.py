"""Which slices of a result are observed slices."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.coinciding import coinciding
from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.observations import Observations, SliceStack
from TriplaneGaussianReconLib.data.selection import Selection


def observed(grid: Grid, axis: Axis, selection: Selection) -> SliceStack:
    array = np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape)
    return Observations.from_volume(Image(array, grid), {axis: selection}).stacks[0]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("sign", [1, -1])
def test_planes_are_found_whichever_way_they_run(rotation: Any, axis: Axis, sign: int) -> None:
    grid = Grid((6, 7, 8), (1, 2, 3), (0.5, 0.7, 2.0), sign * np.asarray(rotation))
    selection = Selection((0, 2, 3), grid.count(axis))
    stack = observed(grid, axis, selection)
    across, planes = coinciding(stack, grid)
    assert across == axis and np.flatnonzero(planes >= 0).tolist() == [0, 2, 3]
    for number in selection.indices:
        there = grid.planes(axis, [number]).points()[0]
        np.testing.assert_allclose(stack.planes.points()[planes[number]], there, atol=1e-9)


def test_other_pixels_are_not_the_same_slices() -> None:
    grid = Grid((6, 7, 8))
    stack = observed(grid, "k", Selection.every(6, 1))
    for other in (replace(grid, origin=(0.01, 0, 0)), replace(grid, spacing=(1, 1.01, 1)), Grid((6, 7, 9)),
                  replace(grid, origin=(0, 0, 0.5)), Grid((6, 8, 7), (7, 0, 0), (1, 1, 1), ((0, -1, 0), (1, 0, 0),
                                                                                       (0, 0, 1)))):
        assert (coinciding(stack, other)[1] == -1).all()
    assert coinciding(stack, replace(grid, origin=(0, 0, 2.0)))[1].tolist() == [2, 3, 4, 5, -1, -1]


def test_a_finer_result_has_some_of_them() -> None:
    grid = Grid((4, 5, 6), spacing=(1, 1, 3))
    assert coinciding(observed(grid, "k", Selection.every(4, 1)), grid.resampled("k", 1.0))[1].tolist() == [
        0, -1, -1, 1, -1, -1, 2, -1, -1, 3]


def test_uneven_slices_are_those_of_their_own_grid() -> None:
    grid = Grid((4, 5, 6), depths=(0.0, 1.0, 3.0, 4.0))
    stack = observed(grid, "k", Selection.every(4, 1))
    assert coinciding(stack, grid)[1].tolist() == [0, 1, 2, 3]
    assert coinciding(stack, grid.resampled("k", 1.0))[1].tolist() == [0, 1, -1, 2, 3]
