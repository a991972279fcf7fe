"""Labels alone are hidden: methods see the whole image, and of the labels only those that they may."""
from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from evaluation_case import HIDDEN, KEEP, SHAPE, careful, failing, in_unit_range, moving_case, row, seen
from matplotlib.image import imread
from rich.console import Console

from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.evaluation import baselines, metrics
from TriplaneGaussianReconLib.evaluation.child_process import run_method
from TriplaneGaussianReconLib.evaluation.evaluate import evaluate
from TriplaneGaussianReconLib.evaluation.figure import figure
from TriplaneGaussianReconLib.evaluation.methods import LABEL_BASELINES, MethodResult
from TriplaneGaussianReconLib.evaluation.report import EvaluationReport
from TriplaneGaussianReconLib.evaluation.table import table, to_json


def labels_alone(image: Image, segmentation: Segmentation | None, axis: str, selection: Selection) -> MethodResult:
    """A stand-in for a preset."""
    return MethodResult(layers=careful(image, segmentation, "k", selection).layers)


NAMES = ["nearest", "shape", "propagated", "random walker"]


@pytest.fixture(scope="module")
def hidden_labels() -> EvaluationReport:
    image, segmentation = moving_case()
    return evaluate(image, segmentation, "k", KEEP, [*NAMES, "ours", "failing"],
                    {"ours": labels_alone, "failing": failing}, hidden="labels")


def test_methods_get_the_whole_image_and_no_hidden_label() -> None:
    image, segmentation = moving_case()
    image = in_unit_range(image)
    result = run_method(seen, image, segmentation, "k", KEEP, "labels").result
    assert result.volume is not None and result.volume.all()
    assert result.layers is not None and not result.layers[:, HIDDEN].any()
    np.testing.assert_array_equal(result.layers[:, ::4], segmentation.layers[:, ::4])


@pytest.mark.parametrize("name", ["propagated", "random walker"])
def test_noise_in_hidden_labels_changes_no_bit(name: str) -> None:
    image, segmentation = moving_case()
    noisy = segmentation.layers.copy()
    noisy[:, HIDDEN] = np.random.default_rng(2).integers(0, 9, noisy[:, HIDDEN].shape)
    first, second = (run_method(LABEL_BASELINES[name], in_unit_range(image),
                                Segmentation(layers, segmentation.segments, image.grid), "k", KEEP, "labels").result
                     for layers in (segmentation.layers, noisy))
    assert first.layers is not None and second.layers is not None
    assert first.layers.tobytes() == second.layers.tobytes()


def test_scores_are_those_of_the_hidden_labels(hidden_labels: EvaluationReport) -> None:
    assert hidden_labels.hidden == "labels" and hidden_labels.held_out == tuple(HIDDEN)
    assert [one.name for one in hidden_labels.rows if one.is_baseline] == NAMES
    assert row(hidden_labels, "failing").failure == "ValueError: no [such] thing"
    masks = moving_case()[1].layers == 1
    copied = [baselines.nearest(np.array(KEEP.indices), mask[::4], np.arange(9)) for mask in masks]
    scores = row(hidden_labels, "nearest").scores
    assert scores["dice"].value == pytest.approx(np.mean(
        [metrics.dice(mask[HIDDEN], copy[HIDDEN]) for mask, copy in zip(masks, copied, strict=True)]))
    surfaces = [metrics.surface_distance(mask, copy, (2.5, 0.8, 0.8)) for mask, copy in zip(masks, copied, strict=True)]
    assert scores["surface_mm"].value == pytest.approx(np.median([one.mean for one in surfaces]))
    assert scores["surface_95_mm"].value == pytest.approx(np.median([one.percentile_95 for one in surfaces]))
    assert all("psnr" not in one.scores and one.failure is None for one in hidden_labels.rows[:-1])
    assert row(hidden_labels, "propagated").scores["dice"].value > scores["dice"].value
    assert row(hidden_labels, "ours").scores["dice"] == row(hidden_labels, "shape").scores["dice"]


def test_labels_that_were_kept_are_shown_on_their_slices_alone(hidden_labels: EvaluationReport) -> None:
    shown = hidden_labels.shown
    np.testing.assert_array_equal(shown.kept, shown.truth)
    assert shown.labels is not None and shown.kept_labels is not None
    assert not shown.kept_labels[shown.hidden].any() and shown.labels[shown.hidden].any()
    np.testing.assert_array_equal(shown.kept_labels[~shown.hidden], shown.labels[~shown.hidden])


def test_the_table_leaves_out_the_image_and_names_surfaces(hidden_labels: EvaluationReport) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(table(hidden_labels))
    text = console.file.getvalue()
    words = " ".join(text.split())
    assert "PSNR" not in words and "Surface HD95" in words and "…" not in text
    assert "The labels of 6 of 9 slices along k were hidden, not the image, and scored." in words
    dice = row(hidden_labels, "random walker").scores["dice"].value
    assert f"{dice:.4f}" in next(line for line in text.splitlines() if "random walker" in line)
    assert "failing left out: ValueError: no [such] thing" in words


def test_json_says_what_was_hidden(hidden_labels: EvaluationReport, tmp_path: Path) -> None:
    to_json(hidden_labels, tmp_path / "scores.json")
    content = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert content["hidden"] == "labels" and content["trusted"] == [0, 4, 8]
    first = content["rows"][0]
    assert first["image"] is None and first["dice"] > 0 and first["surface_mm"] > 0 and first["seconds"] >= 0


def test_the_figure_has_a_column_for_the_usual_methods_and_one_for_ours(hidden_labels: EvaluationReport,
                                                                       tmp_path: Path) -> None:
    figure(hidden_labels, tmp_path / "all.png")
    few = EvaluationReport(**{**vars(hidden_labels), "rows": hidden_labels.rows[:2]})
    figure(few, tmp_path / "few.png")
    broad, narrow = (imread(tmp_path / name) for name in ("all.png", "few.png"))
    assert broad.shape[1] > 1.3 * narrow.shape[1] and broad.shape[0] == narrow.shape[0]
    assert broad[..., :3].std() > 0.1
    with pytest.raises(InputError, match="No method succeeded"):
        figure(EvaluationReport(**{**vars(few), "rows": hidden_labels.rows[-1:]}), tmp_path / "none.png")


def test_a_method_that_is_not_for_many_labels_is_left_out_with_its_reason() -> None:
    array = np.random.default_rng(3).random(SHAPE, np.float32)
    image = Image(array, moving_case()[0].grid)
    labels = Segmentation.from_labelmap((13.99 * array).astype(np.uint8), image.grid)
    scored = evaluate(image, labels, "k", KEEP, ["random walker", "nearest"], hidden="labels")
    assert "12 labels at most" in str(scored.rows[0].failure) and "here are 13" in str(scored.rows[0].failure)
    assert scored.rows[1].failure is None


def test_without_labels_there_is_nothing_to_hide() -> None:
    image, _ = moving_case()
    with pytest.raises(InputError, match="no labels to hide"):
        evaluate(image, None, "k", KEEP, ["nearest"], hidden="labels")


def test_a_segment_that_is_never_found_does_not_decide_the_distances() -> None:
    image, segmentation = moving_case()
    layers = segmentation.layers.copy()
    layers[0, 1:4, :8, :8] = 2  # on hidden slices alone
    segments = (*segmentation.segments, Segment("lost", 2))
    scored = evaluate(image, Segmentation(layers, segments, image.grid), "k", KEEP, ["nearest"], hidden="labels")
    lost = scored.rows[0].segments[2]
    assert lost.dice == 0 and lost.surface.mean == np.inf
    assert 0 < scored.rows[0].scores["surface_mm"].value < np.inf
