"""Which number type holds which voxels."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.voxel_types import rescaled, value_type


@pytest.mark.parametrize(("lowest", "highest", "dtype"), [
    (0.0, 1.0, np.float32), (-1024.0, 3071.0, np.float32), (1e6, 1e6 + 1.0, np.float64), (-1e6 - 1.0, -1e6, np.float64),
    (5.0, 5.0, np.float64), (1e6, 2e6, np.float32)])
def test_values_are_kept_as_finely_as_their_range_needs(lowest: float, highest: float, dtype: type) -> None:
    assert value_type(lowest, highest) == dtype


def test_stored_values_are_rescaled_as_finely_as_their_range_needs() -> None:
    stored = np.array([0, 1, 4000], np.int16)
    assert rescaled(stored, 1.0, 0.0) is stored
    assert rescaled(stored, 0.5, -3.0).dtype == np.float32
    np.testing.assert_array_equal(rescaled(stored, 0.5, -3.0), [-3.0, -2.5, 1997.0])
    assert rescaled(stored, 1e-6, 1e6).dtype == np.float64
    np.testing.assert_array_equal(rescaled(np.array([1.0, np.nan], np.float32), 2.0, 1.0), [3.0, np.nan])
