"""All volumes of a folder, one after another or side by side, by the library's `cohort` in a process of its own."""
from __future__ import annotations

import csv
import os
from collections.abc import Callable, Container, Mapping
from itertools import chain, count
from pathlib import Path

import qt
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError, OutputError, cause
from TriplaneGaussianReconLib.io.atomic import whole_file
from TriplaneGaussianReconLib.jobs.exit_codes import ExitCode

from .python_process import PythonProcess

EXTENSIONS = (".nrrd", ".nii.gz", ".nii", ".mha")
SEGMENTATION = ".seg.nrrd"
TABLE, STATUS, PAGE = "cases.csv", "status.csv", "index.html"  # in the folder of the results
_ERROR = "error: "  # begins what the program tells when it cannot go on
_BETWEEN_LOOKS = 1000  # milliseconds between two looks at how far it is


class FolderRun:
    """Reconstructs a folder; Slicer never waits for it.

    Attributes:
        onProgress: Called with the number of cases by state: done, failed, waiting, running.
        onEnd: Called once with what went wrong as a whole; empty if nothing did, though cases may have failed.
    """

    def __init__(self, python: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        """python, environment: see `PythonProcess`."""
        self.onProgress: Callable[[dict[str, int]], None] = lambda counts: None
        self.onEnd: Callable[[str], None] = lambda problem: None
        self._output, self._isCancelled = Path(), False
        self._process = PythonProcess(lambda line: None, self._onProcessEnd, python, environment)
        self._timer = qt.QTimer()
        self._timer.setInterval(_BETWEEN_LOOKS)

    @property
    def isRunning(self) -> bool:
        """Whether it has been started and `onEnd` has not been called yet."""
        return self._process.isRunning

    @property
    def page(self) -> Path:
        """The page that shows all cases."""
        return self._output / PAGE

    def start(self, source: Path, output: Path, options: Mapping[str, str], retryFailed: bool = False) -> None:
        """Start it; returns at once.

        Args:
            source: The folder with the volumes.
            output: The folder for the results, made if it is missing.
            options: Of the command `cohort`, without dashes.
            retryFailed: Whether to try again what has failed before.

        Raises:
            InputError: There is no volume, or the results would lie among them.
            OutputError: Nothing can be written.
        """
        writeTable(source, output)
        self._output, self._isCancelled = output, False
        words = [f"--{name}={value}" for name, value in options.items() if value] + ["--retry-failed"] * retryFailed
        self._timer.connect("timeout()", self._look)
        self._timer.start()
        self._process.start(["-m", "TriplaneGaussianReconLib", "cohort", str(output / TABLE), str(output), *words])

    def cancel(self) -> None:
        """End it by force; what is done stays, and the next start goes on from there."""
        self._isCancelled = True
        self._process.end()

    def close(self) -> None:
        """End it by force and wait until it has ended."""
        self._isCancelled = True
        self._process.kill()

    def _look(self) -> None:
        self.onProgress(counts(self._output))

    def _onProcessEnd(self, problem: str) -> None:
        self._timer.stop()
        self._timer.disconnect("timeout()", self._look)
        self._look()
        if self._isCancelled:
            problem = _("Cancelled. What is done stays; start again to go on.")
        elif not problem:
            problem = self._problem()
        self.onEnd(problem)

    def _problem(self) -> str:
        """What went wrong as a whole, by what was told: a missing package has the exit code of failed cases."""
        errors = [line for line in self._process.log.splitlines() if line.startswith(_ERROR)]
        if errors:
            return errors[-1].removeprefix(_ERROR)
        isWell = self._process.exitCode in (ExitCode.SUCCESS, ExitCode.SOME_FAILED)
        return "" if isWell else self._process.log.strip()


def writeTable(source: Path, output: Path) -> None:
    """Write a table of the volumes in `source`, each with the segmentation NAME.seg.nrrd beside it, into `output`.

    Raises InputError and OutputError, see `FolderRun.start`.
    """
    if output.resolve() == source.resolve():
        raise InputError(_("The results would lie among the volumes. Choose another folder for them."))
    rows = volumes(source)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(_("The folder '{folder}' cannot be made: {cause}. Choose another one.").format(
            folder=output, cause=cause(error))) from error
    with whole_file(output / TABLE) as part, part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "volume", "labels"], *rows])


def volumes(folder: Path) -> list[list[str]]:
    """Name, file and segmentation of each volume in a folder, in alphabetical order; raises InputError for none."""
    found: list[list[str]] = []
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(_("The folder '{folder}' cannot be read: {cause}. Choose one with volumes.").format(
            folder=folder, cause=cause(error))) from error
    for path in files:
        extension = next((each for each in EXTENSIONS if path.name.endswith(each)), None)
        if extension is not None and not path.name.endswith(SEGMENTATION):
            name = path.name.removesuffix(extension)
            labels = path.with_name(name + SEGMENTATION)
            taken = {row[0].lower() for row in found}
            found.append([_asName(name, taken), os.path.abspath(path),
                          os.path.abspath(labels) if labels.is_file() else ""])
    if not found:
        raise InputError(_("In '{folder}' there is no volume ({extensions}).").format(
            folder=folder, extensions=", ".join(EXTENSIONS)))
    return found


def counts(output: Path) -> dict[str, int]:
    """How many cases there are in each state; nothing before it has begun."""
    try:
        with (output / STATUS).open(encoding="utf-8", newline="") as file:
            states = [row["state"] for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError):
        return {}
    return {state: states.count(state) for state in sorted(set(states))}


def _asName(text: str, taken: Container[str]) -> str:
    """Turn the name of a file into that of a folder, as the library asks for it.  taken: others, in small letters."""
    kept = "".join(each if each.isascii() and (each.isalnum() or each in "._+=@-") else "_" for each in text)
    name = kept.strip("._") or "volume"
    unlike = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(each for each in unlike if each.lower() not in taken)
