"""Pictures of what an evaluation found."""
from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_case import row
from matplotlib.image import imread

from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.evaluation.figure import figure
from TriplaneGaussianReconLib.evaluation.report import EvaluationReport


@pytest.mark.parametrize("kept", [["careful", "linear", "label-shape"], ["linear"], ["careful"], ["label-shape"]])
def test_figure_is_drawn_with_what_there_is(kept: list[str], report: EvaluationReport, tmp_path: Path) -> None:
    rows = tuple(row(report, name) for name in kept)
    figure(EvaluationReport(**{**vars(report), "rows": rows}), tmp_path / "figure.png")
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]
    picture = imread(tmp_path / "figure.png")
    assert min(picture.shape[:2]) > 500
    assert picture[..., :3].std() > 0.1


def test_no_figure_without_results(report: EvaluationReport, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No method succeeded"):
        figure(EvaluationReport(**{**vars(report), "rows": (row(report, "failing"),)}), tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["figure", "figure.magic"])
def test_figure_needs_a_known_format(name: str, report: EvaluationReport, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="png"):
        figure(report, tmp_path / name)
    assert not list(tmp_path.iterdir())
