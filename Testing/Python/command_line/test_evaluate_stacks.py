"""`evaluate` with simulated stacks and with several volumes."""
from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stack_case import GRID, blobs, rigid

from TriplaneGaussianReconLib.command_line import evaluate_stacks
from TriplaneGaussianReconLib.command_line.arguments import parse
from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.evaluation.ours import Ours
from TriplaneGaussianReconLib.evaluation.stack_simulation import Simulation, central, simulate
from TriplaneGaussianReconLib.io.motion_files import write_motion
from TriplaneGaussianReconLib.io.writers import write_image

Run = Callable[..., int]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a dense volume, two stacks of it, and a mask of the first stack."""
    truth = central(Image(blobs(), GRID), 24)
    first, second = (stack.image for stack in simulate(truth, Simulation(2, 3, motion=(1.0, 1.0))))
    write_image(tmp_path / "dense.nrrd", truth)
    write_image(tmp_path / "a.nii.gz", first)
    write_image(tmp_path / "b.nii.gz", second)
    write_image(tmp_path / "mask.nii.gz", Image((first.array > 30).astype(np.uint8), first.grid))
    return tmp_path


def test_simulated_stacks_are_compared(run: Run, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "dense.nrrd", "--simulate-stacks", 1, "--noise", "2%", "--factor", 3, "--side", 40, "--json",
               "s.json", "--figure", "s.png", "--device", "cpu") == 0
    printed = capsys.readouterr()
    assert "stack 1, cubic" in printed.out and "edge-preserving" in printed.out and "Share" in printed.out
    assert printed.err.splitlines()[1:] == ["1 of 4: stack 1, cubic", "2 of 4: least squares",
                                            "3 of 4: edge-preserving", "4 of 4: fast"]
    content = json.loads((here / "s.json").read_text(encoding="utf-8"))
    assert content["simulation"]["noise"] == 0.02 and content["simulation"]["factor"] == 3
    assert content["shape"] == [24, 24, 24] and (here / "s.png").stat().st_size > 10_000


def test_scores_are_there_even_if_no_reconstruction_succeeds(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    def fails(*_: object) -> None:
        raise InputError("no luck")

    monkeypatch.setattr(Ours, "together", fails)
    assert run("evaluate", "dense.nrrd", "--simulate-stacks", 2, "--json", "s.json", "--figure", "s.png") == 1
    printed = capsys.readouterr()
    assert "fast left out: no luck" in printed.out and "No reconstruction succeeded" in printed.err
    assert len(json.loads((here / "s.json").read_text(encoding="utf-8"))["rows"]) == 6
    assert (here / "s.png").stat().st_size > 10_000


def test_hidden_slices_of_two_volumes_are_predicted(run: Run, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "a.nii.gz", "--mask", "mask.nii.gz", "b.nii.gz", "--device", "cpu", "--json", "s.json") == 0
    printed = capsys.readouterr()
    assert "own slices, cubic" in printed.out and "hidden in turn (3, 3 slices)" in " ".join(printed.out.split())
    content = json.loads((here / "s.json").read_text(encoding="utf-8"))
    assert content["volumes"] == ["a", "b"] and len(content["rows"]) == 4
    assert all(row["failure"] is None and len(row["volumes"]) == 2 for row in content["rows"])


def test_options_belong_to_the_volume_they_follow(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def stops(inputs: list[StackInput], names: list[str], ours: Ours, announce: object) -> None:
        asked.extend([inputs, names, ours])
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate_stacks, "evaluate_hidden", stops)
    write_motion(here / "to_first.tfm", StackMotion(rigid((2.0, 0.0, 0.0), (0.0, 0.0, 0.0))))
    assert run("evaluate", "--thickness", 5, "a.nii.gz", "--mask", "mask.nii.gz", "a.nii.gz", "--thickness", 4,
               "--profile", "box", "--to-first", "to_first.tfm", "--axis", "i", "--methods", "fast,balanced",
               "--each-alone", "--seed", 7) == 130
    (first, second), names, ours = asked
    assert (first.thickness, first.profile, first.to_first) == (5.0, "gaussian", None)
    assert first.mask is not None and first.mask.layers.any() and second.mask is None
    assert (second.thickness, second.profile, second.slice_axis) == (4.0, "box", "i") and second.to_first is not None
    assert names == ["a", "a"] and list(ours.presets) == ["fast", "balanced"]
    assert ours.alone and ours.seed == 7 and ours.presets["fast"] is PRESETS["fast"]


@pytest.mark.parametrize(("options", "message"), [
    (["--keep-every", 2, "--noise", 2], "--noise goes with --simulate-stacks"),
    (["--keep-every", 2, "--motion", "0,0"], "--motion goes with --simulate-stacks"),
    (["--keep-every", 2, "--thickness", 2], "--thickness goes with several volumes"),
    (["--keep-every", 2, "--profile", "box"], "--profile goes with several volumes or simulated stacks"),
    (["--simulate-stacks", 2, "--labels", "mask.nii.gz"], "--labels goes with hidden slices"),
    (["--simulate-stacks", 2, "--methods", "linear"], "Unknown preset 'linear'. Choose from fast"),
    (["--simulate-stacks", 2, "--side", 20], "at least 24 voxels"),
    (["b.nii.gz", "--keep-every", 2], "--keep-every goes with one volume alone"),
    (["b.nii.gz", "--gain", 2], "--gain goes with --simulate-stacks"),
    (["b.nii.gz", "--labels", "mask.nii.gz"], "--labels goes with one volume alone"),
    (["b.nii.gz", "--mask", "missing.nii.gz"], "Volume 2: .*missing.nii.gz"),
    (["b.nii.gz", "--axis", "i", "--json", "missing/s.json"], "does not exist")])
def test_what_does_not_go_together_is_told(run: Run, here: Path, capsys: pytest.CaptureFixture[str],
                                           options: list[object], message: str) -> None:
    assert run("evaluate", "a.nii.gz", *options) in (2, 4)
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("argv", [["v", "--simulate-stacks", "4"], ["v", "--simulate-stacks", "2", "--noise", "120"],
                                  ["v", "--simulate-stacks", "2", "--noise", "much"],
                                  ["v", "--simulate-stacks", "2", "--motion", "2"],
                                  ["v", "--simulate-stacks", "2", "--motion=-2,1"],
                                  ["v", "--simulate-stacks", "2", "--factor", "5"]])
def test_wrong_usage_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["evaluate", *argv])
    assert end.value.code == 2 and "usage:" in capsys.readouterr().err
