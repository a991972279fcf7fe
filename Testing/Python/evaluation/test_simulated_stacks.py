"""What is said of simulated stacks."""
from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from stack_case import GRID, blobs

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.evaluation.figure import figure
from TriplaneGaussianReconLib.evaluation.ours import Ours
from TriplaneGaussianReconLib.evaluation.simulated_stacks import evaluate_simulated
from TriplaneGaussianReconLib.evaluation.stack_report import Likeness, StackEvaluation, StackRow
from TriplaneGaussianReconLib.evaluation.stack_simulation import Simulation, central
from TriplaneGaussianReconLib.evaluation.stack_table import stack_table, stacks_to_json

TRUTH = central(Image(blobs(), GRID))
TWO = Simulation(2, 4, 0.02, "gaussian", motion=(2.0, 2.0), gain=0.1)


@pytest.fixture(scope="module")
def announced() -> list[str]:
    return []


@pytest.fixture(scope="module")
def found(announced: list[str]) -> StackEvaluation:
    return evaluate_simulated(TRUTH, TWO, Ours({"fast": PRESETS["fast"]}, "cpu", alone=True), announced.append)


def test_every_method_has_a_row_and_is_announced(found: StackEvaluation, announced: list[str]) -> None:
    names = [row.name for row in found.rows]
    assert names == ["stack 1, cubic", "stack 2, cubic", "mean of cubics", "least squares", "clean least squares",
                     "clean edge-preserving", "fast, stack 1 alone", "fast, stack 2 alone", "fast"]
    assert announced == [f"{number} of 9: {name}" for number, name in enumerate(names, start=1)]
    assert [row.is_baseline for row in found.rows] == [True] * 6 + [False] * 3


def test_ours_finds_the_motion_and_goes_most_of_the_way(found: StackEvaluation) -> None:
    rows = {row.name: row for row in found.rows}
    assert (rows["stack 1, cubic"].share, rows["clean least squares"].share) == (0.0, 1.0)
    assert rows["fast"].share == max(row.share for row in found.rows if "clean" not in row.name and row.share)
    assert (rows["fast"].share or 0) > 0.5 and rows["fast"].ncc > rows["mean of cubics"].ncc
    misplaced = found.setting["misplaced_voxels"]
    assert isinstance(misplaced, dict) and 0 < misplaced["fast"] < 0.5


def test_table_scores_and_figure_tell_it(found: StackEvaluation, tmp_path: Path) -> None:
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(stack_table(found))
    text = " ".join(console.export_text().split())
    assert "Share" in text and "Stacks thick along k, j, 4 voxels a slice" in text and "fast places stacks" in text
    stacks_to_json(found, tmp_path / "s.json")
    content = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert content["simulation"]["motion"] == [2.0, 2.0] and content["shape"] == [36, 48, 36]
    assert content["rows"][-1]["name"] == "fast" and content["rows"][-1]["psnr"] == found.rows[-1].psnr
    figure(found.pictured(), tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 10_000
    assert not [row.name for row in found.pictured().rows if "clean" in row.name]


def test_one_stack_is_compared_too_and_what_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object) -> None:
        raise InputError("no [such] luck")

    monkeypatch.setattr(Ours, "together", fails)
    found = evaluate_simulated(TRUTH, Simulation(1), Ours({"fast": PRESETS["fast"]}, "cpu"))
    assert [row.name for row in found.rows] == ["stack 1, cubic", "least squares", "edge-preserving", "fast"]
    assert found.rows[1].share == 1.0 and found.rows[-1].failure == "no [such] luck"
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(stack_table(found))
    assert "fast left out: no [such] luck" in console.export_text()
    stacks_to_json(found, tmp_path / "s.json")
    last = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["rows"][-1]
    assert (last["failure"], last["psnr"], last["ncc"]) == ("no [such] luck", None, None)


def test_likeness_of_the_truth_itself_and_of_its_negative() -> None:
    truth = np.random.default_rng(0).random((4, 5))
    assert Likeness.of(truth, truth, (0.0, 1.0)) == Likeness(100.0, 1.0)
    assert Likeness.of(-truth, truth, (-1.0, 1.0)).ncc == -1.0
    assert np.isnan(Likeness.of(0 * truth, truth, (0.0, 1.0)).ncc)


def test_a_row_has_the_mean_over_the_volumes() -> None:
    row = StackRow("x", False, (Likeness(20.0, 0.5), Likeness(30.0, 0.7)))
    assert (row.psnr, row.ncc) == (25.0, pytest.approx(0.6))
