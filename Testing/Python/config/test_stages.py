"""The stages of a reconstruction, and those that a preset skips."""
from __future__ import annotations

import pytest

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.config.stages import STACK_STAGES, STAGES, stages_of


def test_shares_of_the_time_add_up() -> None:
    assert sum(stage.share for stage in stages_of(PRESETS["balanced"], True, True)) == pytest.approx(1.0)
    assert sum(stage.share for stage in STACK_STAGES) == pytest.approx(1.0, abs=0.03)


def test_several_volumes_go_through_stages_of_their_own() -> None:
    assert [stage.name for stage in STACK_STAGES] == ["motion", "stacks", "rendering"]


def test_every_stage_is_told_in_words_of_its_own() -> None:
    sentences = [stage.sentence for stage in STAGES.values()]
    assert len(set(sentences)) == len(sentences) and all(sentence[0].isupper() for sentence in sentences)


@pytest.mark.parametrize(("preset", "has_labels", "skipped"), [
    ("fast", True, {"fusion"}), ("fast", False, {"fusion", "labels"}), ("balanced", True, set()),
    ("paper", True, {"learning", "fusion", "labels"})])
def test_what_a_preset_does_not_do_is_no_stage(preset: str, has_labels: bool, skipped: set[str]) -> None:
    assert [stage.name for stage in stages_of(PRESETS[preset], has_labels, fills_labels=True)] == [
        name for name in STAGES if name not in {*skipped, "motion", "stacks"}]


def test_labels_are_only_filled_where_some_are_missing() -> None:
    names = [stage.name for stage in stages_of(PRESETS["best"], has_labels=True)]
    assert names == [name for name in STAGES if name not in ("label completion", "motion", "stacks")]


@pytest.mark.parametrize(("fills", "names"), [(True, ["label completion"]), (False, [])])
def test_without_fitting_nothing_else_is_done(fills: bool, names: list[str]) -> None:
    stages = stages_of(PRESETS["best"], has_labels=True, fills_labels=fills, fits=False)
    assert [stage.name for stage in stages] == names
