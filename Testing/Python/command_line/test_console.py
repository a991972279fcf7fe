"""What is shown while the program works."""
from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from TriplaneGaussianReconLib.command_line import reconstruct as command
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.runtime.devices import choose

Run = Callable[..., int]


def test_warnings_are_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    import warnings

    def warn(*_: object, **__: object) -> Any:
        warnings.warn("Mind the gap.", stacklevel=1)
        raise InputError("And the step.")

    monkeypatch.setattr(command, "reconstruct", warn)
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd") == 2
    assert capsys.readouterr().err == f"{choose('auto').note}\nwarning: Mind the gap.\nerror: And the step.\n"


def test_a_terminal_shows_each_stage_in_words_and_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from TriplaneGaussianReconLib.command_line.console import shown_progress
    from TriplaneGaussianReconLib.runtime.progress import Progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with shown_progress() as show:
        show(Progress("training", 6, 8, 150, 300, 0.012, 0.48))
        show(Progress("training", 6, 8, 151, 300, None, 0.48))
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    lines = [line for line in re.split(r"[\r\n]", printed) if "stage 6" in line]
    assert re.fullmatch(r" +[\d.]+ s  stage 6 of 8: Training Gaussians *", lines[0])
    assert "stage 6/8" in lines[-1] and "step 151/300" in lines[-1] and "48%" in lines[-1] and "left" in lines[-1]
    assert "nan" not in printed
