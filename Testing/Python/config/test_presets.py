"""Presets and what they hold."""
from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from typing import Any

import pytest
from repository import ROOT

from TriplaneGaussianReconLib.command_line.arguments import build_parser
from TriplaneGaussianReconLib.config.baseline_presets import INNERGS_STYLE, field_alone
from TriplaneGaussianReconLib.config.networks import NetworkConfig
from TriplaneGaussianReconLib.config.presets import DEFAULT_PRESET, PRESETS, Preset, preset_named
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.estimates import estimate
from TriplaneGaussianReconLib.prediction.interpolators import INTERPOLATORS, MEMBERS

EVERY_PRESET = (*PRESETS.values(), INNERGS_STYLE, field_alone(PRESETS["paper"]))


def configurations(whole: Any) -> Iterator[Any]:
    """`whole` and all dataclasses in it."""
    if is_dataclass(whole):
        yield whole
        for field in fields(whole):
            yield from configurations(getattr(whole, field.name))


def test_configuration_loads_nothing_heavy() -> None:
    """Every module of the package, in a process of its own."""
    modules = sorted(f"TriplaneGaussianReconLib.config.{path.stem}"
                     for path in (ROOT / "TriplaneGaussianReconLib" / "config").glob("*.py") if path.stem != "__init__")
    code = ("import importlib, json, sys\n"
            f"for name in {modules!r}: importlib.import_module(name)\n"
            "print(json.dumps(sorted({'torch', 'numpy', 'numba', 'cv2', 'SimpleITK', 'scipy'} & set(sys.modules))))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(modules) > 5 and json.loads(done.stdout) == []


@pytest.mark.parametrize("preset", EVERY_PRESET, ids=lambda preset: preset.name)
def test_a_description_is_one_sentence(preset: Preset) -> None:
    text = preset.description
    assert text[0].isupper() and text.endswith(".") and text.count(".") == 1 and len(text) < 100 and "%" not in text


def test_each_preset_has_its_own_name_and_description() -> None:
    assert {name: preset.name for name, preset in PRESETS.items()} == {name: name for name in PRESETS}
    assert len({preset.description for preset in EVERY_PRESET}) == len(EVERY_PRESET)
    assert all(name == name.lower() for name in PRESETS)
    assert all(name.isidentifier() for name, each in PRESETS.items() if not each.for_comparison)  # the panel's members


def test_a_new_preset_can_be_chosen_and_is_explained(monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    """An entry in PRESETS is all that the command line and the estimate need."""
    new = replace(PRESETS[DEFAULT_PRESET], name="new", description="For this test alone.")
    monkeypatch.setitem(PRESETS, "new", new)
    parser = build_parser()
    assert parser.parse_args(["reconstruct", "v.nrrd", "--output", "o.nrrd", "--preset", "new"]).preset == "new"
    with pytest.raises(SystemExit):
        parser.parse_args(["reconstruct", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{name}: {preset.description}" in shown for name, preset in PRESETS.items())
    assert not estimate(Grid((64, 64, 64)), {"k": Selection.every(64, 4)}, True, "new", "cpu").is_measured


def test_the_default_is_for_use() -> None:
    assert not PRESETS[DEFAULT_PRESET].for_comparison and next(iter(PRESETS)) == DEFAULT_PRESET


@pytest.mark.parametrize("preset", EVERY_PRESET, ids=lambda preset: preset.name)
def test_nothing_in_a_preset_can_be_set(preset: Preset) -> None:
    parts = list(configurations(preset))
    assert len(parts) >= 9
    for part in parts:
        with pytest.raises(FrozenInstanceError):
            setattr(part, fields(part)[0].name, None)


@pytest.mark.parametrize("preset", EVERY_PRESET, ids=lambda preset: preset.name)
def test_presets_travel_to_other_processes(preset: Preset) -> None:
    assert pickle.loads(pickle.dumps(preset)) == preset


@pytest.mark.parametrize("preset", EVERY_PRESET, ids=lambda preset: preset.name)
def test_names_of_members_exist(preset: Preset) -> None:
    ensemble = preset.ensemble
    assert {*ensemble.usual} <= {*INTERPOLATORS}
    assert {*ensemble.usual_with_super_resolution, *ensemble.caution} <= {*MEMBERS}
    for usual in (ensemble.usual, ensemble.usual_with_super_resolution):
        assert sum(usual.values()) == pytest.approx(1.0)
    if preset.fusion is not None:
        assert {*preset.fusion.first_logits} <= {*preset.fusion.interpolators} <= {*INTERPOLATORS}


@pytest.mark.parametrize("preset", EVERY_PRESET, ids=lambda preset: preset.name)
def test_networks_build_on_the_super_resolution(preset: Preset) -> None:
    """Without one there is nothing to fuse, and no image between the slices to find labels in."""
    has_others = preset.fusion is not None or preset.label_super_resolution is not None
    assert preset.super_resolution is not None or not has_others
    assert all(part.steps > 0 and part.batch > 0 and part.augmentations in (1, 2, 4, 8, 16)
               for part in configurations(preset) if isinstance(part, NetworkConfig))


def test_unknown_presets_are_refused_with_those_that_exist() -> None:
    assert preset_named("fast") is PRESETS["fast"]
    with pytest.raises(InputError, match="Unknown preset 'worst'. Choose one of fast, balanced, best, paper, "):
        preset_named("worst")
