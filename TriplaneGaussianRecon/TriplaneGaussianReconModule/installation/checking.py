"""Whether the packages are whole and can be imported: found out in a process of its own, which may crash by that."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from ..run.python_process import PythonProcess
from . import packages
from .packages import Package, State

_WORKER = Path(__file__).with_name("check_worker.py")


class Check:
    """Looks at the packages, while the user interface goes on."""

    def __init__(self, onEnd: Callable[[list[Package]], Any], python: str | None = None) -> None:
        """Prepare to look.

        Args:
            onEnd: Called once with what there is to say of each package.
            python: The interpreter whose packages they are; None is that of the application.
        """
        self._onEnd = onEnd
        self._process = PythonProcess(self._onLine, self._onProcessEnd, python)
        self._found: list[Package] = []
        self._todo: dict[str, Package] = {}
        self._begun, self._isClosed = "", False

    def start(self) -> list[Package]:
        """Start; returns at once what can be said without importing anything."""
        self._found = packages.look()
        self._todo = {package.name: package for package in self._found if package.state is State.PRESENT}
        self._next()
        return self._found

    def close(self) -> None:
        """Stop; nothing is told any more."""
        self._isClosed = True
        self._process.kill()

    def _next(self) -> None:
        """Look at what has not been looked at yet."""
        self._begun = ""
        self._process.start([str(_WORKER), json.dumps([
            {"name": each.name, "module": each.module, "within": packages.within(each)}
            for each in self._todo.values()])])

    def _onLine(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        self._begun = message["name"]
        if "files" in message:
            self._judge(self._todo.pop(self._begun), message["files"], message["reason"])

    def _onProcessEnd(self, problem: str) -> None:
        if self._isClosed:
            return
        if not self._todo:
            self._onEnd(self._found)
        elif self._begun in self._todo:  # that one took the process with it
            self._judge(self._todo.pop(self._begun), {}, _("Python crashes when it is imported"))
            self._next()
        else:  # Python itself does not start
            for package in list(self._todo.values()):
                self._judge(package, {}, _("Python ends at once") if self._process.hasStarted else problem)
            self._onEnd(self._found)

    def _judge(self, package: Package, files: dict[str, str], reason: str) -> None:
        """Take in what was found out about a package."""
        if not files and not reason:
            return
        theirs = [name for name in files or [package.installed] if packages.isSlicers(name)]
        told = [reason, *(_("{package} lacks {file}").format(package=name, file=file) for name, file in files.items())]
        if theirs:
            told.append(_("{packages}: a part of 3D Slicer, which is to be installed again").format(
                packages=", ".join(theirs)))
        self._found[self._found.index(package)] = replace(
            package, state=State.DAMAGED, reason="; ".join(filter(None, told)),
            damaged=tuple(name for name in files or [package.installed] if name not in theirs))


def check(python: str | None = None) -> list[Package]:
    """Look at the packages, for scripts: returns when that is done, while the event loop goes on."""
    loop, ends = qt.QEventLoop(), list[list[Package]]()

    def onEnd(found: list[Package]) -> None:
        ends.append(found)
        loop.quit()

    started = Check(onEnd, python)
    started.start()
    if not ends:
        loop.exec()
    return ends[0]
