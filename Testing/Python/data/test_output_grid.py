"""On which voxels a result is wanted."""
from __future__ import annotations

import pytest

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.output_grid import isotropic_spacing, output_grid
from TriplaneGaussianReconLib.errors import InputError

THICK = Grid((11, 30, 40), spacing=(0.5, 0.7, 3.0))


def test_isotropic_spacing_is_the_smallest_one_within_the_slices() -> None:
    assert isotropic_spacing(THICK, "k") == 0.5
    assert isotropic_spacing(THICK, "j") == 0.5
    assert isotropic_spacing(THICK, "i") == 0.5  # no wider than the 0.7 mm within its slices: as it is


def test_spacing_that_is_isotropic_but_for_rounding_stays() -> None:
    assert isotropic_spacing(Grid((5, 5, 5), spacing=(1.0, 1.0, 1.0005)), "k") == 1.0005


def test_finer_slices_cover_the_same_length() -> None:
    finer = output_grid(THICK, "k", 0.5)
    assert finer.shape == (61, 30, 40) and finer.spacing == (0.5, 0.7, 0.5)
    assert finer.origin == THICK.origin and finer.direction == THICK.direction


def test_the_present_spacing_gives_the_grid_itself() -> None:
    assert output_grid(THICK, "k", 3.0) is THICK
    assert output_grid(THICK, "k", 3.0 - 1e-6) is THICK


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_spacings_are_refused(spacing: float) -> None:
    with pytest.raises(InputError, match="positive number of millimetres"):
        output_grid(THICK, "k", spacing)


def test_spacings_that_leave_one_slice_are_refused() -> None:
    assert output_grid(THICK, "k", 30.0).shape == (2, 30, 40)
    with pytest.raises(InputError, match="leaves only one slice, since .* 30 mm apart. Choose a smaller one"):
        output_grid(THICK, "k", 30.1)


def test_a_single_slice_keeps_its_spacing() -> None:
    single = Grid((1, 5, 5), spacing=(1.0, 1.0, 3.0))
    assert output_grid(single, "k", 3.0) is single


def test_more_voxels_than_can_be_worked_on_are_refused() -> None:
    with pytest.raises(InputError, match="more than 2147483648 voxels. Choose a larger one"):
        output_grid(THICK, "k", 1e-6)
