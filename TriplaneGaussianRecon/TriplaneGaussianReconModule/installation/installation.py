"""Installing what is missing: torch by the extension PyTorch, everything else by pip into Slicer's own Python."""
from __future__ import annotations

import importlib
import io
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib.metadata import distributions, packages_distributions
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import dependencies
from .remedies import remedy

Log = Callable[[str], Any]  # is given each line that an installer says

# Other modules and Slicer itself are built on these versions: pip may not touch them.
_KEPT = ("numpy", "scipy", "torch")


class InstallationError(Exception):
    """Something could not be installed; the message says what, why and what to do."""


def install(log: Log) -> None:
    """Install everything that is missing.

    log: is called with each line that the installers say, in the GUI thread.
    Raises InstallationError if anything is still missing afterwards.
    """
    said: list[str] = []

    def note(line: str) -> None:
        said.append(line)
        logging.info(line)  # Slicer keeps this in its own log
        log(line)

    try:
        _installAll(note)
    except (CalledProcessError, ImportError, OSError, RuntimeError, ValueError) as error:
        note(f"{type(error).__name__}: {error}")
        raise InstallationError(remedy("\n".join(said))) from error
    if lines := dependencies.missing():
        raise InstallationError(_("Still missing: {packages}.").format(packages=", ".join(lines))
                                + " " + remedy("\n".join(said)))


def versions() -> dict[str, str]:
    """Return the versions of all installed packages by name."""
    importlib.invalidate_caches()
    return {found.metadata["Name"]: found.version for found in distributions()}


def loadedPackages() -> set[str]:
    """Return the names of the packages of which some module is in use in Slicer's own process."""
    return {name for module, names in packages_distributions().items() if module in sys.modules for name in names}


def changed(before: Mapping[str, str], names: set[str]) -> list[str]:
    """Return those of the packages that have another version than before, or are gone."""
    now = versions()
    return sorted(name for name in names if name in before and now.get(name) != before[name])


def _installAll(log: Log) -> None:
    """Install torch first: what a GPU needs besides depends on it."""
    if dependencies.torchRequirement() in dependencies.missing():
        _installTorch(log)
    if lines := dependencies.missing():
        with tempfile.TemporaryDirectory() as folder:
            _pip(lines, _constraints(Path(folder)), log)


def _installTorch(log: Log) -> None:
    """Let the extension PyTorch install the torch that fits this computer's GPU and driver."""
    try:
        from PyTorchUtils import PyTorchUtilsLogic
    except ImportError as error:
        raise InstallationError(_("The extension PyTorch is needed. Install it in the Extensions Manager, restart "
                                  "Slicer and try again.")) from error
    with redirect_stdout(_Lines(log)):
        torch = PyTorchUtilsLogic().installTorch(
            askConfirmation=False, torchVersionRequirement=dependencies.torchRequirement().removeprefix("torch"))
    if torch is None:
        raise RuntimeError("The extension PyTorch did not install torch.")


def _constraints(folder: Path) -> Path:
    """Write the versions that have to stay as a file of constraints for pip; return its path."""
    now = versions()
    file = folder / "constraints.txt"
    file.write_text("".join(f"{name}=={now[name]}\n" for name in _KEPT if name in now), encoding="utf-8")
    return file


def _pip(lines: list[str], constraints: Path, log: Log) -> None:
    """Install by pip.  Raises CalledProcessError if it fails."""
    try:
        from slicer.packaging import pip_install
    except ImportError:  # Slicer 5.10
        with redirect_stdout(_Lines(log)):
            slicer.util.pip_install([*lines, "--constraint", str(constraints)])
        return
    loop, codes = qt.QEventLoop(), []

    def completed(code: int) -> None:
        codes.append(code)
        loop.quit()

    pip_install(lines, constraints=constraints, blocking=False, show_progress=False, logCallback=log,
                completedCallback=completed)
    if not codes:
        loop.exec()
    if codes[0]:
        raise CalledProcessError(codes[0], "pip install")


class _Lines(io.TextIOBase):
    """A stream that passes on whole lines; Slicer's functions print what the programs that they start say."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._log(line)
        return len(text)
