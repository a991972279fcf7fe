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


def test_the_progress_bar_shows_stage_step_and_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from TriplaneGaussianReconLib.command_line.console import shown_progress
    from TriplaneGaussianReconLib.pipeline.reconstruction import STAGES, Progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with shown_progress(STAGES) as show:
        show(Progress("training", 0.5, 150, 300, 0.012, 0.48))
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    last = [line for line in re.split(r"[\r\n]", printed) if "training" in line][-1]
    assert "step 150/300, loss 0.012" in last and "48%" in last and "left" in last
