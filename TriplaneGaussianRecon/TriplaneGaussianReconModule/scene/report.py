"""What a run tells about itself: scores of slices, and how the results were made.  Knows no node."""
from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from TriplaneGaussianReconLib.data.geometry import AXES, Grid, array_axis
from TriplaneGaussianReconLib.jobs.protocol import Outcome

from ..wording import quality

# The columns of the table of slices, in order, their units, and what is not plain from their names.
FRAME, SLICE, POSITION, TRUSTED, HIDDEN, ERROR = COLUMNS = (
    "Frame", "Slice", "Position", "Trusted", "PSNR when hidden", "Expected error")
UNITS = {POSITION: "mm", HIDDEN: "dB"}
MEANINGS = {HIDDEN: "Of trusted slices that were hidden and predicted across twice the real gap; nan for all others.",
            ERROR: "Mean expected absolute error, in units of the volume."}
_BYTES_AT_A_TIME = 2 ** 23  # looked at before the user interface has its turn


@dataclass
class RunRecord:
    """All that there is to tell about a run.

    volumeName, segmentationName: of the input nodes.  choices: what the user asked for.  reports: what `reported`
    made of each frame.  tables: what `scores` made of each frame.  notes: what the user should know.
    """

    volumeName: str
    segmentationName: str | None
    choices: dict[str, Any]
    reports: list[dict[str, Any]] = field(default_factory=list)
    tables: list[dict[str, np.ndarray]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, remarks: Sequence[str]) -> None:
        """Add what the user should know, once."""
        self.notes += [remark for remark in remarks if remark not in self.notes]

    def table(self) -> dict[str, np.ndarray]:
        """The columns of all frames, one after another."""
        frames = np.repeat(np.arange(len(self.tables)), [len(table[SLICE]) for table in self.tables])
        return {FRAME: frames} | {name: np.concatenate([table[name] for table in self.tables]) for name in COLUMNS[1:]}


def scores(grid: Grid, outcome: Outcome) -> Generator[None, None, dict[str, np.ndarray]]:
    """Tell of each slice of the result, and of each trusted one, how good it is; looks at a piece at a time.

    grid: of the input.  Returns columns: slice number in the input, which is fractional between its slices; position
    (mm) from the first slice; 1 where trusted, else 0; PSNR (dB) of trusted slices that were hidden and predicted
    across twice the real gap, NaN for all others; mean expected absolute error, in units of the volume.
    """
    axis = outcome.report["axis"]
    number, dimension, trusted = AXES.index(axis), array_axis(axis), np.array(outcome.report["trusted"][axis])
    drawn = np.arange(outcome.volume.grid.count(axis)) * outcome.volume.grid.spacing[number] / grid.spacing[number]
    errors, confidence = [], np.moveaxis(outcome.confidence.array, dimension, 0)
    pace = max(1, _BYTES_AT_A_TIME // confidence[0].nbytes)
    for first in range(0, len(confidence), pace):
        errors.append(confidence[first:first + pace].mean(axis=(1, 2), dtype=np.float64))
        yield
    slices = np.unique(np.round(np.concatenate([drawn, trusted]), 6))
    # The library counts trusted slices along their normal, which may run against their numbers.
    ordered = trusted[np.argsort(grid.planes(axis, trusted).offsets)]
    hidden = {ordered[int(place)]: psnr for place, psnr in outcome.report["self_check"].get("per_slice", {}).items()}
    return {SLICE: slices, POSITION: slices * grid.spacing[number], TRUSTED: np.isin(slices, trusted).astype(np.uint8),
            HIDDEN: np.array([hidden.get(each, np.nan) for each in slices]),
            ERROR: np.interp(slices, drawn, np.concatenate(errors))}


def reported(grid: Grid, outcome: Outcome) -> dict[str, Any]:
    """The library's report of an outcome, with what else is told of it.  grid: of the input."""
    segments = [] if outcome.segmentation is None else [segment.name for segment in outcome.segmentation.segments]
    return {**outcome.report, "input_spacing_mm": grid.spacing, "segments": segments}


def provenance(account: RunRecord) -> str:
    """How the results were made: text to read, then all of it as JSON."""
    report, made = account.reports[0], f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}"
    check = report["self_check"]
    lines = [
        f"'{account.volumeName}' reconstructed by {report['product']} {report['version']}, {made}",
        f"{report['note']} Not for diagnosis or treatment.", "",
        f"Segmentation: {account.segmentationName or 'none'}",
        f"Segments filled in: {_listed(report['segments'])}",
        f"Segments left out, being on no trusted slice: {_listed(report['segments_left_out'])}",
        f"Trusted slices along {report['axis']}: {', '.join(map(str, report['trusted'][report['axis']]))}",
        f"Excluded slices: {account.choices['excluded'] or 'none'}",
        f"Spacing of the input: {_listed(report['input_spacing_mm'], ' x ')} mm",
        f"Voxels of the result: {' x '.join(map(str, reversed(report['output_shape_kji'])))}, "
        f"{_listed(report['output_spacing_mm'], ' x ')} mm",
        f"Preset: {report['preset']}", f"Seed: {report['seed']}", f"Device: {report['device_note']}",
        f"Seconds: {sum(sum(each['seconds'].values()) for each in account.reports):.1f}",
    ]
    if len(account.reports) > 1:
        lines.append(f"Frames: {len(account.reports)}; what is told here is of the first")
    lines.append(f"Expected error: {account.table()[ERROR].mean():.3g} on average, in units of the volume")
    if "psnr_at_twice_the_gap" in check:
        psnr = check["psnr_at_twice_the_gap"]
        lines.append(f"Hidden slices: agreement {quality(psnr)}, PSNR {psnr} dB on {check['slices']} slices")
    lines += [check["note"], *(f"Note: {note}" for note in account.notes), "", _json({
        "made": made, "volume": account.volumeName, "segmentation": account.segmentationName,
        "choices": account.choices, "notes": account.notes, "reports": account.reports})]
    return "\n".join(lines)


def _listed(values: Sequence[Any], separator: str = ", ") -> str:
    return separator.join(f"{value:g}" if isinstance(value, float) else str(value) for value in values) or "none"


def _json(content: dict[str, Any]) -> str:
    """JSON with a line for each key of `content`, and no more."""
    lines = (f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in content.items())
    return "{" + ",\n ".join(lines) + "}"
