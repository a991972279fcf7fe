"""What an evaluation found, as a table for people and as JSON for programs."""
from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.atomic import write_json
from . import metrics, scores
from .report import EvaluationReport, MethodScores

if TYPE_CHECKING:
    from rich.table import Table


def table(report: EvaluationReport) -> Table:
    """Return the scores as a table with remarks; `*` marks the best baseline for the image and for labels."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    best, columns = _best_baselines(report), _columns(report)
    result = Table(caption=escape("\n".join(_remarks(report))), caption_justify="left", box=SIMPLE)
    result.add_column("Method", no_wrap=True)
    for metric in columns:
        result.add_column(metric.heading.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in report.rows:
        if row.failure is None:
            result.add_row(escape(f"{row.name} *" if row.name in best else row.name),
                           *(metric.text(row.scores.get(metric.name)) for metric in columns),
                           style=None if row.is_baseline else "bold")
    return result


def to_json(report: EvaluationReport, path: str | os.PathLike[str], asked: Mapping[str, Any] | None = None) -> None:
    """Write the scores as JSON, whole or not at all; what is undefined (NaN, infinite) or does not apply is null.

    asked: what else is written before them: of what, and how, this was found.
    """
    best = _best_baselines(report)
    rows = [{"name": row.name, "classical": row.is_baseline, "best_classical": row.name in best, **_values(row),
             "segments": [{"name": segment.name, **asdict(segment)["scores"]} for segment in row.segments],
             "failure": row.failure} for row in report.rows]
    write_json(Path(path), {**(asked or {}), "hidden": report.hidden, "axis": report.axis, "shape": report.grid.shape,
                            "spacing_mm": report.grid.spacing, "trusted": report.observed,
                            "held_out": report.held_out, "rows": rows})


def _columns(report: EvaluationReport) -> list[scores.Metric]:
    """The metrics that the table shows: those that some method has."""
    scored = {name for row in report.rows for name in row.scores}
    shown = [metric for metric in scores.METRICS if metric.title and metric.name in scored]
    is_full = any(metric.ranks == "image" for metric in shown)
    return [metric for metric in shown if not (metric.is_spare and is_full)]


def _values(row: MethodScores) -> dict[str, Any]:
    """All scores by name, those of a group in an object of their own; null for what does not apply."""
    values: dict[str, Any] = {}
    for metric in scores.METRICS:
        score = row.scores.get(metric.name)
        if not metric.group:
            values[metric.name] = score.value if score is not None else None
        elif score is None:
            values.setdefault(metric.group, None)
        else:
            group = values.setdefault(metric.group, {})
            group[metric.name] = score.value
            if score.sd is not None:
                group[f"{metric.name}_sd"] = score.sd
    return values


def _remarks(report: EvaluationReport) -> list[str]:
    """Return what is said below the table, one string per line."""
    slices = f"{len(report.held_out)} of {report.grid.count(report.axis)} slices along {report.axis} were hidden"
    hidden = f"The labels of {slices}, not the image," if report.hidden == "labels" else slices
    remarks = [f"{hidden} and scored.  * best of the usual methods"]
    labelled = next((row for row in report.rows if row.segments), None)
    if labelled is not None:
        small = sum(bool(np.isnan(segment.dice)) for segment in labelled.segments)
        too_small = f"; the rest has fewer than {metrics.FEWEST_VOXELS} voxels on the hidden slices" if small else ""
        remarks.append(f"Labels that count: {len(labelled.segments) - small} of {len(labelled.segments)}{too_small}")
    remarks += [f"{row.name} expects its error: {row.scores['share_in_band_68'].value:.0%} of the foreground is inside "
                f"the 68 % band, rank correlation {row.scores['rank_correlation'].value:.2f}"
                for row in report.rows if "share_in_band_68" in row.scores]
    remarks += [f"{row.name} left out: {row.failure}" for row in report.rows if row.failure is not None]
    return remarks


def _best_baselines(report: EvaluationReport) -> set[str]:
    rows = (report.best("image", baselines=True), report.best("labels", baselines=True))
    return {row.name for row in rows if row is not None}
