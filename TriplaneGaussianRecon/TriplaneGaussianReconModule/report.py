"""What a run tells about itself: scores of slices, and how the results were made.  Knows neither Slicer nor VTK."""
from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from TriplaneGaussianReconLib.geometry import AXES, Grid, array_axis
from TriplaneGaussianReconLib.jobs import Outcome

# The columns of the table of slices, in order, and their units.
FRAME, SLICE, POSITION, TRUSTED, HIDDEN, ERROR = COLUMNS = (
    "Frame", "Slice", "Position", "Trusted", "PSNR when hidden", "Expected error")
UNITS = {POSITION: "mm", HIDDEN: "dB"}
_BYTES_AT_A_TIME = 2 ** 23  # looked at before the user interface has its turn


@dataclass
class Account:
    """All that there is to tell about a run.

    volumeName, segmentationName: of the input nodes.  choices: what the user asked for.  reports: the library's, one
    for each frame.  tables: what `scores` made of each frame.  notes: what the user should know.
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


def provenance(account: Account) -> str:
    """How the results were made: text to read, then all of it as JSON."""
    report = account.reports[0]
    check = report["self_check"]
    lines = [
        f"'{account.volumeName}' reconstructed by {report['product']} {report['version']}", report["note"], "",
        f"Segmentation: {account.segmentationName or 'none'}",
        f"Trusted slices along {report['axis']}: {', '.join(map(str, report['trusted'][report['axis']]))}",
        f"Voxels of the result: {' x '.join(map(str, reversed(report['output_shape_kji'])))}, "
        f"{' x '.join(f'{step:g}' for step in report['output_spacing_mm'])} mm",
        f"Preset: {report['preset']}", f"Seed: {report['seed']}", f"Device: {report['device_note']}",
        f"Seconds: {sum(sum(each['seconds'].values()) for each in account.reports):.1f}",
    ]
    if len(account.reports) > 1:
        lines.append(f"Frames: {len(account.reports)}; what is told here is of the first")
    if "psnr_at_twice_the_gap" in check:
        lines.append(f"Hidden slices: PSNR {check['psnr_at_twice_the_gap']} dB on {check['slices']} slices")
    lines += [check["note"], *(f"Note: {note}" for note in account.notes), "", json.dumps({
        "volume": account.volumeName, "segmentation": account.segmentationName, "choices": account.choices,
        "notes": account.notes, "reports": account.reports}, indent=1, ensure_ascii=False)]
    return "\n".join(lines)
