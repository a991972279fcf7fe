"""Every signal that asks a process to stop does what Ctrl-C does; what was ignored from the start stays so."""
from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
from posix_case import POSIX
from repository import ROOT

from TriplaneGaussianReconLib.runtime.stop_signals import STOP_SIGNALS, interruptible, stoppable

SIGNALS = [number.name for number in STOP_SIGNALS]
pytestmark = pytest.mark.usefixtures("heard_signals")




def handlers() -> list[object]:
    return [signal.getsignal(number) for number in STOP_SIGNALS]


@pytest.mark.parametrize("name", SIGNALS)
def test_each_interrupts(name: str) -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(getattr(signal, name))
    assert handlers() == before


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("first", SIGNALS)
def test_the_first_asks_and_the_second_interrupts(first: str, second: str) -> None:
    before, told = handlers(), list[str]()
    with stoppable(lambda: told.append("told")) as should_stop:
        assert not should_stop() and not told
        signal.raise_signal(getattr(signal, first))
        assert should_stop() and told == ["told"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(getattr(signal, second))
    assert handlers() == before


@POSIX
def test_a_hangup_that_is_ignored_stays_so() -> None:
    """As `nohup` asks for."""
    program = ("import signal\nfrom TriplaneGaussianReconLib.runtime.stop_signals import interruptible, stoppable\n"
               "with interruptible(), stoppable() as should_stop:\n"
               "    signal.raise_signal(signal.SIGHUP)\n    assert not should_stop()\n"
               "    signal.raise_signal(signal.SIGTERM)\n    assert should_stop()\n"
               "    signal.raise_signal(signal.SIGHUP)\nassert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN\n")
    shell = "trap '' HUP; exec \"$@\""
    subprocess.run(["sh", "-c", shell, "sh", sys.executable, "-c", program], cwd=ROOT, check=True)


def test_other_threads_do_without() -> None:
    before, seen = handlers(), list[bool]()

    def work() -> None:
        with interruptible(), stoppable() as should_stop:
            seen.append(should_stop() or handlers() != before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


@POSIX
def test_a_process_that_is_done_ends_as_it_would_have() -> None:
    program = ("import os, signal\nfrom TriplaneGaussianReconLib.runtime.stop_signals import ignore_stop_signals\n"
               "ignore_stop_signals()\nos.kill(os.getpid(), signal.SIGHUP)\nos.kill(os.getpid(), signal.SIGTERM)\n"
               "raise SystemExit(7)")
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7
