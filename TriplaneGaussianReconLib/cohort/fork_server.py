"""Forks the processes of cases from one that has imported everything: `python -m ...cohort.fork_server`, on Linux.

So a case has a process of its own without paying for imports.  What to import comes on the first line of standard
input, tasks on the others, how each ended goes to standard output, all as JSON.  When standard input ends, the program
that wanted the results is gone, and so are then all cases; when this process is gone, so are they.

It starts no thread and computes nothing itself: what is forked from threads may wait for ever.
"""
from __future__ import annotations

import importlib
import json
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .child import Task, become, die_with

_SLEEP = 60.0  # seconds between two looks at nothing


@dataclass
class _Running:
    """A process that was forked."""

    number: int
    start: float
    deadline: float
    is_late: bool = False


class _Server:
    def __init__(self) -> None:
        self._running: dict[int, _Running] = {}
        self._input, self._has_imported = b"", False
        # Written to by the system whenever a process has ended, so that waiting for tasks ends too.
        self._ended, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the program that started this one, too

    def serve(self) -> None:
        """Fork what is asked for until nothing can be asked for any more."""
        try:
            while True:
                pause = min([each.deadline - time.monotonic() for each in self._running.values()], default=_SLEEP)
                ready, _, _ = select.select([0, self._ended], [], [], min(max(pause, 0.0), _SLEEP))
                if self._ended in ready:
                    os.read(self._ended, 4096)
                if 0 in ready and not self._read():
                    return
                self._collect()
                self._end_late()
        finally:
            for pid in self._running:
                _kill(pid)

    def _read(self) -> bool:
        """Read what is there; returns whether more can come."""
        piece = os.read(0, 2 ** 16)
        *lines, self._input = (self._input + piece).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if not self._has_imported:
                _import(request)
                self._has_imported = True
                continue
            self._fork(request["number"], request["seconds"], Task.from_line(request["task"]))
        return bool(piece)

    def _fork(self, number: int, seconds: float | None, task: Task) -> None:
        server, start = os.getpid(), time.monotonic()
        pid = os.fork()
        if not pid:
            die_with(server)
            os.setsid()  # so that it can be ended with all that it starts
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            become(task)
        self._running[pid] = _Running(number, start, float("inf") if seconds is None else start + seconds)

    def _collect(self) -> None:
        """Tell of the processes that have ended."""
        while self._running:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            ended = self._running.pop(pid, None)
            if ended is not None:
                _kill_group(pid)  # what it may have started
                _tell(number=ended.number, code=os.waitstatus_to_exitcode(status), memory=used.ru_maxrss * 1024,
                      seconds=round(time.monotonic() - ended.start, 3), is_late=ended.is_late)

    def _end_late(self) -> None:
        now = time.monotonic()
        for pid, each in self._running.items():
            if each.deadline <= now:
                each.is_late, each.deadline = True, float("inf")
                _kill(pid)


def _kill(pid: int) -> None:
    """End a process that was not waited for yet, and all that it started; it may not lead its group yet."""
    _kill_group(pid)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _tell(**fields: Any) -> None:
    os.write(1, json.dumps(fields).encode("ascii") + b"\n")


def _import(names: list[str]) -> None:
    for name in names:
        with suppress(ImportError):  # the case that needs it will tell
            importlib.import_module(name)


def main() -> None:
    """Serve until nobody wants it any more."""
    _Server().serve()


if __name__ == "__main__":
    main()
