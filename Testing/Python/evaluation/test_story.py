"""What the figure tells in words."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation_case import row

from TriplaneGaussianReconLib.evaluation.comparison import Score
from TriplaneGaussianReconLib.evaluation.report import EvaluationReport
from TriplaneGaussianReconLib.evaluation.story import Story


def test_six_tiles_tell_what_was_kept_made_and_missed(report: EvaluationReport) -> None:
    """`careful` is linear, with labels."""
    plain = replace(report, shown=replace(report.shown, labels=None), rows=tuple(
        replace(row(report, name), label_picture=None) for name in ("nearest", "linear", "careful")))
    told = Story.of(plain, "some/where/ct.nii.gz")
    assert told.title == "ct.nii.gz, every 4th slice kept"
    assert [[tile.title for tile in line] for line in told.lines] == [
        ["kept", "linear (best usual method)", "careful"],
        ["truth", "|linear - truth|", "|careful - truth|"]]
    assert told.lines[0][0].caption == "a slice every 10 mm"
    shown, picture = report.shown, row(report, "linear").picture
    assert picture is not None
    squared = np.mean((picture - shown.truth)[shown.hidden] ** 2)
    assert told.lines[0][1].caption == f"{-10 * np.log10(squared):.1f} dB here"
    mean = np.abs(picture - shown.truth)[shown.hidden].mean() * 100
    assert told.lines[1][1].caption == f"{mean:.3g} % of the range in the mean here"
    assert told.headline.startswith("careful is as near to the truth as linear")
    assert told.headline.endswith("(all 6 hidden slices)")
    assert shown.view.name in told.footnote and " mm" in told.footnote and "Window" in told.footnote


def test_with_labels_the_lower_line_shows_where_they_are_wrong(report: EvaluationReport) -> None:
    told = Story.of(report)
    assert [tile.title for tile in told.lines[1]] == ["truth", "labels by label-shape; wrong in red",
                                                      "labels by careful; wrong in red"]
    assert told.headline.count("Dice") == 1 and "by careful" in told.headline and "by label-shape" in told.headline
    tile, shown = told.lines[1][2], report.shown
    assert tile.wrong is not None and tile.labels is not None and shown.labels is not None
    assert not tile.wrong[~shown.hidden].any()
    np.testing.assert_array_equal(tile.wrong[shown.hidden], (tile.labels != shown.labels)[shown.hidden])
    assert tile.caption.endswith("of labelled pixels wrong here")


def test_presets_are_told_to_be_ours(report: EvaluationReport) -> None:
    rows = row(report, "linear"), replace(row(report, "careful"), name="fast")
    assert Story.of(replace(report, rows=rows)).lines[0][2].title == "fast (this program)"


def test_a_loss_is_told_as_such(report: EvaluationReport) -> None:
    ours = row(report, "careful")
    worse = replace(ours, scores={**ours.scores, "psnr": Score(row(report, "linear").scores["psnr"].value - 1.26)})
    told = Story.of(replace(report, rows=(row(report, "linear"), worse)))
    assert told.headline.startswith("careful is 1.3 dB farther from the truth than linear")


@pytest.mark.parametrize(("observed", "held_out", "told"), [
    ((0, 2, 4), (1, 3), "every 2nd slice kept"), ((0, 3, 6), (1, 2, 4, 5), "every 3rd slice kept"),
    ((0, 1, 2, 3, 5, 6, 7, 8), (4,), "8 of 9 slices kept"),
    ((0, 1, 3, 4, 6, 7), (2, 5), "every 3rd slice hidden"), ((0, 1, 5, 8), (2, 3, 4, 6, 7), "4 of 9 slices kept"),
    ((0, 21), (1,), "every 21st slice kept"), ((0, 12), (1,), "every 12th slice kept")])
def test_what_was_kept_is_told(report: EvaluationReport, observed: tuple[int, ...], held_out: tuple[int, ...],
                               told: str) -> None:
    given = replace(report, observed=observed, held_out=held_out)
    assert Story.of(given).title == told
    assert Story.of(replace(given, hidden="labels")).title == f"labels of {told}"
    assert Story.of(replace(given, what="3 stacks")).title == "3 stacks"
