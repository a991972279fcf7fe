"""Looks whether packages are whole and can be imported, in a process that may crash in doing so.

    python check_worker.py LIST

LIST is in JSON: for each package its name, the module to import, and the packages whose files are looked at. Writes a
line of JSON when it begins with a package, and one with what it found.
"""
from __future__ import annotations

import csv
import importlib
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

_LONGEST = 300  # characters of a reason
_LEFT_OUT = {"test", "tests", "__pycache__", ".."}  # folders; the last one is that of programs


def _missingFile(name: str) -> str:
    """Return the first file of a package that is not there or was cut short; an empty text if there is none.

    Tests are left out: 3D Slicer is packed without those of the packages that it brings. What was changed otherwise is
    not looked for: on a Mac, libraries are signed after installing.
    """
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return ""
    record = found.read_text("RECORD")  # `found.files` leaves out what is not there, from Python 3.12 on
    if record is None:
        return "RECORD"
    for file, _hash, size in csv.reader(record.splitlines()):
        if _LEFT_OUT.isdisjoint(file.split("/")) and not os.path.isabs(file):
            try:
                isWhole = os.stat(str(found.locate_file(file))).st_size >= int(size or 0)
            except OSError:
                isWhole = False
            if not isWhole:
                return file
    return ""


def _look(package: dict[str, Any]) -> dict[str, Any]:
    """Return what is wrong with a package."""
    files = {name: file for name in package["within"] if (file := _missingFile(name))}
    reason = ""
    try:
        importlib.import_module(package["module"])
    except BaseException as error:  # noqa: BLE001 - a package may do anything, such as to exit
        reason = f"{type(error).__name__}: {error}".strip()
    return {"name": package["name"], "files": files, "reason": " ".join(reason.split())[:_LONGEST]}


if __name__ == "__main__":
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever packages print is no message
    for each in json.loads(sys.argv[1]):
        print(json.dumps({"name": each["name"]}), file=told, flush=True)
        print(json.dumps(_look(each)), file=told, flush=True)
    os._exit(0)  # a package that is damaged may not get through a regular end
