"""The noise that filled slices lack beside observed ones: its spectrum, and how much of it there is at each place.

What lies between observed slices is predicted as their average, in which noise cancels out.  Where the same noise is to
be seen everywhere, the difference of both power spectra tells what has to be added.  Slices are float32 [row, column]
in units of the range of the observed intensities.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from ..config.texture import TextureConfig

_LEAST, _TINY = 1e-12, 1e-30  # keep divisions finite
_LARGE = 256  # pixels of a square of noise that is measured
_EVERY = 2  # pixels of a square that are looked at for its level: noise of neighbours is alike


@dataclass(frozen=True)
class Roughness:
    """Tells how rough slices are against what is usual at their intensity.

    Attributes:
        kernel: leaves of a slice the finer half of its noise.
        intensities: (n,) ascending.
        levels: (n,) how rough observed slices are at these.
        config: see there.
    """

    kernel: np.ndarray
    intensities: np.ndarray
    levels: np.ndarray
    config: TextureConfig

    @classmethod
    def of(cls, slices: np.ndarray, has_data: np.ndarray, amplitude: np.ndarray, config: TextureConfig) -> Roughness:
        """Measure what is usual on observed slices.

        Args:
            slices: [plane, row, column].
            has_data: bool, likewise.
            amplitude: [frequency, frequency] of the kernel.
            config: How to measure.
        """
        found = cls(_kernel(amplitude), np.zeros(1), np.ones(1), config)
        seen = np.array([found._intensity(image) for image in slices])[has_data]
        left = np.array([found._level(image) for image in slices])[has_data]
        borders = np.unique(np.quantile(seen, np.linspace(0.0, 1.0, config.intensities + 1)))
        ranges = [(seen >= low) & (seen <= high) for low, high in zip(borders, borders[1:], strict=False)]
        return replace(found, intensities=np.array([np.median(seen[at]) for at in ranges]),
                       levels=np.array([np.quantile(left[at], config.share) for at in ranges]))

    def usual(self, image: np.ndarray) -> np.ndarray:
        """The usual level [row, column] at the intensities of a slice."""
        return np.interp(self._intensity(image), self.intensities, self.levels).astype(np.float32)

    def relative(self, image: np.ndarray, has_data: np.ndarray) -> np.ndarray:
        """Square [block, block] of a slice's roughness against the usual one; NaN where that cannot be told."""
        usual, config = self.usual(image), self.config
        level = self._level(image) / np.maximum(usual, _LEAST)
        level[(usual <= config.faint * self.levels.max()) | ~has_data] = np.inf
        side, ends = config.block, [-size % config.block for size in image.shape]
        padded = np.pad(level, [(side, side + end) for end in ends], mode="reflect")
        squares = np.lib.stride_tricks.sliding_window_view(padded, (2 * side, 2 * side))[::side, ::side]
        squares = squares[..., ::_EVERY, ::_EVERY].reshape(*squares.shape[:2], -1)
        counts = np.isfinite(squares).sum(axis=-1)
        ranked = np.sort(squares, axis=-1)
        found = np.take_along_axis(ranked, (config.share * counts).astype(int)[..., None], axis=-1)[..., 0]
        return np.where(counts >= squares.shape[-1] // 2, found ** 2, np.nan)

    def peakedness(self, slices: np.ndarray, has_data: np.ndarray) -> float:
        """The usual kurtosis of what the kernel leaves of squares of observed slices."""
        side, found = self.config.patch, []
        for image, there in zip(slices, has_data, strict=True):
            left = np.where(there, _filtered(image, self.kernel), 0.0).astype(np.float64)
            squares = _squares(left, side)
            variance, fourth = (squares ** 2).mean(axis=(-2, -1)), (squares ** 4).mean(axis=(-2, -1))
            found.append((fourth / np.maximum(variance, _TINY) ** 2)[variance > (self.config.faint * left.std()) ** 2])
        return float(np.median(np.concatenate(found)))

    def of_noise(self, noise: np.ndarray) -> float:
        """How rough noise is."""
        return float(np.quantile(self._level(noise), self.config.share))

    def _level(self, image: np.ndarray) -> np.ndarray:
        return cv2.blur(np.abs(_filtered(image, self.kernel)), (self.config.near, self.config.near))

    def _intensity(self, image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (0, 0), self.config.smoothing)


@dataclass(frozen=True)
class LackingNoise:
    """The noise that filled slices lack.

    Attributes:
        kernel: makes such noise of independent normal numbers, as strong as it is usual.
        roughness: tells how rough a slice is.
        power: square of its roughness where all is as usual.
        slices: [plane, row, column] the observed slices.
        has_data: bool, likewise.
        levels: (plane, block, block) their relative roughness.
        peakedness: kurtosis of their fine detail: 3 for noise, more for structure.
        config: see there.
    """

    kernel: np.ndarray
    roughness: Roughness
    power: float
    slices: np.ndarray
    has_data: np.ndarray
    levels: np.ndarray
    peakedness: float
    config: TextureConfig

    def deviation(self, image: np.ndarray, place: float) -> np.ndarray:
        """How strong the noise is to be at each pixel of a filled slice, by which `noise` is multiplied.

        Args:
            image: The filled slice.
            place: Where it lies among the observed slices, counted from 0.
        """
        lower = min(int(place), len(self.slices) - 2)
        share = np.float32(place - lower)

        def between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
            mixed: np.ndarray = (1 - share) * one + share * other
            return mixed

        wanted = between(self.levels[lower], self.levels[lower + 1])
        has_data = self.has_data[lower] & self.has_data[lower + 1]
        lacking = _without_gaps(np.clip(wanted - self.roughness.relative(image, has_data), 0.0, None))
        rows, columns = (_hats(size, self.config.block) for size in image.shape)
        strength = np.sqrt(rows @ lacking.astype(np.float32) @ columns.T / np.float32(self.power))
        still = between(*(_still(self.slices[n], self.config.still) for n in (lower, lower + 1)))
        strength *= self.roughness.usual(image) * (1 - still)
        return strength

    def noise(self, shape: Sequence[int], number: int, seed: int, shared: int) -> np.ndarray:
        """Noise for slice `number`, of strength 1, which has some in common with those before and after it.

        Args:
            shape: Rows and columns.
            number: Of the slice.
            seed: The same gives the same noise.
            shared: With how many slices, itself included, it has any in common.
        """
        margin = len(self.kernel) // 2
        total = np.zeros([size + 2 * margin for size in shape], np.float32)
        for each in range(number, number + shared):
            total += np.random.default_rng([seed, each]).standard_normal(total.shape, np.float32)
        return _filtered(total / np.float32(math.sqrt(shared)), self.kernel)[margin:-margin, margin:-margin]


def lacking_noise(observed: np.ndarray, has_data: np.ndarray, filled: Sequence[np.ndarray], places: Sequence[float],
                  seed: int, config: TextureConfig) -> LackingNoise | None:
    """Find the noise that filled slices lack.

    Args:
        observed: [plane, row, column] float32, in order.
        has_data: bool, likewise; what is false there is not looked at.
        filled: Some slices that were predicted between them.
        places: Of these among the observed ones, counted from 0.
        seed: Of the noise by which it is tried out.
        config: How to measure.

    Returns:
        None where there is no noise, or slices are too small to tell.
    """
    if min(observed.shape[1:]) < config.patch or not len(filled):
        return None
    spectra = _Spectra.of(observed, has_data, places, config)
    if spectra is None:
        return None
    there = spectra.of_filled(filled)
    lacking = _of_noise(np.clip(spectra.usual - there, 0.0, None), config)
    if not lacking.any():
        return None
    some = config.spread(len(observed), observed[0].size)
    roughness = Roughness.of(observed[some], has_data[some], spectra.sensing(), config)
    levels = np.array([roughness.relative(*each) for each in zip(observed, has_data, strict=True)])
    found = LackingNoise(_kernel(np.sqrt(lacking)), roughness, 1.0, observed, has_data, levels,
                         roughness.peakedness(observed[some], has_data[some]), config)
    found = replace(found, power=roughness.of_noise(found.noise((_LARGE, _LARGE), 0, seed, 1)) ** 2)
    wanted = lacking
    for _ in range(config.trials):
        tried = [image + found.deviation(image, place) * found.noise(image.shape, n, seed, 1)
                 for n, (image, place) in enumerate(zip(filled, places, strict=True))]
        added = _of_noise(np.clip(spectra.of_filled(tried) - there, 0.0, None), config)
        change = np.clip(lacking / np.maximum(added, _LEAST), config.largest_change ** -2, config.largest_change ** 2)
        wanted = wanted * change
        found = replace(found, kernel=_kernel(np.sqrt(wanted)))
    return found


@dataclass(frozen=True)
class _Spectra:
    """Spectra of squares of observed slices, and of those of filled slices at the same places.

    usual: [frequency, frequency] of observed squares with noise, each divided by its own level.
    levels: (filled slice, square, square) of the nearest observed slices; infinite where there is no noise.
    """

    usual: np.ndarray
    levels: np.ndarray
    config: TextureConfig

    @classmethod
    def of(cls, observed: np.ndarray, has_data: np.ndarray, places: Sequence[float], config: TextureConfig
           ) -> _Spectra | None:
        """Measure observed slices; None where they have no noise."""
        nearest = np.clip(np.rint(places).astype(int), 0, len(observed) - 1)
        numbers = sorted({*config.spread(len(observed), observed[0].size), *nearest.tolist()})
        is_fine = _frequencies(config.patch) >= config.detail
        spectra = {number: _spectra(observed[number], config.patch) for number in numbers}
        levels = np.array([spectra[number][..., is_fine].mean(axis=-1) for number in numbers])
        levels *= [_squares(has_data[number], config.patch).all(axis=(-2, -1)) for number in numbers]
        if not (levels > 0.0).any():
            return None
        levels[levels <= config.faint ** 2 * np.median(levels[levels > 0.0])] = np.inf
        structure = np.array([spectra[number][..., ~is_fine].mean(axis=-1) for number in numbers]) / levels
        levels[structure > np.quantile(structure[np.isfinite(levels)], config.plain)] = np.inf
        beside = levels[np.searchsorted(numbers, nearest)]
        if not np.isfinite(beside).any():
            return None
        return cls(_middle(np.array([spectra[number] for number in numbers]), levels), beside, config)

    def of_filled(self, filled: Sequence[np.ndarray]) -> np.ndarray:
        """[frequency, frequency] the usual one of filled slices, each divided by the level of observed ones."""
        return _middle(np.array([_spectra(image, self.config.patch) for image in filled]), self.levels)

    def sensing(self) -> np.ndarray:
        """Amplitude [frequency, frequency] of a filter that keeps the finer half of the noise, as much of each."""
        frequencies = _frequencies(self.config.patch)
        is_noise = frequencies >= self.config.detail
        is_noise &= self.usual >= self.config.noisy * self.usual[is_noise].max()
        is_noise &= frequencies >= np.median(frequencies[is_noise])
        return gaussian_filter(is_noise / np.sqrt(np.maximum(self.usual, _LEAST)), 1.0, mode="wrap")


def _of_noise(power: np.ndarray, config: TextureConfig) -> np.ndarray:
    """Power [frequency, frequency], smooth, without that of structure."""
    ramp = (_frequencies(config.patch) - config.structure) / (config.detail - config.structure)
    share = np.clip(ramp, 0.0, 1.0) ** 2
    smooth: np.ndarray = gaussian_filter(share * power, 1.0, mode="wrap")
    return share * smooth


def _middle(spectra: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The usual one of spectra [..., frequency, frequency] that are divided by their levels."""
    there = np.isfinite(levels)
    # Powers of noise are distributed exponentially, and the median of that is ln 2 of its mean.
    middle: np.ndarray = np.median(spectra[there] / levels[there][:, None, None], axis=0) / math.log(2.0)
    return middle


def _spectra(image: np.ndarray, side: int) -> np.ndarray:
    """[square, square, frequency, frequency] power of overlapping squares; its mean is the variance."""
    from scipy.fft import fft2

    squares = _squares(image, side)
    window = np.hanning(side + 2)[1:-1]
    window /= math.sqrt((window ** 2).mean())
    squares = squares - squares.mean(axis=(-2, -1), keepdims=True)
    spectra: np.ndarray = np.abs(fft2(squares * np.outer(window, window).astype(np.float32))) ** 2 / side ** 2
    return spectra


def _squares(image: np.ndarray, side: int) -> np.ndarray:
    """[square, square, row, column] overlapping squares of an image."""
    return np.lib.stride_tricks.sliding_window_view(image, (side, side))[::side // 2, ::side // 2]


def _frequencies(side: int) -> np.ndarray:
    """[side, side] in any direction, 1 for the highest along an axis."""
    along = 2.0 * np.fft.fftfreq(side)
    return np.hypot(along[:, None], along)


def _kernel(amplitude: np.ndarray) -> np.ndarray:
    """The symmetric kernel of odd side with an amplitude [frequency, frequency]."""
    centred: np.ndarray = np.fft.fftshift(np.fft.ifft2(amplitude).real)[1:, 1:]
    return centred.astype(np.float32)


def _filtered(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.filter2D(image, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)


def _still(image: np.ndarray, radius: int) -> np.ndarray:
    """1 where all pixels around have one value, else 0."""
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return (cv2.dilate(image, square) == cv2.erode(image, square)).astype(np.float32)


def _without_gaps(blocks: np.ndarray) -> np.ndarray:
    """Put the nearest known value where there is NaN, or 0 where none is known."""
    unknown = np.isnan(blocks)
    if unknown.all():
        return np.zeros_like(blocks)
    nearest = distance_transform_edt(unknown, return_distances=False, return_indices=True)
    known: np.ndarray = blocks[tuple(nearest)]
    return known


def _hats(size: int, block: int) -> np.ndarray:
    """[pixel, place]: weights of places `block` pixels apart by which values there are interpolated linearly."""
    count = 1 + -(-size // block)
    distances = np.abs(np.arange(size)[:, None] / block - np.arange(count))
    return np.clip(1.0 - distances, 0.0, None).astype(np.float32)
