"""Scores as a table and as JSON."""
from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from evaluation_case import HIDDEN, KEEP, moving_case, row
from rich.console import Console

from TriplaneGaussianReconLib.data.images import Segmentation
from TriplaneGaussianReconLib.evaluation import scores
from TriplaneGaussianReconLib.evaluation.comparison import Comparison, Score
from TriplaneGaussianReconLib.evaluation.evaluate import evaluate
from TriplaneGaussianReconLib.evaluation.report import EvaluationReport, MethodScores
from TriplaneGaussianReconLib.evaluation.scores import Metric
from TriplaneGaussianReconLib.evaluation.table import table, to_json


def test_table_fits_a_terminal_and_names_failures(report: EvaluationReport) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(table(report))
    text = console.file.getvalue()
    assert "…" not in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    psnr = row(report, "linear").scores["psnr"]
    assert f"{psnr.value:.2f} ± {psnr.sd:.2f}" in lines["linear"]
    assert "linear *" in lines["linear"]
    assert "label-shape *" in lines["label-shape"]
    assert "*" not in lines["careful"]
    assert "failing left out: ValueError: no [such] thing" in text
    words = " ".join(text.split())
    assert "Labels that count: 2 of 2 careful" in words
    assert "careful expects its error: " in words and "linear expects" not in words


def test_table_says_how_many_labels_are_too_small_to_count() -> None:
    console = Console(file=io.StringIO(), width=200)
    image, segmentation = moving_case()
    layers = segmentation.layers.copy()
    layers[1, :, 3:] = 0  # next to nothing is left of the core
    scored = evaluate(image, Segmentation(layers, segmentation.segments, image.grid), "k", KEEP, ["label-nearest"])
    console.print(table(scored))
    words = " ".join(console.file.getvalue().split())
    assert "Labels that count: 1 of 2; the rest has fewer than 50 voxels on the hidden slices" in words


def test_json_is_strict_and_complete(report: EvaluationReport, tmp_path: Path) -> None:
    to_json(report, tmp_path / "scores.json")
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    content = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert content["trusted"] == [0, 4, 8]
    assert content["held_out"] == HIDDEN
    assert content["spacing_mm"] == [0.8, 0.8, 2.5]
    rows = {one["name"]: one for one in content["rows"]}
    assert list(rows) == [one.name for one in report.rows]
    psnr = row(report, "linear").scores["psnr"]
    assert rows["linear"]["image"] == {
        "psnr": psnr.value, "psnr_sd": psnr.sd, "slices": len(HIDDEN),
        "ssim": row(report, "linear").scores["ssim"].value, "ssim_sd": row(report, "linear").scores["ssim"].sd}
    assert [name for name, one in rows.items() if one["best_classical"]] == ["linear", "label-shape"]
    assert [segment["name"] for segment in rows["careful"]["segments"]] == ["ball", "core"]
    assert all(segment["dice"] > 0 and segment["surface"]["mean"] > 0 and segment["surface"]["percentile_95"] > 0
               for segment in rows["careful"]["segments"])
    for name in ("share_in_band_68", "rank_correlation", "semantic_loss", "dice", "seconds", "peak_memory_bytes"):
        assert rows["careful"][name] == row(report, "careful").scores[name].value
    assert rows["linear"]["share_in_band_68"] is rows["linear"]["dice"] is rows["linear"]["semantic_loss"] is None
    assert rows["failing"]["failure"] == "ValueError: no [such] thing"
    assert rows["failing"]["image"] is None


def test_a_metric_that_is_entered_shows_in_table_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def largest_error(case: Comparison) -> Score | None:
        return Score(float(case.image.error.max())) if case.image is not None else None

    entered = Metric("largest_error", largest_error, "Largest error", "%", decimals=1, factor=100.0)
    monkeypatch.setattr(scores, "METRICS", (*scores.METRICS, entered))
    image, segmentation = moving_case()
    scored = evaluate(image, segmentation, "k", KEEP, ["linear", "label-nearest"])
    value = row(scored, "linear").scores["largest_error"].value
    console = Console(file=io.StringIO(), width=200)
    console.print(table(scored))
    assert "Largest" in console.file.getvalue()
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert f"{100 * value:.1f}" in next(line for line in lines if line[:2] == ["linear", "*"])
    to_json(scored, tmp_path / "scores.json")
    saved = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["rows"]
    assert [one["largest_error"] for one in saved] == [value, None]


def test_undefined_scores_become_null(report: EvaluationReport, tmp_path: Path) -> None:
    bad = MethodScores("bad", False, {"psnr": Score(np.nan, np.nan), "slices": Score(0), "dice": Score(np.inf)})
    to_json(EvaluationReport(**{**vars(report), "rows": (bad,)}), tmp_path / "scores.json")
    saved = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["rows"][0]
    assert saved["image"]["psnr"] is None
    assert saved["dice"] is None


def test_a_write_that_fails_leaves_the_old_file(report: EvaluationReport, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        to_json(report, path)
    assert [file.read_text(encoding="utf-8") for file in tmp_path.iterdir()] == ["old"]
