"""Processes of cases: isolated, limited in time, and gone with the one that wanted them."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from repository import ROOT

from TriplaneGaussianReconLib.cohort.child import Task
from TriplaneGaussianReconLib.cohort.processes import ForkedProcesses, NewProcesses, Processes

KINDS = [pytest.param(ForkedProcesses, marks=pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux")),
         NewProcesses]
MODULE = """
import os, subprocess, sys, time
def main():
    what = sys.argv[1]
    print(what, os.environ.get("COLOUR"), len(sys.stdin.read()), flush=True)
    if what == "sleep":
        with open(sys.argv[2], "w") as file:
            file.write(f"{os.getpid()} {subprocess.Popen(['sleep', '1000']).pid}\\n")
        time.sleep(1000)
    if what == "raise":
        raise ValueError("no way")
    if what == "exit":
        sys.exit(4)
    if what == "crash":
        os.abort()
    return int(what)
"""
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from TriplaneGaussianReconLib.cohort.child import Task
from TriplaneGaussianReconLib.cohort.processes import {kind}
with {kind}({arguments}) as processes:
    print("ready", flush=True)
    processes.run(Task("stand_in_case", ("sleep", sys.argv[2]), sys.argv[3]))
"""


def made(kind: type[Processes]) -> Processes:
    """Processes that are forked from one that has imported nothing, which takes no time, or started anew."""
    return ForkedProcesses(()) if kind is ForkedProcesses else kind()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program for cases that ends as it is told."""
    (tmp_path / "stand_in_case.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture(params=KINDS)
def processes(request: pytest.FixtureRequest, module: Path) -> Iterator[Processes]:
    with made(request.param) as started:
        yield started


def eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def pids(path: Path) -> list[int]:
    """The processes that the sleeping program told of, once it has."""
    eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return [int(pid) for pid in path.read_text().split()]


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_exit_codes_output_and_environment_are_those_of_the_program(processes: Processes, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    codes = [processes.run(Task("stand_in_case", (what,), str(log), {"COLOUR": what})).code
             for what in ("0", "5", "raise", "exit", "crash")]
    assert codes[:4] == [0, 5, 1, 4] and codes[4] != 0
    lines = log.read_text().splitlines()
    assert lines[:2] == ["0 0 0", "5 5 0"] and "ValueError: no way" in lines and "Fatal Python error: Aborted" in lines
    assert "COLOUR" not in os.environ


def test_many_run_at_a_time_and_what_is_late_is_ended(processes: Processes, tmp_path: Path) -> None:
    tasks = [Task("stand_in_case", ("0",), str(tmp_path / "log.txt")) for _ in range(5)]
    sleeper = Task("stand_in_case", ("sleep", str(tmp_path / "pid")), str(tmp_path / "log.txt"))
    with ThreadPoolExecutor() as pool:
        late = pool.submit(processes.run, sleeper, 3.0)
        assert [ended.code for ended in pool.map(processes.run, tasks)] == [0] * 5
        ended = late.result()
    assert ended.is_late and ended.code != 0 and 3.0 <= ended.seconds < 30.0
    assert ended.memory is None or ended.memory > 10 ** 6
    assert not is_alive(pids(tmp_path / "pid")[0])


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not Windows'")
@pytest.mark.parametrize("kind", [each.values[0] if hasattr(each, "values") else each for each in KINDS])
def test_nothing_lives_on_when_the_parent_is_killed(kind: type[Processes], module: Path) -> None:
    if kind is ForkedProcesses and sys.platform != "linux":
        pytest.skip("forks on Linux")
    program = subprocess.Popen([sys.executable, "-c", PROGRAM.format(
        kind=kind.__name__, arguments="()" if kind is ForkedProcesses else ""), str(module),
                                str(module / "pid"), str(module / "log.txt")], stdout=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(ROOT)})
    child, own = pids(module / "pid")
    started = [each.pid for each in psutil.Process(program.pid).children(recursive=True)]
    assert child in started
    program.send_signal(signal.SIGKILL)
    program.wait()
    eventually(lambda: not is_alive(child) and not is_alive(own))


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux")
def test_what_a_case_has_started_ends_with_it(module: Path) -> None:
    with ForkedProcesses(()) as processes:
        processes.run(Task("stand_in_case", ("sleep", str(module / "pid")), str(module / "log.txt")), 1.5)
    eventually(lambda: not any(map(is_alive, pids(module / "pid"))))


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux")
def test_when_the_fork_server_is_killed_its_cases_end_and_the_next_has_another(module: Path) -> None:
    with ForkedProcesses(()) as processes, ThreadPoolExecutor() as pool:
        sleeping = pool.submit(processes.run, Task("stand_in_case", ("sleep", str(module / "pid")),
                                                   str(module / "log.txt")))
        child, started = pids(module / "pid")
        server = psutil.Process(child).parent()
        assert server is not None
        server.kill()
        assert sleeping.result().code == -9
        eventually(lambda: not is_alive(child))
        os.kill(started, signal.SIGKILL)  # nobody is left who knows of it
        assert processes.run(Task("stand_in_case", ("0",), str(module / "log.txt"))).code == 0
