"""Installing packages into Slicer's own Python, by pip in a process of its own.

Three steps for each group of packages: find out which files are needed, download them into a folder, install them from
there.  The first two can be broken off at any time, and what has come stays for the next try; the third is short.
"""
from __future__ import annotations

import importlib
import importlib.util
import logging
import shutil
import sys
from collections.abc import Callable, Generator, Iterable
from importlib.metadata import distributions, packages_distributions
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..run.python_process import PythonProcess
from . import commands, dependencies, extension, tasks
from .checking import check
from .commands import Command, Group, Progress
from .errors import InstallationCancelled, InstallationError
from .packages import State
from .remedies import remedy

FOLDER = "TriplaneGaussianRecon-packages"  # in Slicer's folder of temporary files
_LIGHT_THE_TORCH = "light-the-torch>=0.8"  # with which the extension PyTorch, too, finds the torch for a GPU
_WORKER = Path(__file__).with_name("pip_worker.py")

# Other modules and Slicer itself are built on these versions: pip may not touch them. Light-the-torch may change torch.
_KEPT = {commands.PIP: ("numpy", "scipy", "torch"), commands.LIGHT_THE_TORCH: ("numpy", "scipy")}


class Installation:
    """Installs packages, while the user interface goes on.

    Attributes:
        changed: The names of those that it has installed so far, or is about to.
    """

    def __init__(self, onLog: Callable[[str], Any], onProgress: Callable[[Progress], Any],
                 onEnd: Callable[[InstallationError | None], Any], python: str | None = None,
                 groups: Callable[[], Iterable[Group]] = tasks.missingGroups) -> None:
        """Prepare to install.

        Args:
            onLog: Called with each line that pip says.
            onProgress: Called when there is progress.
            onEnd: Called once, when the last process has ended, with what went wrong or None.
            python: The interpreter to install into; None is that of the application.
            groups: What to install; asked for the next group when the one before is there.
        """
        self.changed = set[str]()
        self._groups = groups
        self._onLog, self._onProgress, self._onEnd = onLog, onProgress, onEnd
        self._folder = Path(slicer.app.temporaryPath) / FOLDER
        self._process = PythonProcess(self._onLine, self._onCommandEnd, python)
        self._commands = self._all()
        self._command: Command | None = None
        self._said: list[str] = []
        self._doing, self._isCancelled = "", False

    @property
    def canBeCancelled(self) -> bool:
        """Whether breaking off damages nothing."""
        return self._command is not None and self._command.isHarmless

    def start(self) -> None:
        """Start; returns at once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._next()

    def cancel(self) -> None:
        """Break off, if that damages nothing; returns at once, `onEnd` tells when it is over."""
        if self.canBeCancelled and not self._isCancelled:
            self._isCancelled = True
            self._process.end()

    def _all(self) -> Generator[Command, None, None]:
        """All that is to be done."""
        if obstacle := dependencies.obstacle():
            raise InstallationError(obstacle)
        _requireNobodyElse()
        for group in self._groups():
            if group.module == commands.LIGHT_THE_TORCH:
                extension.require()
                if importlib.util.find_spec(commands.LIGHT_THE_TORCH) is None:
                    yield from self._group(Group(commands.PIP, (_LIGHT_THE_TORCH,)))
            yield from self._group(group)

    def _group(self, group: Group) -> Generator[Command, None, None]:
        """Plan, download and install some packages."""
        report, constraints = self._folder / "plan.json", _constraints(self._folder, _KEPT[group.module])
        self._tell(_("Finding out what is needed"))
        yield commands.plan(group, constraints, report)
        packages = commands.planned(report)
        for number, package in enumerate(packages, start=1):
            self._tell(_("Downloading {name} ({number} of {count})").format(
                name=package.name, number=number, count=len(packages)))
            yield commands.download(package, self._folder / "package.txt", self._folder)
        if packages:
            self._tell(_("Installing {count} packages").format(count=len(packages)))
            self.changed.update(package.name for package in packages)
            yield commands.install(packages, self._folder, group.how)
        importlib.invalidate_caches()

    def _next(self) -> None:
        """Go on with the next command, or end."""
        try:
            self._command = next(self._commands, None)
        except (InstallationError, OSError, ValueError, KeyError) as error:
            self._end(error if isinstance(error, InstallationError) else InstallationError(remedy(str(error))))
            return
        if self._command is None:
            self._end(self._stillMissing())
            return
        self._process.start([str(_WORKER), self._command.module, *self._command.arguments])

    def _onLine(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if (found := commands.bytesIn(text)) is not None:
            self._onProgress(Progress(self._doing, *found))
        elif text:
            self._note(text)

    def _onCommandEnd(self, problem: str) -> None:
        for line in filter(None, (*self._process.log.splitlines(), problem)):
            self._note(line)
        if self._isCancelled:
            self._end(InstallationCancelled(_("Cancelled. What has been downloaded is kept for the next try.")))
        elif problem or self._process.exitCode:
            self._end(InstallationError(remedy("\n".join(self._said))))
        else:
            self._next()

    def _stillMissing(self) -> InstallationError | None:
        """What to say where pip claims success and a package is missing all the same."""
        lines = dependencies.missing()
        if not lines:
            shutil.rmtree(self._folder, ignore_errors=True)
            return None
        return InstallationError(_("Still missing: {packages}.").format(packages=", ".join(lines))
                                 + " " + remedy("\n".join(self._said)))

    def _end(self, error: InstallationError | None) -> None:
        self._command = None
        self._commands.close()
        self._onEnd(error)

    def _tell(self, doing: str) -> None:
        self._doing = doing
        self._onProgress(Progress(doing))

    def _note(self, line: str) -> None:
        self._said.append(line)
        logging.info(line)  # Slicer keeps this in its own log
        self._onLog(line)


def install(log: Callable[[str], Any], python: str | None = None) -> None:
    """Install everything that is missing, for scripts: returns when that is done, while the event loop goes on.

    Args:
        log: Called with each line that pip says.
        python: As for `Installation`.

    Raises:
        InstallationError: Anything is still missing afterwards.
    """
    _run(log, python, tasks.missingGroups)


def upgrade(log: Callable[[str], Any], python: str | None = None) -> None:
    """Install the newest versions that are allowed; otherwise as `install`."""
    _run(log, python, tasks.newestGroups)


def repair(log: Callable[[str], Any], python: str | None = None) -> None:
    """Install what is missing, too old or damaged; otherwise as `install`.

    Raises:
        InstallationError: Anything is still missing or damaged afterwards.
    """
    _run(log, python, lambda: tasks.repairGroups(check(python)))
    if wrong := [package for package in check(python) if package.state is not State.PRESENT]:
        raise InstallationError(_("Still missing or damaged:") + "\n" + "\n".join(map(str, wrong)))


def _run(log: Callable[[str], Any], python: str | None, groups: Callable[[], Iterable[Group]]) -> None:
    """Install, and return when that is done."""
    loop, ends = qt.QEventLoop(), list[InstallationError | None]()

    def onEnd(error: InstallationError | None) -> None:
        ends.append(error)
        loop.quit()

    Installation(log, lambda progress: None, onEnd, python, groups).start()
    if not ends:
        loop.exec()
    if ends[0] is not None:
        raise ends[0]


def versions() -> dict[str, str]:
    """Return the versions of all installed packages by name."""
    importlib.invalidate_caches()
    return {found.metadata["Name"]: found.version for found in distributions()}


def loadedPackages() -> set[str]:
    """Return the names of the packages of which some module is in use in Slicer's own process.

    What is in use there stays so until Slicer is started anew, whatever is installed.
    """
    return {name for module, names in packages_distributions().items() if module in sys.modules for name in names}


def _requireNobodyElse() -> None:
    """Two installations at a time damage each other; raise if Slicer is installing for another module."""
    packaging = sys.modules.get("slicer.packaging")  # there is none in Slicer 5.10
    if packaging is not None and packaging.isPipInstallInProgress():
        raise InstallationError(_("Slicer is installing packages for another module. Wait until it is done, and try "
                                  "again."))


def _constraints(folder: Path, names: Iterable[str]) -> Path:
    """Write the versions that have to stay as a file of constraints for pip; return its path."""
    now = versions()
    file = folder / "constraints.txt"
    file.write_text("".join(f"{name}=={now[name]}\n" for name in names if name in now), encoding="utf-8")
    return file
