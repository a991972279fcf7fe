"""How noisy slices are."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from TriplaneGaussianReconLib.data.noise import noise_of

SHAPE = (4, 80, 70)


def smooth() -> np.ndarray:
    """Blobs of some 100 grey values."""
    image = gaussian_filter(np.random.default_rng(1).standard_normal(SHAPE), (0, 6, 6))
    return 100.0 * image / image.std()


@pytest.mark.parametrize("sigma", [2.0, 5.0, 40.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_is_found_on_a_smooth_image(sigma: float, dtype: type) -> None:
    noisy = smooth() + np.random.default_rng(0).normal(0.0, sigma, SHAPE)
    assert noise_of(noisy.astype(dtype)) == pytest.approx(sigma, rel=0.1)


def test_edges_are_no_noise() -> None:
    """Of bright blocks, with corners that both differences do see."""
    image = np.zeros(SHAPE)
    image[:, 10:40, 5:50], image[:, 30:70, 30:60] = 100.0, 250.0
    assert noise_of(image) == 0.0
    noisy = image + np.random.default_rng(0).normal(0.0, 3.0, SHAPE)
    assert noise_of(noisy) == pytest.approx(3.0, rel=0.1)


def test_pixels_without_weight_are_not_looked_at() -> None:
    """Nor are differences to them."""
    random, weights = np.random.default_rng(0), np.ones(SHAPE, np.float32)
    weights[:, :, :45] = 0.0
    noisy = random.normal(0.0, 1.0, SHAPE)
    worse = np.where(weights > 0, noisy, random.normal(500.0, 50.0, SHAPE))
    assert noise_of(worse, weights) == noise_of(noisy, weights) == pytest.approx(1.0, rel=0.1)
    assert noise_of(worse) > 10.0
    worse[0], weights[0] = np.nan, 0.0
    assert noise_of(worse, weights) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(("image", "weights"), [(np.ones(SHAPE), np.zeros(SHAPE)), (np.ones((3, 1, 9)), None),
                                            (np.ones((3, 1, 9)), np.ones((3, 1, 9)))])
def test_there_is_no_noise_where_nothing_is_to_be_looked_at(image: np.ndarray, weights: np.ndarray | None) -> None:
    assert noise_of(image, weights) == 0.0
