"""What an evaluation found, as a table for people and as JSON for programs."""
from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..io.atomic import write_json
from . import metrics
from .evaluation import Report, Row

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = ("Method", "PSNR dB", "SSIM", "Semantic loss", "Dice", "Seconds", "Peak MB")


def cells(row: Row) -> tuple[str, ...]:
    """Return the text of one table row, one string per heading."""
    scores = row.image
    return (row.name,
            f"{scores.psnr:.2f} ± {scores.psnr_sd:.2f}" if scores is not None else "",
            f"{scores.ssim:.4f}" if scores is not None else "",
            f"{row.semantic_loss:.5f}" if row.semantic_loss is not None else "",
            f"{row.dice:.4f}" if row.dice is not None else "",
            f"{row.seconds:.2f}" if row.seconds is not None else "",
            f"{row.peak_memory / 1e6:.0f}" if row.peak_memory is not None else "")


def table(report: Report) -> Table:
    """Return the scores as a table with remarks; `*` marks the best classical method for the image and for labels."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    best = _best_classical(report)
    result = Table(caption=escape("\n".join(_remarks(report))), caption_justify="left", box=SIMPLE)
    for heading in HEADINGS:
        result.add_column(heading.replace(" ", "\n"), justify="left" if heading == HEADINGS[0] else "right",
                          no_wrap=True)
    for row in report.rows:
        if row.failure is None:
            name, *scores = cells(row)
            result.add_row(escape(f"{name} *" if row.name in best else name), *scores,
                           style=None if row.baselines else "bold")
    return result


def _remarks(report: Report) -> list[str]:
    """Return what is said below the table, one string per line."""
    remarks = [f"{len(report.held_out)} of {report.grid.count(report.axis)} slices along {report.axis} were hidden and "
               "scored.  * best classical method"]
    labelled = next((row for row in report.rows if row.segments), None)
    if labelled is not None:
        small = sum(bool(np.isnan(segment.dice)) for segment in labelled.segments)
        too_small = f"; the rest has fewer than {metrics.FEWEST_VOXELS} voxels on the hidden slices" if small else ""
        remarks.append(f"Labels that count: {len(labelled.segments) - small} of {len(labelled.segments)}{too_small}")
    remarks += [f"{row.name} expects its error: {row.band_68:.0%} of the voxels are inside the 68 % band, rank "
                f"correlation {row.rank_correlation:.2f}"
                for row in report.rows if row.band_68 is not None]
    remarks += [f"{row.name} left out: {row.failure}" for row in report.rows if row.failure is not None]
    return remarks


def to_json(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the scores as JSON, whole or not at all; what is undefined (NaN, infinite) or does not apply is null."""
    best = _best_classical(report)
    rows = []
    for row in report.rows:
        rows.append({"name": row.name, "classical": row.baselines, "best_classical": row.name in best,
                     "image": asdict(row.image) if row.image is not None else None,
                     "band_68": row.band_68, "rank_correlation": row.rank_correlation,
                     "semantic_loss": row.semantic_loss, "dice": row.dice,
                     "segments": [asdict(segment) for segment in row.segments],
                     "seconds": row.seconds, "peak_memory_bytes": row.peak_memory, "failure": row.failure})
    content = {"axis": report.axis, "shape": report.grid.shape, "spacing_mm": report.grid.spacing,
               "trusted": report.trusted, "held_out": report.held_out, "rows": rows}
    write_json(Path(path), content)


def _best_classical(report: Report) -> set[str]:
    rows = (report.best(classical_rows=True, labels=labels) for labels in (False, True))
    return {row.name for row in rows if row is not None}
