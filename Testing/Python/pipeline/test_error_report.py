"""How large the expected error is as a whole."""
from __future__ import annotations

import warnings

import numpy as np
import pytest

from TriplaneGaussianReconLib import Grid, Image, reconstruct
from TriplaneGaussianReconLib.pipeline.error_report import ErrorReport


@pytest.fixture(scope="module")
def scan() -> np.ndarray:
    """[k, j, i] Hounsfield units: a ball of structured tissue in air, moving a little from slice to slice."""
    k, j, i = np.mgrid[:9, :40, :44].astype(float)
    inside = (j - 20) ** 2 + (i - 20 - 0.5 * k) ** 2 < 14 ** 2
    noise = np.random.default_rng(0).normal(0.0, 12.0, inside.shape)
    return (np.where(inside, 40.0 + 80.0 * np.sin(i / 3.0 + 0.3 * k), -1000.0) + noise).round().astype(np.int16)


def told(array: np.ndarray, unit: str = "") -> ErrorReport:
    image = Image(array, Grid(array.shape, spacing=(1, 1, 3)), unit=unit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = reconstruct(image, spacing="isotropic", device="cpu").report.expected_error
    assert found is not None
    return found


def test_it_is_in_hounsfield_units_where_the_values_are_for_certain(scan: np.ndarray) -> None:
    found = told(scan)
    assert found.unit == "HU" and 5.0 < found.median < 100.0 and str(found).endswith(" HU (median in the body)")
    assert found.share_of_range == pytest.approx(found.median / np.ptp(scan), rel=0.2)


def test_the_header_is_believed_where_the_values_tell_nothing(scan: np.ndarray) -> None:
    assert told((scan + 1100) // 4, "HU").unit == "HU"


def test_none_is_told_where_no_slice_of_the_result_lies_between_used_ones(scan: np.ndarray) -> None:
    image = Image(scan, Grid(scan.shape, spacing=(1, 1, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ends, one = (reconstruct(image, exclude=excluded, device="cpu").report.expected_error
                     for excluded in ([0, 8], [0, 4]))
        coarse = reconstruct(image, spacing=7.0, device="cpu").report.expected_error
    assert coarse is not None and coarse.share_of_range > 0.001
    assert ends is None and one is not None and one.share_of_range > 0.001


def test_it_is_a_share_of_the_range_elsewhere(scan: np.ndarray) -> None:
    found = told((scan + 1100) // 4)
    assert found.unit is None and "% of the range" in str(found)
