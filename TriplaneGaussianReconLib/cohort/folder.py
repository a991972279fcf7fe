"""The folder of a case: what stands where in it, and how results come to where they belong.

`cases/NAME` below the output holds `log.txt`, `done.json` or `failed.json`, two pictures, and the results unless these
belong elsewhere.  Work goes on in a folder `work` inside; `done.json` is written last, and so tells that all is there.
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError, cause
from .manifest import Case

CASES = "cases"  # the folder of the folders
PICTURES = ("before.jpg", "after.jpg")
_NIFTI = (".nii", ".nii.gz")
# Kinds of results: the option that asks for each, and its file where the volume is NIfTI, and elsewhere.
_RESULTS = {"volume": ("--output", "volume.nii.gz", "volume.nrrd"),
            "labels": ("--output-labels", "labels.nii.gz", "labels.seg.nrrd"),
            "expected_error": ("--output-confidence", "expected_error.nii.gz", "expected_error.nrrd"),
            "report": ("--report", "report.json", "report.json")}


class Folder:
    """The folder of `case` below `output`.

    Attributes:
        path: Of the folder.
        work: The folder in which results are made.
        log: All that the program said.
        done, failed: Records, see `records`.
    """

    def __init__(self, output: Path, case: Case) -> None:
        self.path, self._output, self._case = output / CASES / case.name, output, case
        self.work, self.log = self.path / "work", self.path / "log.txt"
        self.done, self.failed = self.path / "done.json", self.path / "failed.json"

    @property
    def results(self) -> dict[str, Path]:
        """The file of each kind of result, below the output."""
        relative = self.path.relative_to(self._output)
        elsewhere = dict(self._case.results)
        return {kind: Path(elsewhere.get(kind, relative / name)) for kind, name in self._names().items()}

    def words(self) -> list[str]:
        """What is typed to make the results in `work`."""
        first, *further = self._case.volumes
        made = [word for kind, name in self._names().items() for word in (_RESULTS[kind][0], str(self.work / name))]
        return ["reconstruct", *self._case.options, first, *(["--labels", self._case.labels] * bool(self._case.labels)),
                *further, *made]

    def made(self, kind: str) -> Path:
        """The file of a kind of result while it is made."""
        return self.work / self._names()[kind]

    def prepare(self) -> None:
        """Make room for a new attempt: what another one left is deleted.  Raises OutputError."""
        try:
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(parents=True)
            self.log.write_text("", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"Nothing can be written to the folder '{self.path}': {cause(error)}. Free disk space, "
                              "or choose another output.") from error

    def publish(self) -> dict[str, Path]:
        """Move all results to where they belong; returns their files by kind.  Raises OutputError.

        Labels may be missing: none were on the slices that were used.
        """
        self.done.unlink(missing_ok=True)  # from here on, and until it is written again, the case is not done
        results = {kind: path for kind, path in self.results.items() if kind != "labels" or self.made(kind).exists()}
        try:
            for kind, path in results.items():
                target = self._output / path
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(self.made(kind), target)
            for name in PICTURES:
                with suppress(FileNotFoundError):  # it can be spared
                    os.replace(self.work / name, self.path / name)
            shutil.rmtree(self.work, ignore_errors=True)
            self.failed.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"The results of '{self._case.name}' cannot be moved to '{self._output}': "
                              f"{cause(error)}. Free disk space, or choose another output.") from error
        return results

    def _names(self) -> Mapping[str, str]:
        """The name of the file of each kind of result, while it is made."""
        first = self._case.volumes[0].lower()
        other = not first.endswith(_NIFTI)
        labelled = self._case.labels.lower()
        return {kind: (names[1:])[not labelled.endswith(_NIFTI) if kind == "labels" else other]
                for kind, names in _RESULTS.items() if labelled or kind != "labels"}
