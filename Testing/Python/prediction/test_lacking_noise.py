"""The noise that filled slices lack is found and made: as strong, as fine and as continuous as that of the scan."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from TriplaneGaussianReconLib.config.texture import TextureConfig
from TriplaneGaussianReconLib.prediction.lacking_noise import LackingNoise, lacking_noise

CONFIG = TextureConfig()
SHAPE = (8, 160, 160)
GAPS = [n + 0.5 for n in range(SHAPE[0] - 1)]
RADII = np.hypot(*np.meshgrid(*[2 * np.fft.fftfreq(32)] * 2))


def scan(seed: int = 0, fineness: float = 0.8) -> np.ndarray:
    """Slices with noise of a few pixels, twice as strong in their right half, and none in a corner."""
    noise = np.random.default_rng(seed).standard_normal(SHAPE)
    noise = np.array([gaussian_filter(image, fineness) - gaussian_filter(image, 3.0) for image in noise])
    noise *= 0.03 / noise.std()
    noise[:, :, 80:] *= 2.0
    slices = 0.5 + noise
    slices[:, :40, :40] = 0.0
    return slices.astype(np.float32)


def between(slices: np.ndarray) -> list[np.ndarray]:
    """What is predicted between the slices: their mean, a little smoother."""
    return [gaussian_filter((one + other) / 2, 0.4) for one, other in zip(slices, slices[1:], strict=False)]


def found_in(slices: np.ndarray, filled: list[np.ndarray], places: list[float] = GAPS, seed: int = 0) -> LackingNoise:
    noise = lacking_noise(slices, np.ones(slices.shape, bool), filled, places, seed, CONFIG)
    assert noise is not None
    return noise


def even(noise: LackingNoise, filled: list[np.ndarray], seed: int = 0) -> np.ndarray:
    return np.array([image + noise.deviation(image, place) * noise.noise(image.shape, n, seed, 1)
                     for n, (image, place) in enumerate(zip(filled, GAPS, strict=True))])


def spectrum(slices: np.ndarray) -> np.ndarray:
    """Power of rings of frequencies from a quarter of the highest one, in the part where noise is strong."""
    squares = [image[y:y + 32, x:x + 32] for image in slices for y in range(0, 160, 32) for x in (88, 120)]
    power = np.mean([np.abs(np.fft.fft2((s - s.mean()) * np.outer(np.hanning(32), np.hanning(32)))) ** 2
                     for s in squares], axis=0)
    return np.array([power[(low <= RADII) & (low + 0.125 > RADII)].mean() for low in np.arange(0.25, 1.0, 0.125)])


@pytest.mark.parametrize("fineness", [0.5, 0.8])
def test_level_and_spectrum_are_those_of_the_scan(fineness: float) -> None:
    slices = scan(fineness=fineness)
    filled = between(slices)
    result = even(found_in(slices, filled), filled)
    assert (spectrum(np.array(filled)) < 0.6 * spectrum(slices)).all()
    np.testing.assert_allclose(spectrum(result) / spectrum(slices), 1.0, atol=0.2)
    for part in (np.s_[:, 56:, 8:72], np.s_[:, :, 88:152]):
        fine = [np.diff(np.diff(images[part], axis=1), axis=2).std() for images in (result, slices)]
        assert fine[0] / fine[1] == pytest.approx(1.0, abs=0.06)


def test_nothing_is_added_where_the_scan_has_no_noise() -> None:
    slices = scan()
    filled = between(slices)
    result = even(found_in(slices, filled), filled)
    np.testing.assert_array_equal(result[:, :36, :36], np.array(filled)[:, :36, :36])


def test_the_seed_decides_and_neighbours_share_as_much_as_is_said() -> None:
    slices = scan()
    noise = found_in(slices, between(slices))
    one, same, other = (noise.noise((64, 64), 3, seed, 1) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
    near, far = (np.corrcoef(noise.noise((128, 128), 0, 0, 4).ravel(), noise.noise((128, 128), n, 0, 4).ravel())[0, 1]
                 for n in (1, 4))
    assert near == pytest.approx(0.75, abs=0.08) and abs(far) < 0.08


def test_as_rough_as_they_are_slices_get_nothing() -> None:
    slices = scan()
    noise = found_in(slices, between(slices))
    added = noise.deviation(scan(seed=1)[3], 3.0) * noise.noise(SHAPE[1:], 0, 0, 1)
    assert added.std() < 0.3 * (slices[:, 60:] - 0.5).std()


def test_without_noise_and_on_small_slices_there_is_none() -> None:
    flat, slices = np.zeros(SHAPE, np.float32), scan()
    for observed, filled in ((flat, between(flat)), (slices[:, :20], between(slices[:, :20])), (slices, [])):
        assert lacking_noise(observed, np.ones(observed.shape, bool), filled, GAPS[:len(filled)], 0, CONFIG) is None


def test_pixels_without_data_are_not_looked_at() -> None:
    slices, has_data = scan(), np.ones(SHAPE, bool)
    has_data[:, 120:, :] = False
    damaged = np.where(has_data, slices, 0.7).astype(np.float32)
    filled = between(damaged)
    noise = lacking_noise(damaged, has_data, filled, GAPS, 0, CONFIG)
    assert noise is not None
    added = even(noise, filled)[:, 60:110, 90:150]
    assert np.diff(added, axis=2).std() == pytest.approx(np.diff(slices[:, 60:110, 90:150], axis=2).std(), rel=0.12)


def test_structure_is_told_from_noise() -> None:
    lines = np.random.default_rng(0).random(SHAPE) < 0.01
    drawn = (0.5 + np.array([gaussian_filter(each.astype(float), 0.7) for each in lines])).astype(np.float32)
    assert found_in(drawn, between(drawn)).peakedness > CONFIG.peaked
    slices = scan()
    assert found_in(slices, between(slices)).peakedness < CONFIG.peaked
