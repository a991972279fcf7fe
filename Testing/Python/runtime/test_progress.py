"""Progress is told in order and by stages without jumps; a stop takes effect at the next step."""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from TriplaneGaussianReconLib.config.presets import PRESETS, in_steps
from TriplaneGaussianReconLib.config.stages import STAGES, stages_of
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.pipeline.reconstruction import reconstruct
from TriplaneGaussianReconLib.runtime.progress import Progress, StageMonitor, seconds_left

PAPER = stages_of(PRESETS["paper"], has_labels=False)


def test_stages_that_are_skipped_are_not_counted() -> None:
    told: list[Progress] = []
    monitor = StageMonitor(told.append, stages=PAPER)
    for stage in PAPER:
        with monitor.stage(stage.name):
            pass
    assert [progress.number for progress in told[::2]] == list(range(1, len(PAPER) + 1))
    assert {progress.count for progress in told} == {len(PAPER)}
    assert told[-1].title == f"stage {len(PAPER)} of {len(PAPER)}: {STAGES['rendering'].sentence}"
    assert told[0].done == 0.0 and told[-1].done == pytest.approx(1.0)


def test_parts_of_a_stage_go_on_where_the_last_one_ended() -> None:
    told: list[Progress] = []
    monitor = StageMonitor(told.append, stages=PAPER)
    for part in range(2):
        for name in ("training", "rendering"):
            with monitor.stage(name, part, 2) as tick:
                tick(1, 2)
    done = [progress.done for progress in told]
    assert done == sorted(done)
    gone = STAGES["training"].share + STAGES["rendering"].share
    assert done[-1] == pytest.approx(gone / sum(stage.share for stage in PAPER))


def test_only_finite_losses_are_told_and_kept() -> None:
    told: list[Progress] = []
    monitor = StageMonitor(told.append)
    with monitor.stage("training") as tick:
        for step, loss in enumerate((math.nan, 0.5, math.inf)):
            tick(step, 3, loss)
    assert [progress.loss for progress in told if progress.steps == 3] == [None, 0.5, None]
    assert monitor.losses == {"training": 0.5}


def test_seconds_are_noted_for_every_stage_even_if_it_fails() -> None:
    monitor = StageMonitor()
    with pytest.raises(ZeroDivisionError), monitor.stage("training"):
        raise ZeroDivisionError
    assert list(monitor.seconds) == list(STAGES) and monitor.seconds["rendering"] == 0.0


def test_a_stop_takes_effect_at_the_next_step() -> None:
    asked: list[bool] = []
    monitor = StageMonitor(should_stop=lambda: bool(asked))
    with pytest.raises(Cancelled, match="nothing was written"), monitor.stage("training") as tick:
        tick(1, 3)
        asked.append(True)
        tick(2, 3)


@pytest.mark.parametrize(("seconds", "done", "left"), [
    (0.0, 0.0, None), (60.0, 0.0, None), (0.5, 0.5, None), (10.0, 0.5, 10.0), (30.0, 0.75, 10.0), (9.0, 1.0, 0.0),
    (9.0, 1.0 + 1e-9, 0.0)])
def test_the_time_left_follows_from_the_time_used(seconds: float, done: float, left: float | None) -> None:
    assert seconds_left(seconds, done) == left


@pytest.mark.parametrize(("seconds", "done", "least", "most"), [
    (0.0, 0.0, 40.0, 40.0),  # nothing else is known
    (10.0, 0.2, 32.0, 38.0),  # 30 was expected, 40 is what has passed says
    (100.0, 0.5, 100.0, 100.0),  # what has passed tells
    (60.0, 0.01, 20.0, 150.0),  # longer than expected already
    (38.0, 1.0, 0.0, 0.0)])
def test_what_was_expected_counts_in_the_beginning(seconds: float, done: float, least: float, most: float) -> None:
    left = seconds_left(seconds, done, expected=40.0)
    assert left is not None and least <= left <= most


@pytest.mark.parametrize("has_labels", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_stages_of_a_run_are_numbered_one_after_another(name: str, has_labels: bool, textured: Callable[..., np.ndarray]
                                                        ) -> None:
    volume = textured((9, 24, 24))
    grid, told = Grid(volume.shape), list[int]()
    labels = Segmentation.from_labelmap((volume > 0.5).astype(np.uint8), grid) if has_labels else None
    observations = Observations.from_volume(Image(volume, grid), {"k": Selection.every(9, 2)}, labels)
    preset = replace(PRESETS[name], blind=replace(PRESETS[name].blind, size=6))
    if preset.training.steps:
        preset = in_steps(preset, 2)
    result = reconstruct(observations, grid, preset=preset, device="cpu",
                         progress=lambda progress: told.append(progress.number))
    assert list(dict.fromkeys(told)) == list(range(1, max(told) + 1)) and result.report.slabs == 1
