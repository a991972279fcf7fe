"""What an evaluation found, as pictures: the truth, the best methods, and what is wrong with them."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.geometry import AXES, Axis, Grid
from ..errors import InputError
from ..io.atomic import whole_file
from .comparison import Comparison, ImagePair
from .report import EvaluationReport, MethodScores
from .scores import ranking

_PANEL_INCHES = 2.2
_SMALLEST_SCALE = 0.05  # top of the difference scale at least, so that rounding does not look like an error
_WRONG = np.array((0.9, 0.1, 0.1))  # RGB of pixels of another label than the true one
_LABEL_OPACITY = 0.5
_NOTHING = "No method succeeded, so there is nothing to draw. The table says why."


def figure(report: EvaluationReport, path: str | os.PathLike[str]) -> None:
    """Draw up to three held-out slices: truth, best method of ours, best baseline, and their absolute differences.

    With labels, the same slices follow with the segments in colour, and with their errors in red.  Where labels alone
    were hidden, it is one slice, with the labels of every method and below these their errors.

    Args:
        report: What to draw.
        path: Its suffix chooses the format (.png, .pdf, .svg); the file appears whole or not at all.

    Raises:
        InputError: No method succeeded, or the suffix is unknown.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    lines = _lines(report)
    turned, aspect = upright(report.grid, report.axis)
    rows, columns = report.samples.shape[1:]
    height = float(np.clip(_PANEL_INCHES * aspect * rows / columns, 0.5 * _PANEL_INCHES, 2 * _PANEL_INCHES))
    drawing = Figure(figsize=(_PANEL_INCHES * len(lines[0]) + 0.8, (height + 0.25) * len(lines)), dpi=150,
                     layout="constrained")
    if Path(path).suffix[1:].lower() not in drawing.canvas.get_supported_filetypes():
        raise InputError(f"Cannot draw a figure as '{Path(path).name}'. Choose a name that ends in .png, .pdf or .svg.")
    axes = drawing.subplots(len(lines), len(lines[0]), squeeze=False)
    differences = [panel.picture for line in lines for panel in line if panel.is_difference]
    limit = max([_SMALLEST_SCALE, *(float(np.percentile(one, 99.5)) for one in differences)])
    for panel, place in zip((panel for line in lines for panel in line), axes.flat, strict=True):
        place.set(xticks=[], yticks=[])
        place.set_title(panel.title, fontsize=8)
        colors, top = ("magma", limit) if panel.is_difference else ("gray", 1.0)
        place.imshow(turned(panel.picture), cmap=colors, vmin=0, vmax=top, aspect=aspect)
    for place, index in zip(axes[:, 0], report.sample_indices * 2, strict=False):
        place.set_ylabel(f"slice {report.axis} = {index}", fontsize=8)
    if differences:
        drawing.colorbar(ScalarMappable(Normalize(0.0, limit), "magma"), ax=axes[:len(report.samples), -1],
                         label="absolute difference")
    with whole_file(Path(path)) as part:
        drawing.savefig(part)


@dataclass(frozen=True)
class _Panel:
    """One picture in [0, 1]: grey [row, column] or [row, column, RGB]."""

    picture: np.ndarray
    title: str
    is_difference: bool = False


def _lines(report: EvaluationReport) -> list[list[_Panel]]:
    """Return the panels line by line: the image of each sample, then its labels; or labels, then their errors."""
    if report.hidden == "labels":
        return _hidden_label_lines(report)
    best = [(report.best("image", baselines=baselines), report.best("labels", baselines=baselines))
            for baselines in (False, True)]
    best = [pair for pair in best if any(pair)]
    if not best:
        raise InputError(_NOTHING)
    samples = range(len(report.samples))
    lines = [_image_line(report, number, [image for image, _ in best]) for number in samples]
    if report.label_samples is not None:
        lines += [_label_line(report, number, [labels for _, labels in best]) for number in samples]
    return lines


def _image_line(report: EvaluationReport, number: int, rows: Sequence[MethodScores | None]) -> list[_Panel]:
    """Return the panels of sample `number`: truth, an estimate per row, a difference per row; blank for None."""
    true, metric = report.samples[number], ranking("image")

    def pair(row: MethodScores) -> tuple[_Panel, _Panel]:
        assert row.samples is not None, "a row that fills the image has samples"
        estimate = row.samples[number]
        score = metric.score(Comparison(ImagePair(true[None], estimate[None])))
        title = f"{row.name}, {metric.label(score)}" if score is not None else row.name
        return (_Panel(estimate, title), _Panel(np.abs(estimate - true), f"|{row.name} - truth|", is_difference=True))

    return _line(_Panel(true, "truth"), rows, pair)


def _label_line(report: EvaluationReport, number: int, rows: Sequence[MethodScores | None]) -> list[_Panel]:
    """As `_image_line`, with the labels laid over the true image, and in place of differences the wrong pixels."""
    assert report.label_samples is not None, "only drawn if there are labels"
    image, true, metric = report.samples[number], report.label_samples[number], ranking("labels")

    def pair(row: MethodScores) -> tuple[_Panel, _Panel]:
        assert row.label_samples is not None, "a row that fills labels has samples"
        labels, title = row.label_samples[number], f"{row.name}, {metric.label(row.scores[metric.name])}"
        return (_Panel(_overlaid(image, labels > 0, report.colors[labels]), title),
                _Panel(_overlaid(image, labels != true, _WRONG), f"{row.name}, wrong pixels"))

    return _line(_Panel(_overlaid(image, true > 0, report.colors[true]), "true labels"), rows, pair)


def _hidden_label_lines(report: EvaluationReport) -> list[list[_Panel]]:
    """Return true labels and those of all methods, then the image and the wrong pixels of each."""
    rows = [row for row in report.rows if row.label_samples is not None]
    if not rows:
        raise InputError(_NOTHING)
    panels = _label_line(report, 0, rows)
    estimates, errors = panels[1:len(rows) + 1], panels[len(rows) + 1:]
    return [[panels[0], *estimates], [_Panel(report.samples[0], "image"), *errors]]


def _line(truth: _Panel, rows: Sequence[MethodScores | None],
          pair: Callable[[MethodScores], tuple[_Panel, _Panel]]) -> list[_Panel]:
    blank = _Panel(np.ones_like(truth.picture), "")
    pairs = [pair(row) if row is not None else (blank, blank) for row in rows]
    return [truth, *(estimate for estimate, _ in pairs), *(difference for _, difference in pairs)]


def _overlaid(image: np.ndarray, mask: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return grey `image` as RGB with `colors`, one or one per pixel, laid over it where `mask` is true."""
    opacity = _LABEL_OPACITY * mask[..., None]
    return (1 - opacity) * image[..., None] + opacity * colors


def upright(grid: Grid, axis: Axis) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """Return how to flip slices for display, and the height of a pixel over its width.

    As radiologists look at them: anterior or superior at the top, the patient's left or back on the right.
    """
    columns, rows = (number for number in range(3) if number != AXES.index(axis))
    steps = []
    for number in (rows, columns):
        along = np.asarray(grid.direction)[:, number]
        nearest = int(np.argmax(np.abs(along)))
        wanted = -1.0 if nearest == 2 else 1.0  # left and posterior grow in display order, superior against it
        steps.append(1 if along[nearest] * wanted > 0 else -1)
    return lambda picture: picture[::steps[0], ::steps[1]], grid.spacing[rows] / grid.spacing[columns]
