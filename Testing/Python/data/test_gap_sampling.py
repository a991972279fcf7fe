"""On how many planes gaps are predicted, and which of them carry Gaussians."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.config.data import GapSamplingConfig
from TriplaneGaussianReconLib.data.gap_sampling import evenly, layer_count, layer_stride, plane_counts


@pytest.mark.parametrize(("width", "pixel", "step", "count"), [
    (1, 1, 1, 1), (2, 1, 1, 1), (2.4, 1, 1, 1), (2.5, 1, 1, 3), (4, 1, 1, 3), (20, 1, 1, 3), (2.4, 0.5, 1, 3),
    (3, 1, 1, 2), (2.98, 1, 1, 2), (3.02, 1, 1, 2), (2.9, 1, 1, 3), (15, 1, 5, 2), (1.5, 1, 0.5, 1), (3, 1, 1.5, 3),
    (5, 1, 1, 3), (6, 1, 1, 5), (7, 1, 1, 3), (8, 1, 1, 7), (4, 1, 0.5, 3), (9, 1, 1, 3)])
def test_planes_per_gap(width: float, pixel: float, step: float, count: int) -> None:
    """Few pixels: one.  Two, five or seven slices of the output in the gap: these.  Else three."""
    np.testing.assert_array_equal(plane_counts(np.array([width]), pixel, step, GapSamplingConfig()), [count])


def test_every_gap_has_a_count_of_its_own() -> None:
    np.testing.assert_array_equal(plane_counts(np.array([2.0, 3.0, 4.0]), 1.0, 1.0, GapSamplingConfig()), [1, 2, 3])


def test_what_counts_as_narrow_and_as_exact_is_configured() -> None:
    widths = np.array([2.0, 3.0, 4.0, 5.0])
    wide, exact = GapSamplingConfig(narrow_below=4.5, exact_counts=()), GapSamplingConfig(exact_counts=(4,))
    np.testing.assert_array_equal(plane_counts(widths, 1.0, 1.0, wide), [1, 1, 1, 3])
    np.testing.assert_array_equal(plane_counts(widths, 1.0, 1.0, exact), [1, 3, 3, 4])


@pytest.mark.parametrize(("planes", "carrying"), [
    (1, [1 / 2]), (2, [1 / 3, 2 / 3]), (3, [1 / 4, 3 / 4]), (5, [1 / 6, 1 / 2, 5 / 6])])
def test_layers_lie_on_planes_and_between_them_lies_one_at_most(planes: int, carrying: list[float]) -> None:
    fractions = evenly(planes)[::layer_stride(planes)]
    np.testing.assert_allclose(fractions, carrying)
    assert layer_count(planes) == len(carrying)
