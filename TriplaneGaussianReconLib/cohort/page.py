"""The page `index.html`: all cases with pictures and scores, the worst first, for a browser without any network."""
from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import __version__
from ..io.atomic import whole_file
from .folder import CASES, PICTURES
from .status import Row

PAGE = "index.html"
_DATA, _VERSION = "/*CASES*/[]", "VERSION"  # what is replaced in the template


def write_page(output: Path, rows: Iterable[Row]) -> None:
    """Write the page of these cases into the folder of the cohort, whole; raises OutputError."""
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    cases = [_entry(row) for row in sorted(rows, key=_worst_first)]
    text = json.dumps(cases, ensure_ascii=True, separators=(",", ":")).replace("</", "<\\/").replace("<!", "<\\u0021")
    with whole_file(output / PAGE, durable=False) as part:
        part.write_text(template.replace(_VERSION, __version__, 1).replace(_DATA, text, 1), encoding="utf-8")


def _worst_first(row: Row) -> tuple[int, float]:
    """Failed cases, then by self-check, then those that have none, then those that have not ended."""
    if row.record is None:
        return (3, 0.0)
    if row.state == "failed":
        return (0, 0.0)
    return (2, 0.0) if row.record.self_check is None else (1, row.record.self_check)


def _entry(row: Row) -> dict[str, Any]:
    """What the page knows of a case."""
    record, folder = row.record, f"{CASES}/{row.name}"
    entry: dict[str, Any] = {"name": row.name, "state": row.state, "folder": folder}
    if record is not None:
        entry |= {"cause": record.cause, "seconds": round(record.seconds, 1), "memory": record.memory,
                  "check": record.self_check, "gain": record.gain, "files": list(record.results)}
        if row.state == "done":
            entry["pictures"] = [f"{folder}/{name}" for name in PICTURES]
    return entry
