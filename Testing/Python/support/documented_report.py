"""Which keys of a report its page in the reference does not explain."""
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "report.md"


def documented() -> set[str]:
    """The keys in the first column of the page's tables."""
    rows = [line.split("|")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row)}


def undocumented(report: dict[str, Any]) -> list[str]:
    """The keys of `report` that the page does not have, as it would write them."""
    told = documented()
    return sorted(keys(report, told) - told)


def keys(report: dict[str, Any], told: set[str]) -> set[str]:
    """The keys of `report`, those of `told` where names vary."""
    return set(_keys(report, told))


def _keys(entry: Any, told: set[str], name: str = "") -> Iterator[str]:
    dot = f"{name}." if name else ""
    if isinstance(entry, dict) and f"{dot}*" in told:
        yield f"{dot}*"
        return
    if isinstance(entry, dict):
        for key, value in entry.items():
            yield from _keys(value, told, f"{dot}{key}")
    elif isinstance(entry, list) and entry and isinstance(entry[0], dict):
        for each in entry:
            yield from _keys(each, told, f"{name}[]")
    else:
        yield name
