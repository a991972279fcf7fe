"""Which slices of a result lie beyond what was observed."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.beyond import at_slices, slices_beyond
from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid
from TriplaneGaussianReconLib.data.observations import SliceStack


@pytest.mark.parametrize("axis", AXES)
def test_slices_beyond_the_outer_faces_are_found_along_each_axis(rotation: tuple, axis: Axis) -> None:
    grid = Grid((9, 9, 9), (3, -4, 5), (0.5, 0.7, 2.0), rotation)
    planes = grid.planes(axis, [2, 4, 6])
    spacing = grid.spacing[AXES.index(axis)]
    for thickness, beyond in ((spacing, [0, 1, 7, 8]), (2 * spacing, [0, 8]), (4 * spacing, [])):
        found = slices_beyond(SliceStack(planes, np.zeros(planes.shape, np.float32), thickness=thickness), grid)
        assert found[0] == axis and np.flatnonzero(found[1]).tolist() == beyond


def test_slices_of_an_array_with_layers_are_addressed_by_axis() -> None:
    array = np.zeros((2, 3, 4, 5))
    array[at_slices(array, "j", np.arange(4) == 2)] = 1
    assert array[:, :, 2].all() and array.sum() == 2 * 3 * 5
