"""`evaluate`: a table, scores and a figure."""
from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from TriplaneGaussianReconLib import __version__
from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.evaluation.metrics import dice
from TriplaneGaussianReconLib.runtime.devices import choose

Run = Callable[..., int]


def test_evaluate_prints_a_table_and_writes_scores(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "volume.nrrd", "--labels", "labels.seg.nrrd", "--keep-every", 2, "--methods", "linear, fast",
               "--json", "scores.json", "--figure", "figure.png") == 0
    printed = capsys.readouterr()
    assert "5 of 11 slices along k were hidden" in printed.out and "fast" in printed.out
    device, expected, *told = printed.err.splitlines()
    assert (device, told) == (choose("auto").note, ["1 of 2: linear", "2 of 2: fast"])
    assert re.fullmatch(r"About .* on this computer \(\d+ threads?\) for fast; other methods come on top\.", expected)
    content = json.loads(Path("scores.json").read_text(encoding="utf-8"))
    assert (content["product"], content["version"]) == ("TriplaneGaussianRecon", __version__)
    assert (content["seed"], content["presets"], content["device"]) == (0, ["fast"], str(choose("auto").device))
    assert [sorted(each) for each in content["inputs"]] == [["labels", "volume"]]
    assert content["inputs"][0]["volume"].endswith("volume.nrrd")
    assert content["options"]["keep_every"] == 2 and "json" not in content["options"]
    rows = {row["name"]: row for row in content["rows"]}
    assert rows["fast"]["failure"] is None
    assert rows["fast"]["image"]["psnr"] > rows["linear"]["image"]["psnr"]
    assert rows["fast"]["dice"] > 0.8 and rows["fast"]["seconds"] > 0
    assert 0 < rows["fast"]["share_in_band_68"] <= 1 and -1 <= rows["fast"]["rank_correlation"] <= 1
    assert Path("figure.png").stat().st_size > 10_000


def test_labels_alone_can_be_hidden(run: Run, capsys: pytest.CaptureFixture[str], segmentation: Segmentation) -> None:
    assert run("evaluate", "volume.nrrd", "--labels", "labels.seg.nrrd", "--labels-keep-every", 4, "--axis", "axial",
               "--methods", "nearest, random walker, fast", "--json", "scores.json", "--figure", "figure.png") == 0
    printed = capsys.readouterr()
    assert "The labels of 6 of 11 slices along k were hidden" in " ".join(printed.out.split())
    assert "random walker *" in printed.out and "PSNR" not in printed.out
    told = printed.err.splitlines()
    assert [told[0], *told[2:]] == [choose("auto").note, "1 of 3: nearest", "2 of 3: random walker", "3 of 3: fast"]
    content = json.loads(Path("scores.json").read_text(encoding="utf-8"))
    assert (content["hidden"], content["trusted"], content["held_out"]) == ("labels", [0, 4, 8], [1, 2, 3, 5, 6, 7])
    copied = segmentation.layers[:, [0, 0, 4, 4, 4, 8]]
    true = segmentation.layers[:, content["held_out"]]
    overlaps = [dice(true[one.layer] == one.value, copied[one.layer] == one.value) for one in segmentation.segments]
    assert content["rows"][0]["dice"] == pytest.approx(np.mean(overlaps))
    assert content["rows"][1]["dice"] > content["rows"][0]["dice"]
    fast = content["rows"][2]
    assert fast["failure"] is None and fast["dice"] > 0.5 and fast["image"] is None and fast["seconds"] > 0
    assert Path("figure.png").stat().st_size > 10_000


@pytest.mark.parametrize(("options", "code", "message"), [
    ([], 2, "hides labels. Give them with --labels"),
    (["--labels", "labels.nii.gz", "--methods", "linear"], 2,
     "Unknown method 'linear'. Choose from nearest, shape, propagated, random walker, contour, .*fast"),
    (["--labels", "labels.nii.gz", "--labels-keep-every", 1], 2, "No slice is hidden")])
def test_labels_that_cannot_be_hidden(run: Run, capsys: pytest.CaptureFixture[str], options: list[object], code: int,
                                      message: str) -> None:
    assert run("evaluate", "volume.nrrd", "--labels-keep-every", 2, *options) == code
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(("options", "code", "message"), [
    (["--methods", "linear,magic"], 2, "Unknown method 'magic'. Choose from nearest, linear, .*fast, .*paper, .*"
                                       "innergs-style, eclare"),
    (["--methods", "eclare"], 3, "environment of its own.*--eclare-python"),
    (["--eclare-python", "nowhere/python"], 3, "no Python 'nowhere/python'"),
    (["--keep-every", 1], 2, "No slice is hidden"), (["--keep-every", 0], 2, "at least 1"),
    (["--json", "missing/s.json"], 4, "does not exist"), (["--figure", "f.txt"], 2, r"Use \.png, \.pdf, \.svg"),
    (["--methods", "label-shape"], 2, "fills labels only")])
def test_evaluations_that_cannot_be_made(run: Run, capsys: pytest.CaptureFixture[str], options: list[object], code: int,
                                         message: str) -> None:
    assert run("evaluate", "volume.nrrd", "--keep-every", 2, *options) == code
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(("step", "code", "message"), [(1, 2, "at least 2"), (-20, 2, "at least 2"),
                                                 (500, 2, "No slice is hidden")])
def test_slices_that_cannot_be_hidden(run: Run, capsys: pytest.CaptureFixture[str], step: int, code: int,
                                      message: str) -> None:
    assert run("evaluate", "volume.nrrd", f"--hide-every={step}", "--methods", "linear") == code
    assert message in capsys.readouterr().err


def test_evaluate_with_few_slices_hidden_and_no_simpleitk(run: Run, volume: Image, segmentation: Segmentation,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    for name, array in (("v", volume.array), ("v_seg", segmentation.layers[0])):
        np.savez(f"{name}.npz", array=array, origin=volume.grid.origin, spacing=volume.grid.spacing,
                 direction=np.asarray(volume.grid.direction))
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    assert run("evaluate", "v.npz", "--labels", "v_seg.npz", "--hide-every", 5, "--methods", "linear,label-nearest",
               "--json", "s.json") == 0
    scores = json.loads(Path("s.json").read_text(encoding="utf-8"))
    assert scores["held_out"] == [4, 9]
    assert [row["failure"] for row in scores["rows"]] == [None, None]
    assert scores["rows"][1]["segments"][0]["surface"]["mean"] >= 0


def test_innergs_style_is_paper_from_a_grid_without_the_field() -> None:
    from TriplaneGaussianReconLib.config.baseline_presets import INNERGS_STYLE

    paper = PRESETS["paper"]
    assert (INNERGS_STYLE.initialization, INNERGS_STYLE.mode, INNERGS_STYLE.predicted_weight) == ("grid", paper.mode, 0)
    assert "field" in paper.training.learning_rates and "field" not in INNERGS_STYLE.training.learning_rates
    assert INNERGS_STYLE.training.image_loss == paper.training.image_loss


def test_default_methods_are_the_baselines_fast_and_eclare_where_it_is(
        run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from TriplaneGaussianReconLib.evaluation import evaluate
    from TriplaneGaussianReconLib.evaluation.child_process import MethodOutcome
    from TriplaneGaussianReconLib.evaluation.methods import baseline_names

    asked = []
    monkeypatch.setattr(evaluate, "run_method", lambda *_: MethodOutcome(failure="not tried"))
    monkeypatch.setattr("TriplaneGaussianReconLib.command_line.evaluate.note", asked.append)
    assert run("evaluate", "volume.nrrd", "--keep-every", 2) == 1  # as all of them failed
    assert [text.split(": ")[1] for text in asked[1:]] == [*baseline_names(False), "fast"]
    monkeypatch.setattr("TriplaneGaussianReconLib.command_line.evaluate.Eclare.prepare", lambda self: None)
    assert run("evaluate", "volume.nrrd", "--keep-every", 3, "--eclare-python", "python") == 1
    assert asked[-1].endswith(": eclare")
    asked.clear()
    assert run("evaluate", "volume.nrrd", "--labels", "labels.seg.nrrd", "--labels-keep-every", 4) == 1
    assert [text.split(": ")[1] for text in asked[1:]] == ["nearest", "shape", "propagated", "random walker", "contour",
                                                           "fast"]
