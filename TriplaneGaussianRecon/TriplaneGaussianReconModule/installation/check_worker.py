"""Looks whether packages are whole and can be imported, in a process that may crash in doing so.

    python check_worker.py LIST

LIST is in JSON: for each package its name, the module to import, and the packages whose files are looked at. Writes a
line of JSON when it begins with a package, and one with what it found.
"""
from __future__ import annotations

import importlib
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

_LONGEST = 300  # characters of a reason


def _missingFile(name: str) -> str:
    """Return the first file of a package that is not there or was cut short; an empty text if there is none.

    Tests are left out: 3D Slicer is packed without those of the packages that it brings. What was changed otherwise is
    not looked for: on a Mac, libraries are signed after installing.
    """
    try:
        files = distribution(name).files
    except PackageNotFoundError:
        return ""
    if files is None:
        return "RECORD"
    for file in files:
        if {"test", "tests", "..", "__pycache__"}.isdisjoint(file.parts) and not file.is_absolute():
            try:
                size = os.stat(str(file.locate())).st_size
            except OSError:
                return str(file)
            if size < (file.size or 0):
                return str(file)
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
