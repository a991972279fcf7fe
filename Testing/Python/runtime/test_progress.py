"""Progress is told in order and by stages without jumps; a stop takes effect at the next step."""
from __future__ import annotations

import math

import pytest

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.config.stages import STAGES, stages_of
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.runtime.progress import Progress, StageMonitor

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
    assert done[-1] == pytest.approx((0.06 + 0.08) / sum(stage.share for stage in PAPER))


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
