"""What a run tells about itself: the table of slices, and how the results were made.  Knows no node.

To add a column to the table, touch this file alone: its name in `COLUMNS`, its unit and meaning, and its values in
`scores`.  If the library does not tell them yet, add them to `pipeline/report.py` in the library as well.
"""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid, array_axis
from TriplaneGaussianReconLib.jobs.protocol import Outcome
from TriplaneGaussianReconLib.pipeline.report import Report, Scope

# The columns of the table of slices, in order, their units, and what is not plain from their names.
# The first one is there for several frames, the last one where labels were filled on used slices, and the two before it
# unless labels alone were.
FRAME, SLICE, POSITION, USED, HIDDEN, ERROR, DOUBT = COLUMNS = (
    "Frame", "Slice", "Position", "Used", "PSNR when hidden", "Expected error", "Labels in doubt")
UNITS = {POSITION: "mm", HIDDEN: "dB", DOUBT: "voxels"}
DIGITS = {SLICE: 3, POSITION: 3, HIDDEN: 1, DOUBT: 1}  # that are shown, after the point
MEANINGS = {SLICE: "Its number in the input, with a fraction where it lies between two slices of the input.",
            HIDDEN: "Of used slices that were hidden and predicted across twice the real gap; empty for all others.",
            ERROR: "Mean expected absolute error.",
            DOUBT: "Expected number of voxels with a wrong label: the sum of 1 - certainty."}
_JSON = "\n\n{"  # begins the part of the provenance that is for programs


@dataclass(frozen=True)
class FrameRecord:
    """What is to be told of one frame.

    Attributes:
        report: The library's.
        scope: Which slices were used for which voxels.
        inputSpacing: Mm along i, j and k.
        segments: Names of the segments that were filled in.
    """

    report: Report
    scope: Scope
    inputSpacing: tuple[float, ...]
    segments: tuple[str, ...]

    @classmethod
    def of(cls, grid: Grid, outcome: Outcome) -> FrameRecord:
        """Take what an outcome tells.  grid: of the input."""
        segments = () if outcome.segmentation is None else outcome.segmentation.segments
        return cls(outcome.report, outcome.scope, grid.spacing, tuple(segment.name for segment in segments))

    def toJson(self) -> dict[str, Any]:
        """Return it as the provenance tells it: the library's report and two entries more."""
        return {**self.report.to_json(), "input_spacing_mm": self.inputSpacing, "segments": self.segments}


@dataclass
class RunRecord:
    """All that there is to tell about a run.

    Attributes:
        volumeName: Of the input node.
        segmentationName: Of the input node; None without one.
        choices: What the user asked for.
        further: Further volumes of the same body: the name of each, and what was used of it.
        frames: What is to be told of each frame.
        tables: What `scores` made of each frame.
        notes: What the user should know.
    """

    volumeName: str
    segmentationName: str | None
    choices: Mapping[str, Any]
    further: tuple[str, ...] = ()
    frames: list[FrameRecord] = field(default_factory=list)
    tables: list[dict[str, np.ndarray]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, remarks: Sequence[str]) -> None:
        """Add what the user should know, once."""
        self.notes += [remark for remark in remarks if remark not in self.notes]

    def table(self) -> dict[str, np.ndarray]:
        """The columns of all frames, one after another; which frame, where there are several."""
        frames = np.repeat(np.arange(len(self.tables)), [len(table[SLICE]) for table in self.tables])
        several = {FRAME: frames} if len(self.tables) > 1 else {}
        missing = {ERROR: 0.0}  # of a frame whose image is known
        return several | {name: np.concatenate([
            table.get(name, np.full(len(table[SLICE]), missing.get(name, np.nan))) for table in self.tables])
            for name in COLUMNS[1:] if any(name in table for table in self.tables)}


def isOfLabelsAlone(report: Report) -> bool:
    """Whether labels were filled on slices of a volume that is known, so that nothing is to be told of its image."""
    return report.completion is not None and not report.gaussians


def scores(grid: Grid, outcome: Outcome) -> dict[str, np.ndarray]:
    """How good each slice of the result is, and each observed one; of what the worker tells, without a look at voxels.

    Args:
        grid: Of the input.
        outcome: What came of it.

    Returns:
        Columns: slice number in the input, which is fractional between its slices; position (mm) from the first slice;
        1 where observed, else 0; PSNR (dB) of observed slices that were hidden and predicted across twice the real gap,
        NaN for all others; mean expected absolute error, in units of the volume (these two are left out where labels
        alone were filled); where labels were filled on observed slices, how many voxels are expected to have a wrong
        one.
    """
    axis, check = outcome.scope.axis, outcome.report.self_check
    number, observed = AXES.index(axis), np.array(outcome.scope.selected[axis])
    dimension, drawn = _drawn(grid, axis, outcome.volume.grid)
    errors = np.array(outcome.statistics["confidence"].means[dimension])
    shown = observed[(observed > drawn.min() - 0.5) & (observed < drawn.max() + 0.5)]  # of a region others are used too
    slices = np.unique(np.round(np.concatenate([drawn, shown]), 6))
    # The library counts observed slices along their normal, which may run against their numbers.
    ordered = observed[np.argsort(grid.planes(axis, observed).offsets)]
    hidden = {ordered[place]: psnr for place, psnr in check.per_slice.items()}
    found = {SLICE: slices, POSITION: slices * grid.spacing[number], USED: np.isin(slices, observed).astype(np.uint8)}
    if not isOfLabelsAlone(outcome.report):
        found[HIDDEN] = np.array([hidden.get(each, np.nan) for each in slices])
        found[ERROR] = _at(slices, drawn, errors)
    if outcome.label_certainty is not None:
        means, size = np.array(outcome.statistics["certainty"].means[dimension]), np.prod(outcome.volume.grid.shape)
        found[DOUBT] = _at(slices, drawn, (1.0 - means) * (size / len(means)))
    return found


def unitsOf(record: RunRecord) -> tuple[dict[str, str], float]:
    """The units of the columns, and what expected errors are to be multiplied by: as the panel tells how large they are
    in the first frame.
    """
    found = record.frames[0].report.expected_error
    if found is None or (found.unit is None and not found.median * found.share_of_range):
        return UNITS | {ERROR: "units of the volume"}, 1.0
    if found.unit is not None:
        return UNITS | {ERROR: found.unit}, 1.0
    return UNITS | {ERROR: "% of the range"}, 100.0 * found.share_of_range / found.median


def shown(table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return columns as people read them: rounded, and as texts where values are missing."""
    found = {}
    for name, values in table.items():
        if np.isnan(values).any():
            found[name] = np.array(["" if np.isnan(value) else f"{value:.{DIGITS[name]}f}" for value in values])
        elif name == ERROR:
            found[name] = np.array([float(f"{value:.3g}") for value in values])
        else:
            found[name] = np.round(values, DIGITS.get(name, 0))
    return found


def _drawn(grid: Grid, axis: Axis, output: Grid) -> tuple[int, np.ndarray]:
    """Which slices of the input, as fractional numbers along `axis`, the slices of the result are.

    Also returns the dimension of the result's arrays along which they lie: one of several volumes has its own axes.
    """
    along = output.axis_along(np.array(grid.direction)[:, AXES.index(axis)])
    places = np.zeros((output.count(along), 3)) + (np.array(output.size) - 1) / 2.0
    places[:, AXES.index(along)] = np.arange(len(places))
    return array_axis(along), np.round(grid.physical_to_index(output.index_to_physical(places))[:, AXES.index(axis)], 9)


def _at(slices: np.ndarray, drawn: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What `values` of slices of the result are on `slices` of the input."""
    order = np.argsort(drawn)
    return np.interp(slices, drawn[order], values[order])


def provenance(record: RunRecord) -> str:
    """How the results were made: text to read, then all of it as JSON."""
    first, made = record.frames[0], f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}"
    check, seconds = first.report.self_check, sum(sum(frame.report.seconds.values()) for frame in record.frames)
    lines = _linesOnFrame(record, first, made)
    lines.append(f"Seconds: {seconds:.1f}")
    if len(record.frames) > 1:
        lines.append(f"Frames: {len(record.frames)}; what is told here is of the first")
    errors = record.table().get(ERROR)
    if errors is not None:
        average = f"{errors.mean():.3g} on average, in units of the volume"
        lines.append(f"Expected error: {first.report.expected_error or average}")
    lines += [f"Self check: {check.found}"] if check.psnr is not None else []
    lines += [check.note, *_linesOnLabels(first), *(f"Note: {note}" for note in record.notes), "", _json({
        "made": made, "volume": record.volumeName, "segmentation": record.segmentationName,
        "choices": record.choices, "notes": record.notes, "reports": [frame.toJson() for frame in record.frames]})]
    return "\n".join(lines)


def _linesOnFrame(record: RunRecord, frame: FrameRecord, made: str) -> list[str]:
    told, scope = frame.report.provenance, frame.scope
    return [
        f"'{record.volumeName}' reconstructed by {told.product} {told.version}, {made}",
        f"{told.note} Not for diagnosis or treatment.", "",
        *([f"Further volumes: {_listed(record.further)}"] if record.further else []),
        f"Segmentation: {record.segmentationName or 'none'}",
        f"Segments filled in: {_listed(frame.segments)}",
        f"Segments left out, being on no slice that is used: {_listed(scope.segments_left_out or ())}",
        f"Slices used along {scope.axis}: {', '.join(map(str, scope.selected[scope.axis]))}",
        f"Excluded slices: {record.choices['excluded'] or 'none'}",
        f"Used slices in the result: {'as they are in the input' if frame.report.pasted else 'drawn as all others'}",
        *([f"Region, from which to which voxel along i, j and k: {scope.region}"] if scope.region else []),
        f"Spacing of the input: {_listed(frame.inputSpacing, ' x ')} mm",
        f"Voxels of the result: {' x '.join(map(str, reversed(scope.output_shape)))}, "
        f"{_listed(scope.output_spacing, ' x ')} mm",
        f"Preset: {told.preset}", f"Seed: {told.seed}", f"Device: {frame.report.device_note}"]


def _linesOnLabels(frame: FrameRecord) -> list[str]:
    """What to tell of labels that were filled on used slices; nothing where none were."""
    told = frame.report.completion
    if told is None:
        return []
    dice = "none could be hidden" if told.hidden_dice is None else f"mean Dice {told.hidden_dice:.3f}"
    warm = ["Labels started from what the last run learnt"] if told.is_warm else []
    return [str(told.slices), *warm, f"Drawn slices that were hidden and filled: {dice}",
            f"Methods of filling: {_listed([f'{name} {share:.0%}' for name, share in told.methods.items()])}",
            f"Slices to draw next, the best first: {_listed(told.next_slices)}"]


def notesIn(report: Report) -> list[str]:
    """What the library wants the user to know; without what is told of labels that were filled in any case."""
    told = None if report.completion is None else str(report.completion.slices)
    return [note for note in report.notes if note != told]


def reportIn(text: str) -> Report | None:
    """The report of the first frame in the text that `provenance` made; None where that cannot be read."""
    try:
        return Report.from_json(json.loads("{" + text.partition(_JSON)[2])["reports"][0])
    except (ValueError, KeyError, IndexError, TypeError):  # somebody has edited it
        return None


def _listed(values: Sequence[Any], separator: str = ", ") -> str:
    return separator.join(f"{value:g}" if isinstance(value, float) else str(value) for value in values) or "none"


def _json(content: dict[str, Any]) -> str:
    """JSON with a line for each key of `content`, and no more."""
    lines = (f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in content.items())
    return "{" + ",\n ".join(lines) + "}"
