"""What an evaluation of several stacks found, as a table for people and as JSON for programs."""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.atomic import write_json
from .stack_report import StackEvaluation, StackRow

if TYPE_CHECKING:
    from rich.table import Table


def stack_table(found: StackEvaluation) -> Table:
    """Return the scores as a table with remarks."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    failures = [f"{row.name} left out: {row.failure}" for row in found.rows if row.failure is not None]
    is_wide = len(found.volumes) > 1
    names = ["Volumes: " + ", ".join(f"{n} {name}" for n, name in enumerate(found.volumes, start=1))] * is_wide
    result = Table(caption=escape("\n".join([*names, *found.remarks, *failures])), caption_justify="left", box=SIMPLE,
                   padding=(0, 0 if is_wide else 1))
    result.add_column("Method", no_wrap=True)
    for heading in _headings(found):
        result.add_column(escape(heading), justify="right", no_wrap=True)
    for row in found.rows:
        if row.failure is None:
            result.add_row(escape(row.name), *_cells(found, row), style=None if row.is_baseline else "bold")
    return result


def stacks_to_json(found: StackEvaluation, path: str | os.PathLike[str], asked: Mapping[str, Any] | None = None
                   ) -> None:
    """Write the scores as JSON, whole or not at all; what is undefined or does not apply is null.

    asked: what else is written before them: of what, and how, this was found.
    """
    write_json(Path(path), {**(asked or {}), **found.setting, "volumes": found.volumes, "remarks": found.remarks,
                            "rows": [_entry(row) for row in found.rows]})


def _entry(row: StackRow) -> dict[str, Any]:
    is_whole = bool(row.likenesses)
    return {"name": row.name, "classical": row.is_baseline, "psnr": row.psnr if is_whole else None,
            "ncc": row.ncc if is_whole else None, "share": row.share, "seconds": row.seconds,
            "volumes": [{"psnr": each.psnr, "ncc": each.ncc} for each in row.likenesses], "failure": row.failure}


def _headings(found: StackEvaluation) -> list[str]:
    if len(found.volumes) == 1:
        return ["PSNR\ndB", "NCC", "Share", "Seconds"]
    each = [f"{number}\n{score}" for number in range(1, len(found.volumes) + 1) for score in ("dB", "NCC")]
    return [*each, "mean\ndB", "mean\nNCC", "Seconds"]


def _cells(found: StackEvaluation, row: StackRow) -> list[str]:
    """The scores of a row as text, one for each heading."""
    mean, seconds = (f"{row.psnr:.2f}", f"{row.ncc:.3f}"), f"{row.seconds:.1f}"
    if len(found.volumes) == 1:
        is_known = row.share is not None and np.isfinite(row.share)
        return [*mean, f"{row.share:.0%}" if is_known else "", seconds]
    each = [text for one in row.likenesses for text in (f"{one.psnr:.2f}", f"{one.ncc:.3f}")]
    return [*each, *mean, seconds]
