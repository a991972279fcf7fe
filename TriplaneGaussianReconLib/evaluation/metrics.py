"""Metrics: numbers that compare an estimate with the truth.

Arrays are stacked as [slice, row, column]; intensities are in [0, 1], see `normalise`.  Every function takes the slices
that are to be scored, as a rule those that the reconstruction has not seen.  `scores` says which metrics an evaluation
computes, and how they are shown.

LPIPS is not among them: it needs weights that would have to be downloaded.  `lpips` computes it for who has them.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

FEWEST_VOXELS = 50  # true voxels that a segment must have for its Dice to count

_BLANK = 0.01  # a slice whose mean is below this holds nothing to score
_SMALLEST_ERROR = 1e-10  # mean squared error; bounds the PSNR of identical slices at 100 dB
_WINDOW = 11  # pixels, the side of scikit-image's Gaussian SSIM window of sigma 1.5
_MOST_RANKED = 10 ** 6  # voxels; more do not change a rank correlation


def normalise(volume: np.ndarray) -> np.ndarray:
    """Map intensities to [0, 1]: the minimum to 0, the 99.9th percentile to 1, clipped.

    Args:
        volume: Any shape and number type.

    Returns:
        float32, of the same shape.

    Example:
        >>> normalise(np.array([-1000, 0, 1000])).round(3).tolist()
        [0.0, 0.5009999871253967, 1.0]
    """
    volume = np.asarray(volume, dtype=np.float32)
    low, high = float(volume.min()), float(np.percentile(volume, 99.9))
    return np.clip((volume - low) / max(high - low, 1e-12), 0.0, 1.0)


def has_content(slices: np.ndarray) -> np.ndarray:
    """Tell which slices are not blank.

    Args:
        slices: [slice, row, column], normalised.

    Returns:
        (P,) bool.
    """
    return np.array([one.mean() >= _BLANK for one in slices], bool)


def psnr(truth: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each slice, for a range of 1.

    Args:
        truth: [slice, row, column], normalised.
        estimate: The same shape.

    Returns:
        (P,) float64, dB; at most 100.

    Raises:
        InputError: The arrays are not [slice, row, column] of one shape.
    """
    check_shapes(truth, estimate)
    errors = [max(float(np.mean((t - e) ** 2)), _SMALLEST_ERROR) for t, e in zip(truth, estimate, strict=True)]
    return -10.0 * np.log10(np.asarray(errors, np.float64))


def ssim(truth: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Structural similarity of each slice (Wang et al. 2004), for a range of 1 and a Gaussian window of sigma 1.5.

    Args:
        truth: [slice, row, column], normalised.
        estimate: The same shape.

    Returns:
        (P,) float64; NaN where the slices are smaller than the window of 11 x 11 pixels.

    Raises:
        InputError: The arrays are not [slice, row, column] of one shape.
    """
    from skimage.metrics import structural_similarity

    check_shapes(truth, estimate)
    if min(truth.shape[1:]) < _WINDOW:
        return np.full(len(truth), np.nan)
    return np.array([structural_similarity(t, e, data_range=1.0, gaussian_weights=True, sigma=1.5,
                                           use_sample_covariance=False)
                     for t, e in zip(truth, estimate, strict=True)], np.float64)


def share_in_band(error: np.ndarray, expected: np.ndarray, band: float) -> float:
    """Share of the voxels whose error is at most `band` times the expected one.

    Args:
        error: (V,) absolute error.
        expected: (V,) the absolute error that the method expects.
        band: For a 68 % band, a share of 0.68 is right; more is too cautious.

    Returns:
        The share, 0 to 1; NaN without voxels.
    """
    return float(np.mean(error <= band * expected)) if len(error) else np.nan


def rank_correlation(error: np.ndarray, expected: np.ndarray) -> float:
    """Spearman's rank correlation of real and expected error.

    Args:
        error: (V,) absolute error.
        expected: (V,) the absolute error that the method expects.

    Returns:
        -1 to 1; NaN without voxels, or if either is the same everywhere.  Of more than a million voxels, a random
        million (always the same) is ranked.
    """
    from scipy.stats import spearmanr

    if len(error) > _MOST_RANKED:
        some = np.random.default_rng(0).choice(len(error), _MOST_RANKED, replace=False)
        error, expected = error[some], expected[some]
    if not len(error) or np.ptp(error) == 0 or np.ptp(expected) == 0:
        return np.nan
    return float(spearmanr(error, expected).statistic)


def dice(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Overlap of two masks.

    Args:
        truth: bool, any shape.
        estimate: bool, the same shape.

    Returns:
        1 identical, 0 disjoint, NaN if both are empty.

    Example:
        >>> dice(np.array([True, True, False]), np.array([True, False, False]))
        0.6666666666666666
    """
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(estimate))
    return 2.0 * int(np.count_nonzero(truth & estimate)) / total if total else np.nan


def dice_of_enough(truth: np.ndarray, estimate: np.ndarray) -> float:
    """As `dice`, but NaN for a segment of fewer than `FEWEST_VOXELS` true voxels, whose Dice is mostly chance."""
    return dice(truth, estimate) if np.count_nonzero(truth) >= FEWEST_VOXELS else np.nan


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances in mm between two surfaces, taken from each to the other; NaN if both are empty, infinite if one is.

    Attributes:
        mean: Mean symmetric surface distance.
        percentile_95: 95 % Hausdorff distance.
    """

    mean: float
    percentile_95: float


def surface_distance(truth: np.ndarray, estimate: np.ndarray, spacing: tuple[float, ...]) -> SurfaceDistance:
    """Mean symmetric surface distance and 95 % Hausdorff distance of two masks.

    The surface is the set of mask voxels with a face neighbour outside the mask or outside the array; distances run
    between voxel centres.  Distances from truth to estimate and back are pooled, so that each surface counts by its
    number of voxels.

    Args:
        truth: [slice, row, column] bool.
        estimate: The same shape.
        spacing: mm along each array axis.

    Raises:
        InputError: The arrays are not [slice, row, column] of one shape.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    check_shapes(truth, estimate)
    if not truth.any() or not estimate.any():
        missing = np.inf if truth.any() or estimate.any() else np.nan
        return SurfaceDistance(missing, missing)
    box = _bounding_box(truth | estimate)
    masks = [mask[box] for mask in (truth, estimate)]
    surfaces = [mask & ~binary_erosion(mask) for mask in masks]
    distances = np.concatenate([distance_transform_edt(~other, sampling=spacing)[surface]
                                for surface, other in (surfaces, surfaces[::-1])])
    return SurfaceDistance(float(distances.mean()), float(np.percentile(distances, 95)))


def semantic_loss(truth: np.ndarray, estimate: np.ndarray, colors: np.ndarray) -> float:
    """Mean squared error, over pixels and colour components, of two label images mapped to colours.

    The InnerGS paper defines its semantic loss no further.  So the number depends on the colours, and only compares
    methods that are scored with the same ones.

    Args:
        truth: [slice, row, column] integer, label numbers.
        estimate: The same shape.
        colors: (L, 3) RGB in [0, 1], one row per label number.

    Returns:
        The loss; NaN without slices.

    Raises:
        InputError: The arrays are not [slice, row, column] of one shape.
    """
    check_shapes(truth, estimate)
    if not len(truth):
        return np.nan
    return float(np.mean([np.mean((colors[t] - colors[e]) ** 2) for t, e in zip(truth, estimate, strict=True)]))


def check_shapes(truth: np.ndarray, estimate: np.ndarray) -> None:
    """Raise InputError unless both are [slice, row, column] of one shape."""
    if truth.ndim != 3 or truth.shape != estimate.shape:
        raise InputError(f"Truth {truth.shape} and estimate {estimate.shape} must be stacks [slice, row, column] of "
                         "one shape. Resample the estimate to the truth's grid.")


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box around all true voxels; there is at least one."""
    box = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(n for n in range(mask.ndim) if n != axis)))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(box)
