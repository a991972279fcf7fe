"""What is shown while the program works."""
from __future__ import annotations

import io
import re
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from TriplaneGaussianReconLib.command_line import reconstruct as command
from TriplaneGaussianReconLib.command_line.console import Stages, note, shown_progress
from TriplaneGaussianReconLib.command_line.messages import Messages
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.runtime.devices import choose
from TriplaneGaussianReconLib.runtime.progress import Progress

Run = Callable[..., int]


class StandInTerminal(io.StringIO):
    """Text that says of itself that a person sees it, and of which lines are read that were typed before."""

    def isatty(self) -> bool:
        return True


def test_warnings_are_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(command, "reconstruct_with", warn_and_fail)
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd") == 2
    told = capsys.readouterr().err.splitlines()
    assert [told[0], *told[-2:]] == [choose("auto").note, "warning: Mind the gap.", "error: And the step."]


def test_a_terminal_shows_each_stage_in_words_and_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = StandInTerminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with Messages().shown(), shown_progress(expected=100.0) as show:
        show(Progress("training", 6, 8, 150, 300, 0.012, 0.2))
        show(Progress("training", 6, 8, 151, 300, None, 0.2))
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    lines = [line for line in re.split(r"[\r\n]", printed) if "stage 6" in line]
    assert re.fullmatch(r" +[\d.]+ s  stage 6 of 8: Training Gaussians, about \d+ s left *", lines[0])
    assert all(word in lines[-1] for word in ("stage 6/8", "step 151/300", "20%", "about"))
    assert "nan" not in printed and "loss" not in printed


def test_elsewhere_a_stage_is_told_once_and_again_when_it_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 1.0, 1.0, 2.0, 70.0, 70.0, 80.0, 80.0])
    with Messages().shown():
        stages = Stages(pause=60.0, clock=lambda: next(now))
        for name, done in (("learning", 0.01), ("learning", 0.1), ("learning", 0.5), ("rendering", 0.8)):
            stages(Progress(name, 1 + (name == "rendering"), 2, done=done))
    assert capsys.readouterr().err == (
        "    1.0 s  stage 1 of 2: Learning from the scan's own slices\n"
        "   70.0 s  stage 1 of 2: Learning from the scan's own slices, about 70 s left\n"
        "   80.0 s  stage 2 of 2: Drawing the volume, about 20 s left\n")


def warn_and_fail(*_: object, **__: object) -> Any:
    warnings.warn("Mind the gap.", stacklevel=1)
    raise InputError("And the step.")


def test_quiet_leaves_warnings_and_errors_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                                run: Run) -> None:
    monkeypatch.setattr(command, "reconstruct_with", warn_and_fail)
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd", "-q") == 2
    assert capsys.readouterr().err == "warning: Mind the gap.\nerror: And the step.\n"


def test_the_log_grows_with_times_and_holds_what_quiet_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                  run: Run) -> None:
    monkeypatch.setattr(command, "reconstruct_with", warn_and_fail)
    (tmp_path / "runs.log").write_text("What a former run told.\n")
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd", "-q", "--log", "runs.log") == 2
    first, *lines = (tmp_path / "runs.log").read_text().splitlines()
    assert first == "What a former run told."
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  .+", line) for line in lines)
    told = [line[21:] for line in lines]
    assert "--log runs.log" in told[0] and told[1] == choose("auto").note
    assert told[-2:] == ["warning: Mind the gap.", "error: And the step."]


@pytest.mark.parametrize(("log", "code", "message"), [
    ("o.nrrd", 2, "--log would write into 'o.nrrd', which is given as another file"),
    ("picture.bin", 2, "'picture.bin' is no log"), ("missing/run.log", 4, "does not exist"), (".", 4, "cannot be")])
def test_what_is_no_log_is_left_alone(log: str, code: int, message: str, tmp_path: Path, run: Run,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "picture.bin").write_bytes(b"\0\xff")
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd", "--log", log) == code
    assert message in capsys.readouterr().err and (tmp_path / "picture.bin").read_bytes() == b"\0\xff"
    assert not (tmp_path / "o.nrrd").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="This system has no device that is always full.")
def test_a_full_disk_ends_the_log_but_not_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    messages = Messages()
    with messages.shown():
        messages.follow(Namespace(quiet=False, verbose=False, log="/dev/full"), ["info"])
        note("One.")
        note("Two.")
    told = capsys.readouterr().err
    assert told.count("cannot be written any more: No space left on device") == 1 and told.endswith("One.\nTwo.\n")
