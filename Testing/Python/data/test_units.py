"""Units of grey values."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.units import guessed_unit

RANDOM = np.random.default_rng(0)
AIR, TISSUE = RANDOM.normal(-1000, 20, 3000), RANDOM.normal(40, 30, 5000)


def test_air_and_tissue_a_thousand_apart_are_hounsfield_units() -> None:
    assert guessed_unit(np.concatenate([AIR, TISSUE]).round().astype(np.int16)) == "HU"


@pytest.mark.parametrize("values", [
    RANDOM.rayleigh(200, 9000), TISSUE, np.concatenate([AIR, TISSUE, -AIR]), RANDOM.uniform(-1100, 1100, 9000),
    np.concatenate([AIR, TISSUE - 500])], ids=["mr", "no air", "phase", "velocity noise", "nothing at zero"])
def test_where_there_is_doubt_no_unit_is_named(values: np.ndarray) -> None:
    assert guessed_unit(values) == ""
