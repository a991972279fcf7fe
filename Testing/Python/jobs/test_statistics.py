"""Figures of voxels that are told instead of looked for."""
from __future__ import annotations

import json

import numpy as np
import pytest

from TriplaneGaussianReconLib.jobs.statistics import VoxelStatistics


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 1, 1), (70, 5, 130)])
def test_means_of_slices_and_the_upper_end_are_numpys(shape: tuple[int, int, int], kind: type) -> None:
    array = (200.0 * np.random.default_rng(0).random(shape)).astype(kind)
    found = VoxelStatistics.of(array)
    for axis, means in enumerate(found.means):
        others = tuple(n for n in range(3) if n != axis)
        np.testing.assert_allclose(means, array.mean(axis=others, dtype=np.float64), rtol=1e-12)
    assert found.high == pytest.approx(np.quantile(array, 0.99), rel=0.02)


def test_they_survive_json() -> None:
    found = VoxelStatistics.of(np.arange(24.0, dtype=np.float32).reshape(2, 3, 4))
    assert VoxelStatistics.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize("damage", [{"high": "x"}, {"means": [[1.0]]}, {"means": 3}, {"means": [[1], [None], [1]]}])
def test_damaged_ones_are_refused(damage: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        VoxelStatistics.from_json({"high": 1.0, "means": [[1.0], [1.0], [1.0]], **damage})
