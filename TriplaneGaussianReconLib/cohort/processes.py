"""Processes for cases: forked where that is possible, started anew elsewhere; they end with this one in any case."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import IO, Any

from .child import Task

# What a reconstruction imports, wherever; importing takes longer than a small case.
MODULES = ("torch", "numba", "cv2", "SimpleITK", "nibabel", "scipy.stats", "scipy.ndimage", "scipy.optimize",
            "scipy.interpolate", "rich.table", "rich.console", "rich.progress", "safetensors.torch", "psutil",
            "PIL.Image", "TriplaneGaussianReconLib.__main__", "TriplaneGaussianReconLib.command_line.reconstruct",
            "TriplaneGaussianReconLib.rasterizer.cpu", "TriplaneGaussianReconLib.cohort.thumbnails")
_BETWEEN_LOOKS = 0.1  # seconds between two looks at a process that was started anew
_END_SECONDS = 10.0  # that the fork server gets to end its processes
# Where modules are looked for is told, so that no file of the current folder stands in for a package.
_START = "import sys; sys.path[:] = sys.argv[2:]; from {module} import main; main()"


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code; the negative number of the signal that ended it.
        seconds: From start to end.
        memory: Bytes that it held at most; None where the system does not tell.
        is_late: Whether it was ended because its time was over.
    """

    code: int
    seconds: float
    memory: int | None
    is_late: bool = False


class Processes(ABC):
    """Runs programs of this library in processes of their own; to be used in a `with`, from any number of threads."""

    @abstractmethod
    def run(self, task: Task, seconds: float | None = None) -> Ended:
        """Run a program to its end.

        Args:
            task: What to run.
            seconds: After which it is ended by force; None for never.
        """

    def close(self) -> None:  # noqa: B027 - not everybody has something to close
        """End what still runs."""

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def processes() -> Processes:
    """Return what suits this system: libraries of macOS do not bear forks, and Windows has none."""
    return ForkedProcesses() if sys.platform == "linux" else NewProcesses()


class ForkedProcesses(Processes):
    """Processes that `fork_server` forks; the server starts with the first of them.

    modules: what it imports beforehand.
    """

    def __init__(self, modules: Sequence[str] = MODULES) -> None:
        self._modules = list(modules)
        self._lock, self._numbers = threading.Lock(), count()
        self._server: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, Future[Ended]] = {}

    def run(self, task: Task, seconds: float | None = None) -> Ended:
        """See `Processes`."""
        number, ended, start = next(self._numbers), Future[Ended](), time.monotonic()
        request = json.dumps({"number": number, "seconds": seconds, "task": task.to_line()})
        with self._lock:
            server = self._running_server()
            self._waiting[number] = ended
            assert server.stdin is not None
            with suppress(OSError):  # then the server is gone, which `_listen` tells
                server.stdin.write(request.encode("utf-8") + b"\n")
                server.stdin.flush()
        try:
            return ended.result()
        except ChildProcessError:  # the server was killed, and with it the process
            return Ended(-9, time.monotonic() - start, None)

    def close(self) -> None:
        """See `Processes`."""
        with self._lock:
            server = self._server
        if server is not None:
            assert server.stdin is not None
            with suppress(OSError):
                server.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                server.wait(_END_SECONDS)
            server.kill()
            server.wait()

    def _running_server(self) -> subprocess.Popen[bytes]:
        if self._server is None:
            self._server = subprocess.Popen(_command("fork_server"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            threading.Thread(target=self._listen, args=(self._server.stdout,), daemon=True).start()
            assert self._server.stdin is not None
            with suppress(OSError):  # as in `run`
                self._server.stdin.write(json.dumps(self._modules).encode("utf-8") + b"\n")
        return self._server

    def _listen(self, source: IO[bytes]) -> None:
        """Pass on how processes ended until the server has ended."""
        for line in source:
            message: dict[str, Any] = json.loads(line)
            self._waiting.pop(message.pop("number")).set_result(Ended(**message))
        with self._lock:  # those of the next server come after this
            self._server, lost = None, list(self._waiting.values())
            self._waiting.clear()
        for each in lost:
            each.set_exception(ChildProcessError("The fork server is gone."))


class NewProcesses(Processes):
    """Processes that are started anew, each with all imports."""

    def __init__(self) -> None:
        self._running, self._lock = set[subprocess.Popen[bytes]](), threading.Lock()

    def run(self, task: Task, seconds: float | None = None) -> Ended:
        """See `Processes`."""
        start, memory, is_late = time.monotonic(), 0, False
        process = subprocess.Popen(_command("child"), stdin=subprocess.PIPE, start_new_session=True)
        with self._lock:
            self._running.add(process)
        try:
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.write(task.to_line().encode("utf-8") + b"\n")
                process.stdin.flush()  # it stays open: its end would tell that this process is gone
            while True:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_BETWEEN_LOOKS)
                    break
                memory = max(memory, _held(process.pid))
                if seconds is not None and time.monotonic() - start > seconds and not is_late:
                    is_late = True
                    _kill(process)
        finally:
            _kill(process)
            process.wait()
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            with self._lock:
                self._running.discard(process)
        return Ended(process.returncode, time.monotonic() - start, memory or None, is_late)

    def close(self) -> None:
        """See `Processes`."""
        with self._lock:
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process that has not ended yet, and what it has started where that can be told from others."""
    if process.poll() is not None:
        return
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _held(pid: int) -> int:
    """Bytes that a process holds now."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _command(name: str) -> list[str]:
    """How to start a module of this package."""
    module = f"{__package__}.{name}"
    return [sys.executable, "-c", _START.format(module=module), module, *(path for path in sys.path if path)]
