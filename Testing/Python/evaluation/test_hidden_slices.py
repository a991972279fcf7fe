"""Hidden slices of real stacks: what methods see, say and score."""
from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from stack_case import blobs, image_of, rigid, thick_stack

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.output_grid import union_grid
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.evaluation.figure import figure
from TriplaneGaussianReconLib.evaluation.hidden_slices import Fold, evaluate_hidden
from TriplaneGaussianReconLib.evaluation.ours import Ours
from TriplaneGaussianReconLib.evaluation.scale import Scale
from TriplaneGaussianReconLib.evaluation.seen_slices import (
    profile_of,
    seen_by_cubic,
    seen_by_least_squares,
    seen_of_model,
)
from TriplaneGaussianReconLib.evaluation.shown import Shown
from TriplaneGaussianReconLib.evaluation.stack_report import Likeness, StackEvaluation, StackRow
from TriplaneGaussianReconLib.evaluation.stack_table import stack_table, stacks_to_json
from TriplaneGaussianReconLib.evaluation.views import View
from TriplaneGaussianReconLib.runtime.devices import choose

MOTION = rigid((3.0, -2.0, 1.0), (2.0, 1.0, -1.5))
FAST = Ours({"fast": PRESETS["fast"]}, "cpu", alone=True)


def volumes() -> list[StackInput]:
    body = blobs()
    stacks = thick_stack(body, "k", noise=0.5), thick_stack(body, "j", MOTION, gain=1.2, bias=30.0, noise=0.5)
    return [StackInput(image_of(stack)) for stack in stacks]


@pytest.fixture(scope="module")
def found() -> StackEvaluation:
    return evaluate_hidden(volumes(), ["a", "b"], FAST)


@pytest.mark.slow
def test_ours_predicts_hidden_slices_better_than_what_people_do(found: StackEvaluation) -> None:
    rows = {row.name: row for row in found.rows}
    assert list(rows) == ["own slices, cubic", "mean of cubics", "least squares", "fast, own slices", "fast"]
    for other in ("own slices, cubic", "mean of cubics", "fast, own slices"):
        assert all(ours.ncc > theirs.ncc for ours, theirs in
                   zip(rows["fast"].likenesses, rows[other].likenesses, strict=True))
    assert rows["fast"].ncc > rows["least squares"].ncc - 0.01
    assert min(each.psnr for each in rows["fast"].likenesses) > 22  # gain and bias of the second are its own


@pytest.mark.slow
def test_table_scores_and_figure_tell_it(found: StackEvaluation, tmp_path: Path) -> None:
    console = Console(width=140, file=io.StringIO(), record=True)
    console.print(stack_table(found))
    text = " ".join(console.export_text().split())
    assert "1 1 2 2 mean mean Method dB NCC dB NCC dB NCC Seconds" in text and "Volumes: 1 a, 2 b" in text
    assert "Every second slice of each volume was hidden in turn (5, 5 slices)" in text
    stacks_to_json(found, tmp_path / "s.json")
    content = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert content["volumes"] == ["a", "b"] and content["hidden"][0] == [1, 3, 5, 7, 9]
    assert len(content["rows"][-1]["volumes"]) == 2
    figure(found.pictured(), tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 10_000


def test_the_table_of_three_volumes_fits_a_narrow_terminal() -> None:
    row = StackRow("own slices, cubic", True, (Likeness(15.36, 0.399),) * 3, 188.8)
    grid, blank = union_grid(Observations.from_volumes(volumes())), np.zeros((1, 1))
    scale = Scale(0.0, 1.0, 0.0, 1.0, "", False)
    shown = Shown(View(grid, "k", 0, slice(1), slice(1)), scale, blank, blank, ("", ""), blank > 0, "")
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(stack_table(StackEvaluation((row,), ("a", "b", "c"), shown, "", "")))
    assert "own slices, cubic 15.36 0.399 15.36 0.399 15.36 0.399 15.36 0.399 188.8" in " ".join(
        console.export_text().split())


def test_methods_see_nothing_of_hidden_slices() -> None:
    given = volumes()
    changed = given[1].image.array.copy()
    changed[[1, 3, 5, 7, 9]] = np.random.default_rng(0).random(changed[:5].shape) * 100
    other = [given[0], replace(given[1], image=Image(changed, given[1].image.grid))]
    folds = [Fold.of(each[1], 1, Observations.from_volumes(each), FAST) for each in (given, other)]
    assert not np.array_equal(folds[0].hidden.pixels, folds[1].hidden.pixels)
    for one, another in zip(folds[0].observations.stacks, folds[1].observations.stacks, strict=True):
        np.testing.assert_array_equal(one.pixels, another.pixels)
    np.testing.assert_array_equal(folds[0].own_cubic(), folds[1].own_cubic())


def test_only_pixels_with_data_are_scored() -> None:
    given = volumes()
    inside = np.ones(given[0].image.grid.shape, np.uint8)
    inside[:, :20] = 0
    masked = [replace(given[0], mask=Segmentation.from_labelmap(inside, given[0].image.grid)), *given[1:]]
    fold = Fold.of(masked[0], 0, Observations.from_volumes(masked), FAST)
    assert fold.hidden.weights is not None and not fold.hidden.weights[:, :20].any()
    assert np.isnan(fold.own_cubic()[:, :19]).all() and np.isfinite(fold.own_cubic()[:, 21:]).all()


def test_what_cannot_be_compared_is_told() -> None:
    given = volumes()
    few = Image(given[1].image.array[:3], replace(given[1].image.grid, shape=(3, *given[1].image.grid.shape[1:])))
    with pytest.raises(InputError, match="Volume 2 has 3 slices with data.*at least 4"):
        evaluate_hidden([given[0], replace(given[1], image=few)], ["a", "b"], FAST)


def test_slices_are_seen_where_they_lie() -> None:
    observations = Observations.from_volumes(volumes())
    first, grid, here = observations.stacks[0], union_grid(observations), choose("cpu")
    points = first.planes.points()
    np.testing.assert_allclose(seen_by_cubic(first, points), first.pixels, atol=1e-2)
    assert np.isnan(seen_by_cubic(first, points + 1000.0)).all()
    motions = [StackMotion(), StackMotion(MOTION, 1.2, 30.0)]
    unseen = replace(first, pixels=np.zeros_like(first.pixels))
    plain = seen_by_least_squares(observations, motions, grid, unseen, motions[0], here)
    made = FAST.together(observations, grid, PRESETS["fast"])
    ours = seen_of_model(made.model, first.planes, profile_of(first, grid.spacing[0]), here)
    for seen in (plain, ours):
        assert np.isfinite(seen).all()
        assert np.sqrt(np.mean((seen - first.pixels) ** 2)) < 0.02 * np.ptp(first.pixels)
    far = first.planes.transformed(np.array([[1, 0, 0, 1e3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    assert np.isnan(seen_of_model(made.model, far, profile_of(first, grid.spacing[0]), here)).all()
