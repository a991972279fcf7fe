"""The peers fill what they should, and the evaluation is fair: no leaks, costs measured, failures stay local."""
from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from TriplaneGaussianReconLib import classical, evaluation, metrics
from TriplaneGaussianReconLib.errors import InputError, ReconstructionError
from TriplaneGaussianReconLib.evaluation import CLASSICAL, Estimate, Report, Row, default_methods, evaluate, run
from TriplaneGaussianReconLib.geometry import Axis, Grid
from TriplaneGaussianReconLib.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.selection import Selection

SHAPE = (9, 24, 28)
KEEP = Selection.every(9, 4)
HIDDEN = [1, 2, 3, 5, 6, 7]
LARGE = 256_000_000  # bytes
EXPECTED = np.broadcast_to(np.linspace(0.001, 0.1, SHAPE[2], dtype=np.float32), SHAPE)


# ------------------------------------------------------------------------------- methods that run in other processes


def careful(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> Estimate:
    """A stand-in for a preset: fills image and labels, and expects errors that grow along i."""
    volume = CLASSICAL["linear"](image, segmentation, axis, selection).volume
    layers = CLASSICAL["label-shape"](image, segmentation, axis, selection).layers if segmentation else None
    return Estimate(volume, layers, EXPECTED)


def seen(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> Estimate:
    return Estimate(np.isfinite(image.array), segmentation.layers if segmentation else None)


def greedy(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection, size: int) -> Estimate:
    return Estimate(np.zeros(image.grid.shape) + np.ones(size, np.uint8)[0])


def failing(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> Estimate:
    raise ValueError("no [such] thing")


def crashing(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> Estimate:
    os._exit(3)


def misshapen(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> Estimate:
    return Estimate(image.array[1:])


def unsure(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> Estimate:
    return Estimate(np.zeros(image.grid.shape), None, EXPECTED[:, 1:])


def delegating(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> Estimate:
    """Leaves the work to a program."""
    subprocess.run([sys.executable, "-c", f"held = b'1' * {LARGE}"], check=True)
    return Estimate(np.zeros(image.grid.shape))


def hollow(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> Estimate:
    return Estimate(image.array)


# -------------------------------------------------------------------------------------------------------------- case


def moving_case() -> tuple[Image, Segmentation]:
    """A ball that moves through the slices over a smooth background; two overlapping segments."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    ball = np.hypot(j - 9 - 0.6 * k, i - 12) < 6
    core = np.hypot(j - 9 - 0.6 * k, i - 12) < 4
    noise = np.random.default_rng(1).normal(0, 8, SHAPE)
    array = (300 + 20 * i + 500 * ball + noise).astype(np.int16)
    grid = Grid(SHAPE, spacing=(0.8, 0.8, 2.5), direction=((-1, 0, 0), (0, -1, 0), (0, 0, 1)))
    segments = (Segment("ball", 1, color=(0.0, 0.5, 0.0)), Segment("core", 1, layer=1))
    return Image(array, grid), Segmentation(np.stack([ball, core]).astype(np.uint8), segments, grid)


@pytest.fixture(scope="module")
def report() -> Report:
    image, segmentation = moving_case()
    presets = {"careful": careful, "failing": failing, "crashing": crashing, "misshapen": misshapen, "hollow": hollow,
               "unsure": unsure}
    methods = ["nearest", "linear", "label-nearest", "label-shape", *presets]
    return evaluate(image, segmentation, "k", KEEP, methods, presets)


def row(report: Report, name: str) -> Row:
    return next(row for row in report.rows if row.name == name)


# ------------------------------------------------------------------------------------------------- classical methods

UNEVEN = np.array([0.0, 1.0, 4.0, 9.0])
WANTED = np.array([0.0, 0.5, 2.0, 4.0, 8.0])


def polynomial(positions: np.ndarray, degree: int) -> np.ndarray:
    return (0.1 * (positions / 9) ** degree)[:, None, None] * np.ones((1, 12, 13), np.float32)


@pytest.mark.parametrize(("name", "degree"), [("linear", 1), ("cubic", 3), ("pchip", 1), ("flow", 1)])
def test_interpolators_reproduce_their_polynomials_at_uneven_positions(name: str, degree: int) -> None:
    filled = classical.IMAGE_METHODS[name](UNEVEN, polynomial(UNEVEN, degree).astype(np.float32), WANTED)
    assert filled.dtype == np.float32
    np.testing.assert_allclose(filled, polynomial(WANTED, degree), atol=1e-6)


def test_pchip_does_not_overshoot() -> None:
    step = np.repeat(np.array([0, 0, 1, 1], np.float32), 4).reshape(4, 2, 2)
    filled = classical.pchip(np.arange(4), step, np.linspace(0, 3, 31))
    assert filled.min() >= 0
    assert filled.max() <= 1
    assert classical.cubic(np.arange(4), step, np.linspace(0, 3, 31)).min() < 0


def test_nearest_prefers_the_earlier_of_two_equally_near() -> None:
    slices = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    filled = classical.nearest(UNEVEN, slices, np.array([0.5, 2.5, 2.6, 6.4, 6.5, 6.6]))
    assert filled.dtype == np.uint8
    assert filled[:, 0, 0].tolist() == [0, 1, 2, 2, 2, 3]


@pytest.mark.parametrize("name", classical.IMAGE_METHODS)
def test_ends_are_repeated_beyond_the_slices(name: str) -> None:
    slices = np.random.default_rng(0).uniform(size=(3, 12, 13)).astype(np.float32)
    filled = classical.IMAGE_METHODS[name](np.array([2, 4, 6]), slices, np.arange(9))
    np.testing.assert_allclose(filled[[0, 1, 2, 6, 7, 8]], slices[[0, 0, 0, 2, 2, 2]], atol=1e-6)


def test_flow_follows_what_moves() -> None:
    rows, columns = np.meshgrid(np.arange(40), np.arange(40), indexing="ij")
    blobs = np.stack([np.exp(-((rows - 16 - m) ** 2 + (columns - 20) ** 2) / 40) for m in (0, 2, 4)]).astype(np.float32)
    errors = [np.abs(classical.IMAGE_METHODS[name](np.array([0, 2]), blobs[::2], np.array([1]))[0] - blobs[1]).max()
              for name in ("flow", "linear")]
    assert errors[0] < 0.5 * errors[1]


def disc(radius: float) -> np.ndarray:
    rows, columns = np.meshgrid(np.arange(31) - 15, np.arange(31) - 15, indexing="ij")
    return 5 * (np.hypot(rows, columns) < radius).astype(np.int32)


def test_shape_interpolation_grows_a_disc_steadily() -> None:
    filled = classical.shape(np.array([0, 1, 4]), np.stack([disc(3), disc(4), disc(10)]), np.arange(5))
    assert filled.dtype == np.int32
    for filled_slice, radius in zip(filled, (3, 4, 6, 8, 10), strict=True):
        assert metrics.dice(filled_slice > 0, disc(radius) > 0) > 0.9


def test_shape_interpolation_ends_a_label_part_of_the_way() -> None:
    filled = classical.shape(np.array([0, 10]), np.stack([disc(8), disc(0)]), np.arange(11))
    areas = np.count_nonzero(filled, axis=(1, 2))
    assert areas[1] > 0
    assert areas[9] == 0


def test_contour_interpolation_in_its_own_process() -> None:
    pytest.importorskip("itk")
    filled = classical.contour(np.array([1, 3, 6]), np.stack([disc(5), disc(7), disc(10)]), np.arange(8))
    assert filled.dtype == np.int32
    assert set(np.unique(filled)) == {0, 5}
    np.testing.assert_array_equal(filled[[0, 1, 3, 6, 7]], [disc(r) for r in (5, 5, 7, 10, 10)])
    areas = (filled > 0).sum(axis=(1, 2))
    assert (np.diff(areas) >= 0).all()
    assert areas[3] < areas[5]


def test_contour_interpolation_without_its_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "itk", None)
    with pytest.raises(ReconstructionError, match="itk-morphologicalcontourinterpolation"):
        classical.contour_in_this_process(np.array([0, 2]), np.stack([disc(3), disc(5)]), np.arange(3))


@pytest.mark.parametrize("name", classical.IMAGE_METHODS)
@pytest.mark.parametrize("positions", [[0], [0, 0], [2, 1], [0, 1, 2]])
def test_positions_must_fit_the_slices(name: str, positions: list[int]) -> None:
    slices = np.zeros((min(len(positions), 2), 12, 12), np.float32)
    with pytest.raises(InputError, match="ascending"):
        classical.IMAGE_METHODS[name](np.array(positions), slices, np.arange(3))


# -------------------------------------------------------------------------------------------------------- evaluation


def test_scores_are_those_of_the_held_out_slices(report: Report) -> None:
    image, segmentation = moving_case()
    assert report.held_out == tuple(HIDDEN)
    truth = metrics.normalise(image.array)
    filled = classical.linear(np.array(KEEP.indices), truth[::4], np.arange(9))
    assert row(report, "linear").image == metrics.image_scores(truth[HIDDEN], filled[HIDDEN])
    ball = segmentation.layers[0]
    copied = classical.nearest(np.array(KEEP.indices), ball[::4], np.arange(9))
    ball_score, core_score = row(report, "label-nearest").segments
    assert (ball_score.name, core_score.name) == ("ball", "core")
    assert ball_score.dice == metrics.label_scores(ball[HIDDEN], copied[HIDDEN]).per_label[1]
    assert ball_score.surface == metrics.surface_distance(ball == 1, copied == 1, (2.5, 0.8, 0.8))
    assert row(report, "label-nearest").dice == pytest.approx((ball_score.dice + core_score.dice) / 2)


def test_image_methods_have_no_label_scores_and_the_other_way_round(report: Report) -> None:
    assert row(report, "linear").dice is None
    assert row(report, "linear").semantic_loss is None
    assert row(report, "label-shape").image is None
    careful_row = row(report, "careful")
    assert careful_row.image == row(report, "linear").image
    assert careful_row.dice == row(report, "label-shape").dice
    assert careful_row.semantic_loss is not None
    assert careful_row.semantic_loss == row(report, "label-shape").semantic_loss
    assert careful_row.semantic_loss > 0


def test_expected_errors_are_scored_against_real_ones(report: Report) -> None:
    truth = metrics.normalise(moving_case()[0].array)
    filled = classical.linear(np.array(KEEP.indices), truth[::4], np.arange(9))
    wanted = metrics.calibration_scores(truth[HIDDEN], filled[HIDDEN], EXPECTED[HIDDEN])
    assert (row(report, "careful").band_68, row(report, "careful").rank_correlation) == (
        wanted.band_68, wanted.rank_correlation)
    assert row(report, "linear").band_68 is row(report, "linear").rank_correlation is None


def test_another_axis_gives_the_same_scores(report: Report) -> None:
    image, _ = moving_case()
    turned = np.ascontiguousarray(image.array.transpose(1, 2, 0))
    along_i = evaluate(Image(turned, Grid(turned.shape)), None, "i", KEEP, ["linear"])
    expected = row(report, "linear").image
    scores = along_i.rows[0].image
    assert expected is not None
    assert scores is not None
    assert (scores.psnr, scores.ssim) == pytest.approx((expected.psnr, expected.ssim), abs=1e-4)


def test_methods_get_trusted_slices_only() -> None:
    image, segmentation = moving_case()
    outcome = run(seen, image_in_unit_range(image), segmentation, "k", KEEP)
    assert outcome.estimate.volume is not None
    assert outcome.estimate.layers is not None
    assert outcome.estimate.volume[::4].all()
    assert not outcome.estimate.volume[HIDDEN].any()
    assert not outcome.estimate.layers[:, HIDDEN].any()
    np.testing.assert_array_equal(outcome.estimate.layers[:, ::4], segmentation.layers[:, ::4])


@pytest.mark.parametrize("method", ["cubic", "label-shape"])
def test_noise_in_hidden_slices_changes_no_bit(method: str) -> None:
    image, segmentation = moving_case()
    image = image_in_unit_range(image)
    generator = np.random.default_rng(2)
    noisy, noisy_layers = image.array.copy(), segmentation.layers.copy()
    noisy[HIDDEN] = generator.normal(size=noisy[HIDDEN].shape)
    noisy_layers[:, HIDDEN] = generator.integers(0, 9, noisy_layers[:, HIDDEN].shape)
    first = run(CLASSICAL[method], image, segmentation, "k", KEEP).estimate
    second = run(CLASSICAL[method], Image(noisy, image.grid),
                 Segmentation(noisy_layers, segmentation.segments, image.grid), "k", KEEP).estimate
    for one, other in ((first.volume, second.volume), (first.layers, second.layers)):
        assert (one is None) == (other is None)
        assert one is None or one.tobytes() == other.tobytes()  # type: ignore[union-attr]


def image_in_unit_range(image: Image) -> Image:
    return Image(metrics.normalise(image.array), image.grid)


def test_failures_leave_their_rows_out(report: Report) -> None:
    assert [one.name for one in report.rows if one.failure] == ["failing", "crashing", "misshapen", "hollow", "unsure"]
    assert row(report, "failing").failure == "ValueError: no [such] thing"
    assert "exit code 3" in str(row(report, "crashing").failure)
    assert "(8, 24, 28)" in str(row(report, "misshapen").failure)
    assert "not finite" in str(row(report, "hollow").failure)
    assert "expected error it returned (9, 23, 28)" in str(row(report, "unsure").failure)


def test_peak_memory_is_the_methods_own() -> None:
    image = image_in_unit_range(moving_case()[0])
    np.ones(LARGE, np.uint8)  # what this process once held must not count
    modest = run(CLASSICAL["linear"], image, None, "k", KEEP)
    large = run(partial(greedy, size=LARGE), image, None, "k", KEEP)
    delegated = run(delegating, image, None, "k", KEEP)
    assert modest.seconds is not None
    assert modest.seconds < 1.0
    if evaluation.peak_memory() is None:
        assert modest.peak_memory is large.peak_memory is None
        return
    assert modest.peak_memory is not None
    assert large.peak_memory is not None
    assert 10_000_000 < modest.peak_memory < LARGE < large.peak_memory < 2 * LARGE
    assert delegated.peak_memory is not None
    assert sys.platform == "win32" or LARGE < delegated.peak_memory < 2 * LARGE


def test_best_methods(report: Report) -> None:
    best = {(peers, labels): report.best(classical_rows=peers, labels=labels)
            for peers in (True, False) for labels in (True, False)}
    assert best[False, False] is best[False, True] is row(report, "careful")
    assert best[True, False] is row(report, "linear")
    assert best[True, True] is row(report, "label-shape")


def test_default_methods_fit_the_case() -> None:
    assert default_methods(labels=False) == ["nearest", "linear", "cubic", "pchip", "flow"]
    assert set(default_methods(labels=True)) == set(CLASSICAL)


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


# ------------------------------------------------------------------------------------------------------------ output


def test_table_fits_a_terminal_and_names_failures(report: Report) -> None:
    console = pytest.importorskip("rich.console").Console(file=io.StringIO(), width=80)
    console.print(evaluation.table(report))
    text = console.file.getvalue()
    assert "…" not in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    linear = row(report, "linear").image
    assert linear is not None
    assert f"{linear.psnr:.2f} ± {linear.psnr_sd:.2f}" in lines["linear"]
    assert "linear *" in lines["linear"]
    assert "label-shape *" in lines["label-shape"]
    assert "*" not in lines["careful"]
    assert "failing left out: ValueError: no [such] thing" in text
    words = " ".join(text.split())
    assert "Labels that count: 2 of 2 careful" in words
    assert "careful expects its error: " in words and "linear expects" not in words


def test_table_says_how_many_labels_are_too_small_to_count() -> None:
    console = pytest.importorskip("rich.console").Console(file=io.StringIO(), width=200)
    image, segmentation = moving_case()
    layers = segmentation.layers.copy()
    layers[1, :, 3:] = 0  # next to nothing is left of the core
    scored = evaluate(image, Segmentation(layers, segmentation.segments, image.grid), "k", KEEP, ["label-nearest"])
    console.print(evaluation.table(scored))
    words = " ".join(console.file.getvalue().split())
    assert "Labels that count: 1 of 2; the rest has fewer than 50 voxels on the hidden slices" in words


def test_json_is_strict_and_complete(report: Report, tmp_path: Path) -> None:
    evaluation.to_json(report, tmp_path / "scores.json")
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    content = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert content["trusted"] == [0, 4, 8]
    assert content["held_out"] == HIDDEN
    assert content["spacing_mm"] == [0.8, 0.8, 2.5]
    rows = {one["name"]: one for one in content["rows"]}
    assert list(rows) == [one.name for one in report.rows]
    linear = row(report, "linear").image
    assert linear is not None
    assert rows["linear"]["image"]["psnr"] == linear.psnr
    assert [name for name, one in rows.items() if one["best_classical"]] == ["linear", "label-shape"]
    assert [segment["name"] for segment in rows["careful"]["segments"]] == ["ball", "core"]
    assert all(segment["dice"] > 0 and segment["surface"]["mean"] > 0 and segment["surface"]["percentile_95"] > 0
               for segment in rows["careful"]["segments"])
    assert rows["careful"]["band_68"] == row(report, "careful").band_68
    assert rows["careful"]["rank_correlation"] == row(report, "careful").rank_correlation
    assert rows["linear"]["band_68"] is None
    assert rows["careful"]["peak_memory_bytes"] == row(report, "careful").peak_memory
    assert rows["failing"]["failure"] == "ValueError: no [such] thing"
    assert rows["failing"]["image"] is None


def test_undefined_scores_become_null(report: Report, tmp_path: Path) -> None:
    bad = Row("bad", False, metrics.ImageScores(np.nan, np.nan, np.nan, np.nan, 0), dice=np.inf)
    evaluation.to_json(Report(**{**vars(report), "rows": (bad,)}), tmp_path / "scores.json")
    saved = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["rows"][0]
    assert saved["image"]["psnr"] is None
    assert saved["dice"] is None


def test_a_write_that_fails_leaves_the_old_file(report: Report, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        evaluation.to_json(report, path)
    assert [file.read_text(encoding="utf-8") for file in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("kept", [["careful", "linear", "label-shape"], ["linear"], ["careful"], ["label-shape"]])
def test_figure_is_drawn_with_what_there_is(kept: list[str], report: Report, tmp_path: Path) -> None:
    images = pytest.importorskip("matplotlib.image")
    evaluation.figure(Report(**{**vars(report), "rows": tuple(row(report, name) for name in kept)}),
                      tmp_path / "figure.png")
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]
    picture = images.imread(tmp_path / "figure.png")
    assert min(picture.shape[:2]) > 500
    assert picture[..., :3].std() > 0.1


def test_no_figure_without_results(report: Report, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No method succeeded"):
        evaluation.figure(Report(**{**vars(report), "rows": (row(report, "failing"),)}), tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["figure", "figure.magic"])
def test_figure_needs_a_known_format(name: str, report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="png"):
        evaluation.figure(report, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_samples_are_held_out_slices_of_the_truth(report: Report) -> None:
    image, segmentation = moving_case()
    assert report.sample_indices == (2, 3, 6)
    np.testing.assert_array_equal(report.samples, metrics.normalise(image.array)[[2, 3, 6]])
    assert report.label_samples is not None
    np.testing.assert_array_equal(report.label_samples, (segmentation.layers[0] + segmentation.layers[1])[[2, 3, 6]])


def test_colors_are_the_segments_own_or_distinct() -> None:
    own = (0.2, 0.4, 0.6)
    colors = evaluation.segment_colors([Segment("a", 1, color=own), *(Segment("b", n) for n in range(2, 60))])
    assert colors.shape == (60, 3)
    assert not colors[0].any()
    assert tuple(colors[1]) == own
    assert len(np.unique(colors.round(3), axis=0)) == 60
    assert colors.min() >= 0
    assert colors.max() <= 1


def test_slices_are_shown_upright() -> None:
    picture = np.arange(6).reshape(2, 3)
    # Right-to-left, posterior-to-anterior, inferior-to-superior indices, as in many NIfTI files.
    grid = Grid((4, 5, 6), spacing=(1.0, 2.0, 3.0), direction=((-1, 0, 0), (0, -1, 0), (0, 0, 1)))
    axial, aspect = evaluation._upright(grid, "k")
    np.testing.assert_array_equal(axial(picture), picture[::-1, ::-1])
    assert aspect == 2.0
    coronal, aspect = evaluation._upright(grid, "j")
    np.testing.assert_array_equal(coronal(picture), picture[::-1, ::-1])
    assert aspect == 3.0
    sagittal, aspect = evaluation._upright(Grid((4, 5, 6), spacing=(1.0, 2.0, 3.0)), "i")
    np.testing.assert_array_equal(sagittal(picture), picture[::-1])
    assert aspect == 1.5
