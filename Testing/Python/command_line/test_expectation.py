"""What is said and asked of time and memory before the start."""
from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from TriplaneGaussianReconLib.command_line.expectation import expect
from TriplaneGaussianReconLib.command_line.messages import Messages
from TriplaneGaussianReconLib.command_line.words import memory_size
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.evaluation.peak_memory import peak_memory
from TriplaneGaussianReconLib.jobs.estimates import Estimate

Run = Callable[..., int]
LONG = Estimate(3.1 * 3600.0, 2_000_000_000, 0, is_measured=False)


class StandInTerminal(io.StringIO):
    """Text that says of itself that a person types or sees it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], StandInTerminal]:
    """A terminal at which this was typed; returns what is shown there."""
    def open_terminal(typed: str) -> StandInTerminal:
        shown = StandInTerminal()
        monkeypatch.setattr(sys, "stdin", StandInTerminal(typed))
        monkeypatch.setattr(sys, "stderr", shown)
        return shown

    return open_terminal


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_long_work_goes_on_where_that_is_wanted(answer: str, asked: Callable[[str], StandInTerminal]) -> None:
    shown = asked(answer)
    with Messages().shown():
        assert expect(LONG, None) == LONG.seconds
    assert re.fullmatch(r"About 3\.1 h and [\d.]+ GB on this computer \(\d+ threads?\), as a guess\.\n"
                        r"This takes about 3\.1 h\. Go on\? \[y/N\] ", shown.getvalue())


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "what?\n"])
def test_long_work_does_not_begin_where_it_is_not_wanted(answer: str, asked: Callable[[str], StandInTerminal]) -> None:
    asked(answer)
    with Messages().shown(), pytest.raises(Cancelled, match="Nothing was done"):
        expect(LONG, None)


def test_nothing_is_asked_of_short_work(asked: Callable[[str], StandInTerminal]) -> None:
    shown = asked("n\n")
    with Messages().shown():
        expect(Estimate(40.0, 2_100_000_000, 1_200_000_000, is_measured=True), 10 ** 9)
    assert re.fullmatch(r"About 40 s and 1\.0 GB, 1\.2 GB of the GPU on this computer \(\d+ threads?\)\.\n",
                        shown.getvalue())


def test_nothing_is_asked_where_nobody_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
                                               ) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with Messages().shown():
        expect(LONG, None)
    assert capsys.readouterr().err.startswith("About 3.1 h") and not capsys.readouterr().err


def test_a_run_tells_what_to_expect_and_in_detail_what_it_took(run: Run, tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct", "volume.nrrd", "--keep-every", "2", "--output", "o.nrrd", "--device", "cpu", "-v",
               "--memory", "750MB", "--threads", "1", "--log", "run.log") == 0
    told = capsys.readouterr()
    assert re.search(r"^About \d+ (s|min) and 0\.\d+ GB on this computer \(1 thread\)\.$", told.err, re.MULTILINE)
    assert "Weights of the predictions: " in told.err and "Memory at the peak: " in told.err
    peak = peak_memory()  # of this process, in which it ran; it never falls
    assert peak is not None and f"Memory at the peak: {memory_size(peak)}." in told.err
    assert ("and --memory allows 0.8 GB" in told.err) == (peak > 750e6)
    log = (tmp_path / "run.log").read_text()
    assert all(line in log for line in (*told.err.splitlines(), *told.out.splitlines()))
