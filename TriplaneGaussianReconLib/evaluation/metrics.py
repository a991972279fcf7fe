"""How good a reconstruction is: figures that compare an estimate with the truth.

Arrays are stacked as [slice, row, column]; intensities are scored in [0, 1] (see `normalise`).  Every function takes
whichever slices are to be scored, as a rule only those that the reconstruction has not seen.

LPIPS is not among them: the `lpips` package brings its linear weights only, the network under them is a download.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

_BLANK = 0.01  # a slice whose mean is below this holds nothing to score
_SMALLEST_ERROR = 1e-10  # mean squared error; bounds the PSNR of identical slices at 100 dB
_WINDOW = 11  # pixels, the side of scikit-image's Gaussian SSIM window of sigma 1.5
FEWEST_VOXELS = 50  # true voxels that a label must have for its Dice to count
_MOST_RANKED = 10 ** 6  # voxels; more do not change a rank correlation


def normalise(volume: np.ndarray) -> np.ndarray:
    """Map `volume` (any shape) to float32 [0, 1]: minimum -> 0, 99.9th percentile -> 1, clipped."""
    volume = np.asarray(volume, dtype=np.float32)
    low, high = float(volume.min()), float(np.percentile(volume, 99.9))
    return np.clip((volume - low) / max(high - low, 1e-12), 0.0, 1.0)


def has_content(slices: np.ndarray) -> np.ndarray:
    """(P,) bool, which slices of the normalised [slice, row, column] are not blank."""
    return np.array([one.mean() >= _BLANK for one in slices], bool)


def psnr(truth: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """(P,) float64 dB, peak signal-to-noise ratio of each slice for a range of 1; at most 100 dB.

    Raises InputError unless both are [slice, row, column] of one shape.
    """
    _same_shape(truth, estimate)
    errors = [max(float(np.mean((t - e) ** 2)), _SMALLEST_ERROR) for t, e in zip(truth, estimate, strict=True)]
    return -10.0 * np.log10(np.asarray(errors, np.float64))


def ssim(truth: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """(P,) float64, structural similarity of each slice for a range of 1 (Gaussian window, sigma 1.5 pixels).

    NaN where the slices are smaller than the window of 11 x 11 pixels.
    Raises InputError unless both are [slice, row, column] of one shape.
    """
    from skimage.metrics import structural_similarity

    _same_shape(truth, estimate)
    if min(truth.shape[1:]) < _WINDOW:
        return np.full(len(truth), np.nan)
    return np.array([structural_similarity(t, e, data_range=1.0, gaussian_weights=True, sigma=1.5,
                                           use_sample_covariance=False)
                     for t, e in zip(truth, estimate, strict=True)], np.float64)


@dataclass(frozen=True)
class ImageScores:
    """Mean and standard deviation over `slices` slices; NaN if there are none.  PSNR in dB."""

    psnr: float
    psnr_sd: float
    ssim: float
    ssim_sd: float
    slices: int


def image_scores(truth: np.ndarray, estimate: np.ndarray) -> ImageScores:
    """Score `estimate`, clipped to [0, 1], against the normalised `truth`; slices that are blank in it do not count.

    Raises InputError unless both are [slice, row, column] of one shape.
    """
    _same_shape(truth, estimate)
    scored = has_content(truth)
    if not scored.any():
        return ImageScores(np.nan, np.nan, np.nan, np.nan, 0)
    truth, estimate = truth[scored], np.clip(estimate[scored], 0.0, 1.0)
    noise, similarity = psnr(truth, estimate), ssim(truth, estimate)
    return ImageScores(float(noise.mean()), float(noise.std()), float(similarity.mean()), float(similarity.std()),
                       len(truth))


@dataclass(frozen=True)
class CalibrationScores:
    """How well the expected absolute error tells the real one; NaN if there are no slices.

    band_68: share of the voxels whose error lies inside the 68 % band; 0.68 is right, more is too cautious.
    rank_correlation: Spearman's, of expected and real error; NaN if either is the same everywhere.
    """

    band_68: float
    rank_correlation: float


def calibration_scores(truth: np.ndarray, estimate: np.ndarray, expected: np.ndarray, band: float
                       ) -> CalibrationScores:
    """Compare the `expected` absolute error with that of `estimate`, on the slices that `image_scores` counts.

    truth: normalised; expected: in its units.  All are [slice, row, column].  band: half-width of the 68 % band, in
    expected errors.
    Raises InputError unless they have one shape.
    """
    from scipy.stats import spearmanr

    _same_shape(truth, estimate)
    _same_shape(truth, expected)
    scored = has_content(truth)
    error, expected = np.abs(np.clip(estimate[scored], 0.0, 1.0) - truth[scored]).ravel(), expected[scored].ravel()
    if not len(error):
        return CalibrationScores(np.nan, np.nan)
    inside = float(np.mean(error <= band * expected))
    if len(error) > _MOST_RANKED:
        some = np.random.default_rng(0).choice(len(error), _MOST_RANKED, replace=False)
        error, expected = error[some], expected[some]
    constant = np.ptp(error) == 0 or np.ptp(expected) == 0
    return CalibrationScores(inside, np.nan if constant else float(spearmanr(error, expected).statistic))


def dice(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Overlap of two boolean masks of one shape: 1 identical, 0 disjoint, NaN if both are empty."""
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(estimate))
    return 2.0 * int(np.count_nonzero(truth & estimate)) / total if total else np.nan


@dataclass(frozen=True)
class LabelScores:
    """Dice per label (or segment) number, and the mean of these; NaN if no label was large enough to count."""

    dice: float
    per_label: dict[int, float]


def label_scores(truth: np.ndarray, estimate: np.ndarray, minimum_voxels: int = FEWEST_VOXELS) -> LabelScores:
    """Dice per label value over all slices taken together; background (0) does not count.

    truth, estimate: [slice, row, column] integer.  Labels of fewer than `minimum_voxels` true voxels are left out.
    Raises InputError unless both have one shape.
    """
    _same_shape(truth, estimate)
    return segment_scores(((int(label), truth == label, estimate == label) for label in np.unique(truth) if label),
                          minimum_voxels)


def segment_scores(masks: Iterable[tuple[int, np.ndarray, np.ndarray]],
                   minimum_voxels: int = FEWEST_VOXELS) -> LabelScores:
    """Dice per segment, for segments that may overlap.

    masks: (segment number, true mask, estimated mask), boolean, consumed one by one so that few are in memory.
    Segments of fewer than `minimum_voxels` true voxels are left out.
    """
    per_label = {number: dice(truth, estimate) for number, truth, estimate in masks
                 if np.count_nonzero(truth) >= max(minimum_voxels, 1)}
    return LabelScores(float(np.mean(list(per_label.values()))) if per_label else np.nan, per_label)


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances in mm between two surfaces, taken from each to the other: their mean and 95th percentile.

    NaN if both masks are empty, infinite if one is.
    """

    mean: float
    percentile_95: float


def surface_distance(truth: np.ndarray, estimate: np.ndarray, spacing: tuple[float, ...]) -> SurfaceDistance:
    """Mean symmetric surface distance and 95 % Hausdorff distance of two boolean masks.

    spacing: mm along each array axis.  A surface is the set of mask voxels with a face neighbour outside the mask or
    outside the array; distances run between voxel centres.  Those from the truth to the estimate and back are pooled,
    so that each surface counts by its number of voxels.
    Raises InputError unless both have one shape.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    _same_shape(truth, estimate)
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
    """Mean squared error of two label images mapped to colours; the mean runs over pixels and colour components.

    The paper defines its semantic loss no further, so the figure depends on the colours and only compares methods that
    are scored with the same ones.
    truth, estimate: [slice, row, column] integer, label numbers.  colors: (L, 3) RGB in [0, 1], one row per number.
    NaN without slices.  Raises InputError unless both have one shape.
    """
    _same_shape(truth, estimate)
    if not len(truth):
        return np.nan
    return float(np.mean([np.mean((colors[t] - colors[e]) ** 2) for t, e in zip(truth, estimate, strict=True)]))


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box around all true voxels; there is at least one."""
    box = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(n for n in range(mask.ndim) if n != axis)))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(box)


def _same_shape(truth: np.ndarray, estimate: np.ndarray) -> None:
    if truth.ndim != 3 or truth.shape != estimate.shape:
        raise InputError(f"Truth {truth.shape} and estimate {estimate.shape} must be stacks [slice, row, column] of "
                         "one shape. Resample the estimate to the truth's grid.")
