"""A Python process beside the application, which never waits for it."""
from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

import TriplaneGaussianReconLib
from TriplaneGaussianReconLib.errors import MissingPackageError

_END_MILLISECONDS = 2000  # that a killed process gets to be gone
_LOG_BYTES = 64 * 1024  # of what a process writes to standard error are kept, the last ones
_LONGEST_LINE = 2 ** 20  # bytes; a line that is longer is no message
_KILLED = 9  # the signal that the system uses when memory runs out
_LIBRARY = Path(TriplaneGaussianReconLib.__file__).resolve().parents[1]


def pythonExecutable() -> str:
    """Return the Python interpreter of the application, a launcher that starts the interpreter proper as a process.

    Raises:
        MissingPackageError: It is not there.
    """
    name = "PythonSlicer.exe" if os.name == "nt" else "PythonSlicer"
    found = shutil.which(name) or shutil.which(name, path=os.path.dirname(sys.executable))
    if found is None:
        raise MissingPackageError(_("{name}, which belongs to 3D Slicer, was not found. Install 3D Slicer again."
                                    ).format(name=name))
    return found


class PythonProcess:
    """A Python process that can find the library; its standard output is read line by line.

    Attributes:
        hasStarted: Whether it could be started.
        exitCode: What it returned.
        wasKilled: Whether the system ended it as it does where memory runs out. Windows does not tell, nor does a
            launcher in between.
    """

    def __init__(self, onLine: Callable[[bytes], None], onEnd: Callable[[str], None], python: str | None = None,
                 environment: Mapping[str, str] | None = None) -> None:
        """Prepare to start processes.

        Args:
            onLine: Called with each line (bytes) in the thread of the user interface.
            onEnd: Called once at the end in that thread, with an empty text, or with what went wrong: the process could
                not be started, crashed, or was killed.
            python: The interpreter; None finds that of the application.
            environment: Variables to add.
        """
        self._onLine, self._onEnd, self._python, self._environment = onLine, onEnd, python, dict(environment or {})
        self.hasStarted, self.exitCode, self.wasKilled = False, 0, False
        self._isRunning, self._line, self._log, self._problem = False, b"", b"", ""
        self._starts = 0
        self._process = qt.QProcess()
        # The end is told from the event loop, never from within a signal of the process: another may be started then.
        self._end = SingleShot(0, self._tellEnd)

    @property
    def isRunning(self) -> bool:
        """Whether it has been started and `onEnd` has not been called yet."""
        return self._isRunning

    @property
    def log(self) -> str:
        """The last lines of standard error, and those that `keep` was given."""
        return self._log.decode("utf-8", "replace")

    def start(self, arguments: list[str]) -> None:
        """Start it with these arguments; returns at once."""
        self.hasStarted, self.exitCode, self.wasKilled = False, 0, False
        self._isRunning, self._line, self._log, self._problem = True, b"", b"", ""
        self._starts += 1
        for sender, signal, react in self._connections():
            sender.connect(signal, react)
        try:
            python = self._python or pythonExecutable()
        except MissingPackageError as error:
            self._problem = str(error)
            self._end.start()
            return
        self._process.setProcessEnvironment(self._completeEnvironment())
        # Before Python 3.11 the current folder is imported from in any case: not the one that 3D Slicer was started in.
        self._process.setWorkingDirectory(str(_LIBRARY))
        self._process.start(python, arguments)

    def keep(self, line: bytes) -> None:
        """Add a line to the log."""
        self._log = (self._log + line + b"\n")[-_LOG_BYTES:]

    def end(self) -> None:
        """End it and all that it started by force; `onEnd` is called later."""
        started = _startedBy(self._process.processId())
        self._process.kill()
        _kill(started)

    def kill(self) -> None:
        """End it and all that it started by force; `onEnd` has been called when this returns."""
        if self._isRunning:
            self.end()
            self._process.waitForFinished(_END_MILLISECONDS)
            self._tellEnd()

    def _connections(self) -> tuple[tuple[qt.QObject, str, Callable[..., None]], ...]:
        """Signals and what they call while the process is running; `SingleShot` says why not always."""
        return ((self._process, "readyReadStandardOutput()", self._readLines),
                (self._process, "readyReadStandardError()", self._readLog),
                (self._process, "errorOccurred(QProcess::ProcessError)", self._onError),
                (self._process, "finished(int,QProcess::ExitStatus)", self._onFinished),
                (qt.QCoreApplication.instance(), "aboutToQuit()", self.kill))

    def _completeEnvironment(self) -> qt.QProcessEnvironment:
        environment = qt.QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONIOENCODING", "utf-8")
        environment.insert("PYTHONSAFEPATH", "1")  # nothing in the current folder is imported
        for name, value in self._environment.items():
            environment.insert(name, value)
        paths = [str(_LIBRARY), environment.value("PYTHONPATH")]
        environment.insert("PYTHONPATH", os.pathsep.join(path for path in paths if path))
        return environment

    def _readLines(self) -> None:
        *lines, self._line = (self._line + _bytes(self._process.readAllStandardOutput())).split(b"\n")
        if len(self._line) > _LONGEST_LINE:
            self._line = b""
        start = self._starts
        for line in lines:
            if start == self._starts:  # else the last one ended this process and started another
                self._onLine(line)

    def _readLog(self) -> None:
        self._log = (self._log + _bytes(self._process.readAllStandardError()))[-_LOG_BYTES:]

    def _onError(self, *arguments: Any) -> None:
        # With Qt 5, PythonQt takes `error` for the signal of that name, so the state has to tell which error it was.
        # After a crash all this is told as well, and `_onFinished` then knows better.
        if self._process.state() == qt.QProcess.NotRunning:
            self._problem = _("Python could not be started: {reason}. Close other programs, or install 3D Slicer again."
                              ).format(reason=self._process.errorString())
            self._end.start()

    def _onFinished(self, *arguments: Any) -> None:
        self._readLines()
        self._readLog()
        hasCrashed = self._process.exitStatus() == qt.QProcess.CrashExit
        self.hasStarted, self.exitCode = True, int(self._process.exitCode())
        self.wasKilled = hasCrashed and os.name != "nt" and self.exitCode == _KILLED
        self._problem = _("The process crashed. Choose another device, or crop the volume; the details may tell why."
                          ) if hasCrashed else ""
        self._end.start()

    def _tellEnd(self) -> None:
        self._end.stop()
        if self._isRunning:
            self._isRunning = False
            for sender, signal, react in self._connections():
                sender.disconnect(signal, react)
            self._onEnd(self._problem)


class SingleShot:
    """A timer that calls something once, some time after its start.

    It is connected only while it waits: in Slicer, a connection keeps a reference that Python's garbage collector does
    not see.
    """

    def __init__(self, milliseconds: int, call: Callable[[], None]) -> None:
        self._call, self._isWaiting = call, False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(milliseconds)

    def start(self) -> None:
        """Start, or start anew."""
        if not self._isWaiting:
            self._isWaiting = True
            self._timer.connect("timeout()", self._onTimeout)
        self._timer.start()

    def stop(self) -> None:
        """Do not call."""
        if self._isWaiting:
            self._isWaiting = False
            self._timer.stop()
            self._timer.disconnect("timeout()", self._onTimeout)

    def _onTimeout(self) -> None:
        self.stop()
        self._call()


def _bytes(data: Any) -> bytes:
    """What QProcess read, as bytes; it arrives as bytes or as QByteArray."""
    return bytes(data.data() if hasattr(data, "data") else data)


def _startedBy(number: int) -> list[Any]:
    """Return the children of process `number`, and theirs."""
    try:
        import psutil
    except ImportError:  # one of the packages without which no job gets anywhere
        return []
    try:
        return list(psutil.Process(number).children(recursive=True)) if number else []
    except psutil.Error:
        return []


def _kill(processes: list[Any]) -> None:
    """Kill those processes that are still there."""
    if processes:
        import psutil

        for process in processes:
            with suppress(psutil.Error):
                process.kill()
