"""The stages of a reconstruction, and those that a preset skips."""
from __future__ import annotations

from dataclasses import replace

import pytest

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.config.stages import STACK_STAGES, STAGES, USUAL_VOXELS, stages_of


def share_of(name: str, preset: str, voxels: float) -> float:
    stages = stages_of(PRESETS[preset], has_labels=False, voxels=voxels)
    return next(stage.share for stage in stages if stage.name == name) / sum(stage.share for stage in stages)


def test_learning_is_most_of_a_small_volume_and_little_of_a_large_one() -> None:
    assert share_of("learning", "fast", USUAL_VOXELS / 20) > 0.8
    assert share_of("learning", "fast", 20 * USUAL_VOXELS) < 0.1
    assert share_of("refinement", "fast", 20 * USUAL_VOXELS) > share_of("refinement", "fast", USUAL_VOXELS)


def test_larger_networks_learn_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt = PRESETS["balanced"].super_resolution
    assert learnt is not None
    longer = replace(PRESETS["balanced"], super_resolution=replace(learnt, steps=5 * learnt.steps))
    monkeypatch.setitem(PRESETS, "longer", longer)
    assert share_of("learning", "longer", USUAL_VOXELS) > share_of("learning", "balanced", USUAL_VOXELS)


def test_several_volumes_go_through_stages_of_their_own() -> None:
    assert [stage.name for stage in STACK_STAGES] == ["motion", "stacks", "rendering"]


def test_every_stage_is_told_in_words_of_its_own() -> None:
    sentences = [stage.sentence for stage in STAGES.values()]
    assert len(set(sentences)) == len(sentences) and all(sentence[0].isupper() for sentence in sentences)


@pytest.mark.parametrize(("preset", "has_labels", "skipped"), [
    ("fast", True, {"fusion", "training"}), ("fast", False, {"fusion", "labels", "training"}),
    ("balanced", True, {"training"}),
    ("paper", True, {"learning", "fusion", "labels"})])
def test_what_a_preset_does_not_do_is_no_stage(preset: str, has_labels: bool, skipped: set[str]) -> None:
    assert [stage.name for stage in stages_of(PRESETS[preset], has_labels, fills_labels=True)] == [
        name for name in STAGES if name not in {*skipped, "motion", "stacks"}]


def test_labels_are_only_filled_where_some_are_missing() -> None:
    names = [stage.name for stage in stages_of(PRESETS["best"], has_labels=True)]
    assert names == [name for name in STAGES if name not in ("label completion", "training", "motion", "stacks")]


@pytest.mark.parametrize(("fills", "names"), [(True, ["label completion"]), (False, [])])
def test_without_fitting_nothing_else_is_done(fills: bool, names: list[str]) -> None:
    stages = stages_of(PRESETS["best"], has_labels=True, fills_labels=fills, fits=False)
    assert [stage.name for stage in stages] == names
