"""How a slice averages over its thickness."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.slice_profile import SliceProfile, profile_depths, profile_deviation


@pytest.mark.parametrize("profile", ["box", "gaussian"])
def test_depths_spread_as_the_profile_does(profile: SliceProfile) -> None:
    depths, weights = profile_depths(5.0, profile, 41)
    assert weights.sum() == pytest.approx(1.0) and weights @ depths == pytest.approx(0.0, abs=1e-12)
    assert np.sqrt(weights @ depths ** 2) == pytest.approx(profile_deviation(5.0, profile), rel=0.03)


def test_a_gaussian_has_half_its_height_half_a_thickness_away() -> None:
    depths, weights = profile_depths(4.0, "gaussian", 11)
    assert np.interp(2.0, depths, weights) == pytest.approx(0.5 * weights.max())
