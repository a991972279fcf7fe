"""What the figure tells: six tiles at most, with words and scores, before anything is drawn."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config.presets import PRESETS
from ..errors import InputError
from .report import EvaluationReport, MethodScores
from .scores import Part, ranking
from .shown import Shown

_NOTHING = "No method succeeded, so there is nothing to draw. The table says why."
SMOOTHED = 5  # pixels of a side: of so many a difference is shown the mean
_SMALLEST_GAIN = 0.05  # dB: less is none
_ORDINALS = {1: "st", 2: "nd", 3: "rd"}


@dataclass(frozen=True)
class Tile:
    """One picture of the figure.

    Attributes:
        picture: [row, column] normalised, NaN where there is nothing; or a difference, in units of the volume.
        title: Above it.
        caption: Below it: its score.
        is_difference: Whether it is a difference.
        labels: [row, column] segment numbers that are outlined; None for none.
        wrong: [row, column] bool, pixels of another label than the true one; None for none.
    """

    picture: np.ndarray
    title: str
    caption: str
    is_difference: bool = False
    labels: np.ndarray | None = None
    wrong: np.ndarray | None = None


@dataclass(frozen=True)
class Story:
    """The figure.

    Attributes:
        title: What was evaluated.
        headline: What came out.
        footnote: Where the tiles are, and how they are shown.
        lines: The tiles, line by line; all lines have the same length.
        shown: What the tiles are parts of.
    """

    title: str
    headline: str
    footnote: str
    lines: tuple[tuple[Tile, ...], ...]
    shown: Shown

    @classmethod
    def of(cls, report: EvaluationReport, path: str = "") -> Story:
        """Tell of what was kept, of the best of the usual methods, of the best of ours, and of the truth.

        Args:
            report: What was found.
            path: Of the volume.

        Raises:
            InputError: No method succeeded.
        """
        shown, columns = report.shown, [_column(report, baselines=baselines) for baselines in (True, False)]
        columns = [column for column in columns if column is not None]
        if not columns:
            raise InputError(_NOTHING)
        is_labelled = report.hidden == "labels"
        kept = Tile(shown.kept, *shown.kept_words, labels=shown.kept_labels if is_labelled else None)
        truth = Tile(shown.truth, "truth", "", labels=shown.labels)
        lines = zip((kept, truth), *columns, strict=True)
        title = ", ".join([*([Path(path).name] if path else []), report.what or _kept(report)])
        return cls(title, _headline(report), _footnote(shown), tuple(lines), shown)


def _column(report: EvaluationReport, *, baselines: bool) -> tuple[Tile, Tile] | None:
    """Two tiles of the best of some methods: what it makes, and below what is wrong with it; None without methods."""
    shown = report.shown
    image, labels = (report.best(part, baselines=baselines) for part in ("image", "labels"))
    if image is not None and image.picture is not None:
        made = Tile(image.picture, _named(image), f"{_psnr(shown, image.picture):.1f} dB here")
        missed = _missed(shown, image)
    elif labels is not None:
        made = Tile(shown.truth, _named(labels), "", labels=labels.label_picture)
        missed = made
    else:
        return None
    if labels is not None and labels.label_picture is not None and shown.labels is not None:
        missed = _mislabelled(shown, labels)
    return made, missed


def _named(row: MethodScores) -> str:
    """The name of a method, and whose it is; peers that were asked for speak for themselves."""
    whose = " (best usual method)" if row.is_baseline else " (this program)" if row.name in PRESETS else ""
    return row.name + whose


def _missed(shown: Shown, row: MethodScores) -> Tile:
    """The absolute difference to the truth where it was hidden, as the mean over a few pixels.

    Single pixels are mostly noise, which is the same whatever the method.
    """
    from scipy.ndimage import uniform_filter

    assert row.picture is not None, "a row that fills the image has a picture"
    difference = np.abs(row.picture - shown.truth) * shown.scale.step
    near, share = (uniform_filter(array.astype(np.float64), SMOOTHED, mode="constant")
                   for array in (difference * shown.hidden, shown.hidden))
    mean = float(difference[shown.hidden].mean())
    return Tile(near / np.maximum(share, 1e-6), f"|{row.name} - truth|",
                f"{mean:.3g} {shown.scale.unit} in the mean here", is_difference=True)


def _mislabelled(shown: Shown, row: MethodScores) -> Tile:
    """The outlines of labels, and where they are wrong."""
    assert row.label_picture is not None and shown.labels is not None, "there are labels"
    wrong = (row.label_picture != shown.labels) & shown.hidden
    labelled = int(np.count_nonzero(shown.hidden & ((shown.labels > 0) | wrong)))
    share = int(np.count_nonzero(wrong)) / max(labelled, 1)
    return Tile(shown.truth, f"labels by {row.name}; wrong in red", f"{share:.0%} of labelled pixels wrong here",
                labels=row.label_picture, wrong=wrong)


def _psnr(shown: Shown, picture: np.ndarray) -> float:
    """dB, of the hidden pixels that are shown, for the range of the volume."""
    squared = np.mean((picture - shown.truth)[shown.hidden] ** 2)
    return float(-10.0 * np.log10(max(float(squared), 1e-10)))


def _headline(report: EvaluationReport) -> str:
    """How the best of ours compares with the best of the usual methods, part by part."""
    parts: tuple[Part, ...] = ("image", "labels")
    told = [text for part in parts if (text := _compared(report, part))]
    return "; ".join(told) + (f" ({report.scope or _scope(report)})" if told else "")


def _compared(report: EvaluationReport, part: Part) -> str:
    ours, usual = (report.best(part, baselines=baselines) for baselines in (False, True))
    metric = ranking(part)
    if ours is None or usual is None:
        only = ours or usual
        return "" if only is None else f"{only.name}: {metric.label(only.scores[metric.name])}"
    scores = [row.scores[metric.name] for row in (ours, usual)]
    if part == "labels":
        return f"Dice {scores[0].value:.3f} by {ours.name}, {scores[1].value:.3f} by {usual.name}"
    gain = scores[0].value - scores[1].value
    if abs(gain) < _SMALLEST_GAIN:
        return f"{ours.name} is as near to the truth as {usual.name}"
    where = "nearer to" if gain >= 0 else "farther from"
    return f"{ours.name} is {abs(gain):.1f} dB {where} the truth than {usual.name}"


def _scope(report: EvaluationReport) -> str:
    """What the scores of the headline are of."""
    scored = next((int(row.scores["slices"].value) for row in report.rows if "slices" in row.scores), None)
    return f"all {len(report.held_out) if scored is None else scored} hidden slices"


def _kept(report: EvaluationReport) -> str:
    """What was kept, in words."""
    of = "labels of " if report.hidden == "labels" else ""
    steps, holes = np.diff(report.observed), np.diff(report.held_out)
    if len(steps) and (steps == steps[0]).all() and steps[0] > 1:
        return f"{of}every {ordinal(int(steps[0]))} slice kept"
    if len(holes) and (holes == holes[0]).all() and holes[0] > 1:
        return f"{of}every {ordinal(int(holes[0]))} slice hidden"
    return f"{of}{len(report.observed)} of {report.grid.count(report.axis)} slices kept"


def ordinal(number: int) -> str:
    """Return a number as a place in an order.

    Example:
        >>> ordinal(2), ordinal(4), ordinal(13), ordinal(21)
        ('2nd', '4th', '13th', '21st')
    """
    is_teen = number % 100 // 10 == 1
    return f"{number}{'th' if is_teen else _ORDINALS.get(number % 10, 'th')}"


def _footnote(shown: Shown) -> str:
    height, width = (count * size for count, size in zip(shown.view.upright(shown.truth).shape, shown.view.pixel,
                                                         strict=True))
    return (f"Part of the {shown.view.name}, {width:.0f} x {height:.0f} mm: where {shown.choice}. "
            f"Scores below tiles are of {'this part' if shown.hidden.all() else 'the hidden pixels in it'}."
            f"\n{shown.scale.window}.")
