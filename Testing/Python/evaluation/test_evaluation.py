"""The evaluation is fair: no leaks, costs measured, failures stay local."""
from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest
from evaluation_case import (
    BAND,
    EXPECTED,
    HIDDEN,
    KEEP,
    LARGE,
    delegating,
    greedy,
    in_unit_range,
    moving_case,
    row,
    seen,
)
from posix_case import POSIX, room_for

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError, OutputError
from TriplaneGaussianReconLib.evaluation import baselines, metrics
from TriplaneGaussianReconLib.evaluation.child_process import run_method
from TriplaneGaussianReconLib.evaluation.comparison import Comparison, ImagePair
from TriplaneGaussianReconLib.evaluation.evaluate import evaluate
from TriplaneGaussianReconLib.evaluation.methods import BASELINES, baseline_names
from TriplaneGaussianReconLib.evaluation.peak_memory import peak_memory
from TriplaneGaussianReconLib.evaluation.report import EvaluationReport
from TriplaneGaussianReconLib.evaluation.scores import all_scores, image_scores
from TriplaneGaussianReconLib.evaluation.truth import segment_colors


def value(report: EvaluationReport, method: str, metric: str) -> float:
    return row(report, method).scores[metric].value


def test_scores_are_those_of_the_held_out_slices(report: EvaluationReport) -> None:
    image, segmentation = moving_case()
    assert report.held_out == tuple(HIDDEN)
    truth = metrics.normalise(image.array)
    filled = baselines.linear(np.array(KEEP.indices), truth[::4], np.arange(9))
    expected = image_scores(truth[HIDDEN], filled[HIDDEN])
    assert set(expected) == {"psnr", "ssim", "slices"}
    assert {name: row(report, "linear").scores[name] for name in expected} == expected
    ball = segmentation.layers[0]
    copied = baselines.nearest(np.array(KEEP.indices), ball[::4], np.arange(9))
    ball_score, core_score = row(report, "label-nearest").segments
    assert (ball_score.name, core_score.name) == ("ball", "core")
    assert ball_score.dice == metrics.dice(ball[HIDDEN] == 1, copied[HIDDEN] == 1)
    assert ball_score.scores["surface"] == metrics.surface_distance(ball == 1, copied == 1, (2.5, 0.8, 0.8))
    assert value(report, "label-nearest", "dice") == pytest.approx((ball_score.dice + core_score.dice) / 2)


def test_image_methods_have_no_label_scores_and_the_other_way_round(report: EvaluationReport) -> None:
    costs = {"seconds", "peak_memory_bytes"}
    assert set(row(report, "linear").scores) - costs == {"psnr", "ssim", "slices"}
    assert set(row(report, "label-shape").scores) - costs == {"dice", "semantic_loss", "surface_mm", "surface_95_mm"}
    for name, other in (("psnr", "linear"), ("ssim", "linear"), ("slices", "linear"), ("dice", "label-shape"),
                        ("semantic_loss", "label-shape")):
        assert row(report, "careful").scores[name] == row(report, other).scores[name]
    assert value(report, "careful", "semantic_loss") > 0


def test_expected_errors_are_scored_against_real_ones(report: EvaluationReport) -> None:
    truth = metrics.normalise(moving_case()[0].array)
    filled = baselines.linear(np.array(KEEP.indices), truth[::4], np.arange(9))
    wanted = all_scores(Comparison(ImagePair.of(truth[HIDDEN], filled[HIDDEN], EXPECTED[HIDDEN], BAND)))
    for name in ("share_in_band_68", "rank_correlation"):
        assert row(report, "careful").scores[name] == wanted[name]
        assert name not in row(report, "linear").scores


def test_another_axis_gives_the_same_scores(report: EvaluationReport) -> None:
    image, _ = moving_case()
    turned = np.ascontiguousarray(image.array.transpose(1, 2, 0))
    along_i = evaluate(Image(turned, Grid(turned.shape)), None, "i", KEEP, ["linear"])
    for name in ("psnr", "ssim"):
        assert along_i.rows[0].scores[name].value == pytest.approx(value(report, "linear", name), abs=1e-4)


def test_methods_get_observed_slices_only() -> None:
    image, segmentation = moving_case()
    outcome = run_method(seen, in_unit_range(image), segmentation, "k", KEEP)
    assert outcome.result.volume is not None
    assert outcome.result.layers is not None
    assert outcome.result.volume[::4].all()
    assert not outcome.result.volume[HIDDEN].any()
    assert not outcome.result.layers[:, HIDDEN].any()
    np.testing.assert_array_equal(outcome.result.layers[:, ::4], segmentation.layers[:, ::4])


@pytest.mark.parametrize("method", ["cubic", "label-shape"])
def test_noise_in_hidden_slices_changes_no_bit(method: str) -> None:
    image, segmentation = moving_case()
    image = in_unit_range(image)
    generator = np.random.default_rng(2)
    noisy, noisy_layers = image.array.copy(), segmentation.layers.copy()
    noisy[HIDDEN] = generator.normal(size=noisy[HIDDEN].shape)
    noisy_layers[:, HIDDEN] = generator.integers(0, 9, noisy_layers[:, HIDDEN].shape)
    first = run_method(BASELINES[method], image, segmentation, "k", KEEP).result
    second = run_method(BASELINES[method], Image(noisy, image.grid),
                 Segmentation(noisy_layers, segmentation.segments, image.grid), "k", KEEP).result
    for one, other in ((first.volume, second.volume), (first.layers, second.layers)):
        assert (one is None) == (other is None)
        assert one is None or one.tobytes() == other.tobytes()  # type: ignore[union-attr]


def test_failures_leave_their_rows_out(report: EvaluationReport) -> None:
    assert [one.name for one in report.rows if one.failure] == ["failing", "crashing", "misshapen", "hollow", "unsure"]
    assert row(report, "failing").failure == "ValueError: no [such] thing"
    assert "exit code 3" in str(row(report, "crashing").failure)
    assert "(8, 24, 28)" in str(row(report, "misshapen").failure)
    assert "not finite" in str(row(report, "hollow").failure)
    assert "expected error it returned (9, 23, 28)" in str(row(report, "unsure").failure)


@POSIX
def test_a_full_disk_is_told() -> None:
    image = in_unit_range(moving_case()[0])
    observed, whole = 3 * image.array[0].nbytes + 128, image.array.nbytes + 128
    with room_for(observed - 1), pytest.raises(OutputError, match="observed.npy' was not written"):
        run_method(BASELINES["linear"], image, None, "k", KEEP)
    with room_for(whole - 1):  # the method's process has that limit too
        assert "volume.npy' was not written" in str(run_method(BASELINES["linear"], image, None, "k", KEEP).failure)


def test_peak_memory_is_the_methods_own() -> None:
    image = in_unit_range(moving_case()[0])
    np.ones(LARGE, np.uint8)  # what this process once held must not count
    modest = run_method(BASELINES["linear"], image, None, "k", KEEP)
    large = run_method(partial(greedy, size=LARGE), image, None, "k", KEEP)
    delegated = run_method(delegating, image, None, "k", KEEP)
    assert modest.seconds is not None
    assert modest.seconds < 1.0
    if peak_memory() is None:
        assert modest.peak_memory is large.peak_memory is None
        return
    assert modest.peak_memory is not None
    assert large.peak_memory is not None
    assert 10_000_000 < modest.peak_memory < LARGE < large.peak_memory < 2 * LARGE
    assert delegated.peak_memory is not None
    assert sys.platform == "win32" or LARGE < delegated.peak_memory < 2 * LARGE


def test_best_methods(report: EvaluationReport) -> None:
    assert report.best("image", baselines=False) is report.best("labels", baselines=False) is row(report, "careful")
    assert report.best("image", baselines=True) is row(report, "linear")
    assert report.best("labels", baselines=True) is row(report, "label-shape")


def test_baselines_fit_the_case() -> None:
    assert baseline_names(labels=False) == ["nearest", "linear", "cubic", "pchip", "flow"]
    assert set(baseline_names(labels=True)) == set(BASELINES)


@pytest.mark.parametrize(("change", "message"), [
    ({"methods": ["linear", "magic"]}, "Unknown method 'magic'"),
    ({"methods": ["label-shape"], "segmentation": None}, "fills labels only"),
    ({"selection": Selection.every(9, 1)}, "nothing to score"),
    ({"selection": Selection((3, 4, 5), 9)}, "nothing to score"),
    ({"selection": Selection.every(9, 9)}, "At least two"),
    ({"selection": Selection.every(24, 4)}, "axis k has 9"),
])
def test_bad_requests_say_what_to_do(change: dict, message: str) -> None:
    image, segmentation = moving_case()
    request = {"segmentation": segmentation, "axis": "k", "selection": KEEP, "methods": ["linear"], **change}
    with pytest.raises(InputError, match=message):
        evaluate(image, **request)


def test_truth_must_be_finite() -> None:
    image, _ = moving_case()
    array = image.array.astype(np.float32)
    array[1, 2, 3] = np.nan  # on a hidden slice
    with pytest.raises(InputError, match="NaN"):
        evaluate(Image(array, image.grid), None, "k", KEEP, ["linear"])


def test_what_is_shown_is_part_of_a_plane_of_the_truth_and_of_each_method(report: EvaluationReport) -> None:
    image, segmentation = moving_case()
    shown, normalised = report.shown, metrics.normalise(image.array)
    np.testing.assert_array_equal(shown.truth, shown.view.of(normalised))
    np.testing.assert_array_equal(shown.labels, shown.view.of(segmentation.layers[0] + segmentation.layers[1]))
    copied = normalised[[0, 0, 0, 4, 4, 4, 4, 8, 8]]  # of two slices that are as near, the first
    np.testing.assert_array_equal(shown.kept, shown.view.of(copied))
    np.testing.assert_array_equal(row(report, "nearest").picture, shown.kept)
    assert shown.view.axis != "k" and (shown.hidden.any(axis=1) == shown.hidden.all(axis=1)).all()


def test_colors_are_the_segments_own_or_distinct() -> None:
    own = (0.2, 0.4, 0.6)
    colors = segment_colors([Segment("a", 1, color=own), *(Segment("b", n) for n in range(2, 60))])
    assert colors.shape == (60, 3)
    assert not colors[0].any()
    assert tuple(colors[1]) == own
    assert len(np.unique(colors.round(3), axis=0)) == 60
    assert colors.min() >= 0
    assert colors.max() <= 1
