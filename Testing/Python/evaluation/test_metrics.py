"""Metrics against values computed by hand, and at their edges."""
from __future__ import annotations

import math

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.foreground import foreground
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.evaluation import metrics
from TriplaneGaussianReconLib.evaluation.comparison import Comparison, ImagePair, LabelPair, SegmentScores
from TriplaneGaussianReconLib.evaluation.scores import all_scores, image_scores

SHAPE = (3, 16, 20)


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(np.float32)


def test_normalise_maps_minimum_and_high_percentile_to_the_unit_interval() -> None:
    volume = np.arange(10001, dtype=np.int16).reshape(1, 1, -1) - 5000
    result = metrics.normalise(volume)
    assert result.dtype == np.float32
    assert result.min() == 0.0
    assert result.max() == 1.0
    assert result[0, 0, 4995] == pytest.approx(0.5)  # the 99.9th percentile is 9990 above the minimum


def test_normalise_of_a_constant_volume_is_zero() -> None:
    assert not metrics.normalise(np.full((2, 3, 4), 7)).any()


def test_psnr_by_hand(truth: np.ndarray) -> None:
    estimate = truth.copy()
    estimate[0] += 0.1  # mean squared error 0.01
    estimate[1, :8] += 0.1  # 0.005
    assert metrics.psnr(truth, estimate) == pytest.approx([20.0, 10 * math.log10(200), 100.0], abs=1e-4)


def test_ssim_of_flat_slices_by_hand() -> None:
    first, second = np.full(SHAPE, 0.5), np.full(SHAPE, 0.6)
    expected = (2 * 0.5 * 0.6 + 0.01 ** 2) / (0.5 ** 2 + 0.6 ** 2 + 0.01 ** 2)  # only the luminance term is left
    assert metrics.ssim(first, second) == pytest.approx([expected] * 3)


def test_ssim_needs_room_for_its_window(truth: np.ndarray) -> None:
    assert metrics.ssim(truth, truth) == pytest.approx([1.0] * 3)
    assert metrics.ssim(truth[:, :11], truth[:, :11]) == pytest.approx([1.0] * 3)
    assert np.isnan(metrics.ssim(truth[:, :10], truth[:, :10])).all()


def test_image_scores_leave_out_blank_slices_and_clip_the_estimate(truth: np.ndarray) -> None:
    truth[1] = 0.009
    truth[2, :8] = 1.0
    estimate = truth + np.float32(0.1)
    scores = image_scores(truth, estimate)
    values = [20.0, -10 * math.log10(np.mean((np.clip(estimate[2], 0, 1) - truth[2]) ** 2))]
    assert scores["slices"].value == 2
    assert scores["psnr"].value == pytest.approx(np.mean(values), abs=1e-4)
    assert scores["psnr"].sd == pytest.approx(np.std(values), abs=1e-4)


def test_image_scores_of_blank_slices_only_are_undefined() -> None:
    scores = image_scores(np.zeros(SHAPE), np.zeros(SHAPE))
    assert scores["slices"].value == 0
    assert math.isnan(scores["psnr"].value)
    assert math.isnan(scores["ssim"].value)


@pytest.mark.parametrize("score", [metrics.psnr, metrics.ssim, image_scores, ImagePair.of])
def test_shapes_must_agree(score, truth: np.ndarray) -> None:
    with pytest.raises(InputError, match="Resample"):
        score(truth, truth[1:])


def test_dice_by_hand() -> None:
    first, second = np.zeros(10, bool), np.zeros(10, bool)
    assert math.isnan(metrics.dice(first, second))
    first[:4] = True
    assert metrics.dice(first, second) == 0.0
    second[2:8] = True
    assert metrics.dice(first, second) == pytest.approx(2 * 2 / (4 + 6))
    assert metrics.dice(first, first) == 1.0


def mean_dice(truth: np.ndarray, estimate: np.ndarray) -> tuple[float, list[float]]:
    """The mean over labels, and the Dice of each label of the truth."""
    per_label = [metrics.dice_of_enough(truth == label, estimate == label) for label in np.unique(truth) if label]
    surface = metrics.SurfaceDistance(1.0, 2.0)
    segments = tuple(SegmentScores("", {"dice": one, "surface": surface}) for one in per_label)
    pair = LabelPair(truth, estimate, np.zeros((10, 3)), segments)
    return all_scores(Comparison(labels=pair))["dice"].value, per_label


def test_only_labels_of_fifty_true_voxels_count() -> None:
    truth = np.zeros((2, 10, 20), np.int16)
    truth[0, 0], truth[1, 0], truth[0, 1, :10] = 3, 3, 3  # 50 voxels
    truth[0, 5], truth[1, 5], truth[0, 6, :9] = 4, 4, 4  # 49
    truth[0, 8], truth[1, 8], truth[0, 9] = 7, 7, 7  # 60, and missing in the estimate
    estimate = np.where(truth == 3, 3, 0)
    estimate[1, 0] = 9  # 20 voxels lost to a label that the truth does not have
    mean, per_label = mean_dice(truth, estimate)
    assert per_label == pytest.approx([2 * 30 / (50 + 30), math.nan, 0.0], nan_ok=True)
    assert mean == pytest.approx(0.375)
    assert math.isnan(mean_dice(np.where(truth == 4, 4, 0), truth)[0])


def test_segments_may_overlap() -> None:
    organ, tumour = np.zeros((2, 10, 10), bool), np.zeros((2, 10, 10), bool)
    organ[:, 1:9, 1:9], tumour[:, 2:8, 2:8] = True, True
    assert metrics.dice_of_enough(organ, organ) == 1.0
    assert metrics.dice_of_enough(tumour, organ) == pytest.approx(2 * 72 / (72 + 128))
    assert math.isnan(metrics.dice_of_enough(~(organ | ~organ), organ))  # an empty segment never counts


def test_surface_distance_between_two_voxels_in_millimetres() -> None:
    first, second = np.zeros((5, 6, 7), bool), np.zeros((5, 6, 7), bool)
    first[1, 1, 1], second[2, 3, 4] = True, True
    distance = metrics.surface_distance(first, second, (3.0, 1.0, 0.5))
    assert distance.mean == distance.percentile_95 == pytest.approx(math.sqrt(3 ** 2 + 2 ** 2 + 1.5 ** 2))


def test_surface_distance_pools_both_directions() -> None:
    first, second = np.zeros((1, 1, 20), bool), np.zeros((1, 1, 20), bool)
    first[..., 0], second[..., :5] = True, True  # flat arrays: every voxel lies on the surface
    distance = metrics.surface_distance(first, second, (1.0, 1.0, 2.0))
    assert distance.mean == pytest.approx((0 + 0 + 2 + 4 + 6 + 8) / 6)
    assert distance.percentile_95 == pytest.approx(np.percentile([0, 0, 2, 4, 6, 8], 95))


def test_surface_is_what_counts_not_the_inside() -> None:
    solid = np.zeros((9, 9, 9), bool)
    solid[1:8, 1:8, 1:8] = True
    hollow = solid.copy()
    hollow[4, 4, 4] = False  # its six neighbours are 3 voxels from the outer surface, less one
    assert metrics.surface_distance(solid, solid, (1.0, 1.0, 1.0)).mean == 0.0
    distance = metrics.surface_distance(solid, hollow, (1.0, 1.0, 1.0))
    shell = 7 ** 3 - 5 ** 3
    assert distance.mean == pytest.approx(6 * 2 / (2 * shell + 6))


def test_surface_distance_to_nothing_is_infinite() -> None:
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    assert metrics.surface_distance(full, empty, (1.0, 1.0, 1.0)).mean == math.inf
    assert metrics.surface_distance(empty, full, (1.0, 1.0, 1.0)).percentile_95 == math.inf
    assert math.isnan(metrics.surface_distance(empty, empty, (1.0, 1.0, 1.0)).mean)


def test_semantic_loss_by_hand() -> None:
    colors = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    truth = np.array([[[0, 1], [2, 2]], [[0, 0], [0, 0]]])
    estimate = np.array([[[0, 0], [1, 2]], [[0, 0], [0, 0]]])
    # One pixel errs by (1, 0, 0), one by (0.5, 0.5, 0); 8 pixels of 3 components.
    assert metrics.semantic_loss(truth, estimate, colors) == pytest.approx((1.0 + 0.5) / 24)
    assert metrics.semantic_loss(truth, truth, colors) == 0.0
    assert math.isnan(metrics.semantic_loss(truth[:0], estimate[:0], colors))


def calibration(truth: np.ndarray, estimate: np.ndarray, expected: np.ndarray, band: float) -> tuple[float, float]:
    """The share of voxels in the band, and the rank correlation."""
    scores = all_scores(Comparison(ImagePair.of(truth, estimate, expected, band)))
    return scores["share_in_band_68"].value, scores["rank_correlation"].value


def body(generator: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Something bright with a margin of nothing."""
    result = np.zeros(shape)
    result[:, 2:-2, 2:-2] = generator.uniform(0.5, 0.7, result[:, 2:-2, 2:-2].shape)
    return result


def test_share_inside_the_band() -> None:
    generator = np.random.default_rng(0)
    truth = body(generator, (40, 50, 60))
    expected = generator.uniform(0.001, 0.02, truth.shape)
    estimate = truth + expected * generator.laplace(size=truth.shape)  # whose absolute values have a mean of 1
    for share in (0.5, 0.68, 0.9):
        found, correlation = calibration(truth, estimate, expected, -math.log(1 - share))
        assert found == pytest.approx(share, abs=0.005)
    assert 0.3 < correlation < 0.8


def test_calibration_by_hand(truth: np.ndarray) -> None:
    truth[1] = 0.0  # blank, does not count
    expected = np.tile(np.linspace(0.001, 0.05, 20), (3, 16, 1))
    estimate = truth + 2.0 * expected
    estimate[:, :4] = truth[:, :4] + 1.1 * expected[:, :4]
    share, correlation_of_both = calibration(truth, estimate, expected, 1.14)
    inside = foreground(truth[::2])
    assert share == inside[:, :4].sum() / inside.sum()
    for error, correlation in ((expected ** 2, 1.0), (0.1 - expected, -1.0)):  # equal ranks differ by rounding
        ranked = calibration(truth, truth + error, expected, 1.0)[1]
        assert ranked == pytest.approx(correlation, abs=0.002)
    assert calibration(truth, estimate, 2.0 * expected, 1.14) == (1.0, pytest.approx(correlation_of_both))


def test_calibration_that_is_undefined(truth: np.ndarray) -> None:
    share, correlation = calibration(truth, truth, np.full(SHAPE, 0.01), 1.0)
    assert share == 1.0
    assert math.isnan(correlation)
    assert all(math.isnan(value) for value in calibration(np.zeros(SHAPE), truth, truth, 1.0))
    with pytest.raises(InputError, match="one shape"):
        calibration(truth, truth, truth[:2], 1.0)


def test_ranks_of_many_voxels_repeat() -> None:
    generator = np.random.default_rng(0)
    truth, expected = body(generator, (110, 100, 100)), generator.uniform(0.01, 0.1, (110, 100, 100))
    estimate = truth + expected * generator.laplace(size=truth.shape)
    first, second = (calibration(truth, estimate, expected, 1.0) for _ in range(2))
    assert first == second
    assert first[1] == pytest.approx(calibration(truth[::2], estimate[::2], expected[::2], 1.0)[1], abs=0.01)
