"""Runs the library's worker in a process of its own.

A job that crashes or runs out of memory does no harm to the application.  Everything here happens in the thread of the
user interface, in reply to signals of Qt.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from TriplaneGaussianReconLib.jobs.protocol import LAST, STOP, Message, parse

from .python_process import PythonProcess, SingleShot

GRACE_MILLISECONDS = 1500  # that a worker gets to stop in before it is killed
_TOLD = ("device", "name", "memory_bytes", "note", "slowness")  # of each device
_WORKER = ["-m", "TriplaneGaussianReconLib.jobs.worker"]


class WorkerProcess:
    """Does one job after another, each in a process of its own.

    The owner sets the callables; each is called with a message of `jobs.protocol`. For every job exactly one of
    onFinished, onFailed and onCancelled is called, after its process has ended and with `state` back at `idle`.

    Attributes:
        state: `idle`, `running` or `cancelling`.
    """

    def __init__(self, python: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Prepare to run jobs.

        Args:
            python: The interpreter; None finds that of the application.
            environment: Variables to add.
        """
        self.state = "idle"
        self.onStarted: Callable[[Message], None] = _ignore
        self.onProgress: Callable[[Message], None] = _ignore
        self.onPreview: Callable[[Message], None] = _ignore
        self.onFinished: Callable[[Message], None] = _ignore
        self.onFailed: Callable[[Message], None] = _ignore
        self.onCancelled: Callable[[Message], None] = _ignore
        self._process = PythonProcess(self._onLine, self._onEnd, python, environment)
        self._patience = SingleShot(GRACE_MILLISECONDS, self._process.end)
        self._last: Message | None = None
        self._folder = Path()

    @property
    def log(self) -> str:
        """What the last job wrote to standard error, its last lines."""
        return self._process.log

    def start(self, folder: Path) -> None:
        """Start the job in `folder`; returns at once; raises RuntimeError while another one is running."""
        if self.state != "idle":
            raise RuntimeError(_("A job is running already. Cancel it, or wait until it has ended."))
        self.state, self._last, self._folder = "running", None, folder
        self._process.start([*_WORKER, str(folder)])

    def cancel(self) -> None:
        """Ask the job to stop, and kill it if it does not in time; returns at once."""
        if self.state != "running":
            return
        self.state = "cancelling"
        try:
            (self._folder / STOP).touch()
            self._patience.start()
        except OSError:
            self._process.end()

    def kill(self) -> None:
        """End the job by force; its process is gone when this returns."""
        if self.state != "idle":
            self.state = "cancelling"
            self._process.kill()

    def _onLine(self, line: bytes) -> None:
        message = parse(line.decode("utf-8", "replace"))
        if message is None:
            self._process.keep(line)
        elif message["event"] in LAST:
            self._last = message
        elif self.state == "running":
            receivers = {"started": self.onStarted, "progress": self.onProgress, "preview": self.onPreview}
            receivers[message["event"]](message)

    def _onEnd(self, problem: str) -> None:
        self._patience.stop()
        message = {"event": "cancelled"} if self.state == "cancelling" else self._last or self._failure(problem)
        self.state = "idle"
        receivers = {"finished": self.onFinished, "failed": self.onFailed, "cancelled": self.onCancelled}
        receivers[message["event"]](message)

    def _failure(self, problem: str) -> Message:
        """The message for a process that ended without one."""
        kind = "internal" if self._process.hasStarted else "missing"
        if self._process.wasKilled:
            kind = "memory"
            problem = _("The system ended the process, most likely because memory ran out. Close other programs, crop "
                        "the volume, or choose a larger slice spacing or the quality Fast.")
        elif not problem:
            problem = _("The process ended before it was done (exit code {code}). Often memory has run out: close "
                        "other programs, or crop the volume. The details may tell more."
                        ).format(code=self._process.exitCode)
        return {"event": "failed", "kind": kind, "message": problem, "details": self._process.log}


class DeviceList:
    """Lists the devices to compute on, found in a process of its own."""

    def __init__(self, onFound: Callable[[list[dict[str, Any]]], None], python: str | None = None,
                 environment: Mapping[str, str] | None = None) -> None:
        """Prepare to look.

        Args:
            onFound: Called with a list of {"device", "name", "memory_bytes", "note", "slowness"}, the CPU last; with an
                empty list if that failed, see `log`. Not called after `kill`.
            python: As for `WorkerProcess`.
            environment: As for `WorkerProcess`.
        """
        self._onFound, self._isWanted, self._devices = onFound, False, list[dict[str, Any]]()
        self._process = PythonProcess(self._onLine, self._onEnd, python, environment)

    @property
    def log(self) -> str:
        """What was written to standard error, or went wrong."""
        return self._process.log

    def start(self) -> None:
        """Start looking, unless that is going on already; returns at once."""
        if not self._process.isRunning:
            self._isWanted, self._devices = True, []
            self._process.start([*_WORKER, "--devices"])

    def kill(self) -> None:
        """Stop looking."""
        self._isWanted = False
        self._process.kill()

    def _onLine(self, line: bytes) -> None:
        try:
            self._devices = [{name: device[name] for name in _TOLD}
                             for device in json.loads(line)]
        except (ValueError, TypeError, KeyError):
            self._process.keep(line)

    def _onEnd(self, problem: str) -> None:
        self._process.keep(problem.encode())
        if self._isWanted:
            self._onFound(self._devices)


def _ignore(message: Message) -> None:
    """Do nothing with messages that nobody wants."""
