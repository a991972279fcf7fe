"""What an evaluation found, at a glance: what was kept, the best usual method, ours, the truth, and what is wrong."""
from __future__ import annotations

import os
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..io.atomic import whole_file
from .report import EvaluationReport
from .story import SMOOTHED, Story, Tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TILE_INCHES = 3.2  # width
_TALLEST, _FLATTEST = 1.35, 0.45  # height of a tile over its width
_BAR_INCHES, _LETTERS_PER_INCH = 0.9, 14.0  # beside the tiles, and in the footnote
_HEAD, _TEXT, _FOOT = 0.75, 0.45, 0.35  # inches: above all tiles, of the words of each line of them, and below all
_SMALLEST_SCALE = 0.02  # of the range: top of the scale of differences at least, so that rounding is no error
_NOTHING = np.array((0.25, 0.3, 0.45))  # RGB of where there is nothing
_WRONG = np.array((0.95, 0.1, 0.1))  # RGB of pixels of another label than the true one
_WRONG_OPACITY, _LABEL_OPACITY = 0.7, 0.25
_BARS = (1, 2, 5, 10, 20, 50, 100, 200)  # mm
_BAR = 0.3  # of the width of a tile, at most


def figure(report: EvaluationReport, path: str | os.PathLike[str], volume: str = "") -> None:
    """Draw six tiles at most, see `Story`.

    Args:
        report: What to draw.
        path: Its suffix chooses the format (.png, .pdf, .svg); the file appears whole or not at all.
        volume: The path of the volume, whose name is in the title.

    Raises:
        InputError: No method succeeded, or the suffix is unknown.
    """
    from matplotlib.figure import Figure

    story = Story.of(report, volume)
    rows, columns = story.shown.view.upright(story.shown.truth).shape
    height, width = story.shown.view.pixel
    tall = _TILE_INCHES * float(np.clip(rows * height / (columns * width), _FLATTEST, _TALLEST))
    bar = _BAR_INCHES if any(tile.is_difference for line in story.lines for tile in line) else 0.0
    size = (_TILE_INCHES * len(story.lines[0]) + bar, (tall + _TEXT) * len(story.lines) + _HEAD + _FOOT)
    drawing = Figure(figsize=size, dpi=150, layout="constrained")
    if Path(path).suffix[1:].lower() not in drawing.canvas.get_supported_filetypes():
        raise InputError(f"Cannot draw a figure as '{Path(path).name}'. Choose a name that ends in .png, .pdf or .svg.")
    _draw(drawing, story)
    with whole_file(Path(path)) as part:
        drawing.savefig(part)


def _draw(drawing: Figure, story: Story) -> None:
    """Put words and tiles into a figure."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    drawing.suptitle(f"{story.title}\n{story.headline}", fontsize=12, fontweight="bold")
    letters = int(_LETTERS_PER_INCH * drawing.get_figwidth())
    footnote = "\n".join(wrapped for line in story.footnote.splitlines() for wrapped in wrap(line, letters))
    drawing.supxlabel(footnote, fontsize=7.5, color="0.3")
    places = drawing.subplots(len(story.lines), len(story.lines[0]), squeeze=False)
    scale = story.shown.scale
    differences = [tile.picture for line in story.lines for tile in line if tile.is_difference]
    top = max([_SMALLEST_SCALE * scale.step, *(float(np.percentile(one, 99)) for one in differences)])
    for line, across in zip(story.lines, places, strict=True):
        for tile, place in zip(line, across, strict=True):
            _draw_tile(place, tile, story, top)
    _draw_bar(places[0, 0], story)
    if differences:
        drawing.colorbar(ScalarMappable(Normalize(0.0, top), "magma"), ax=places[-1, :].tolist(), aspect=30, pad=0.01,
                         label=f"absolute difference, {scale.unit}\n(mean of {SMOOTHED} x {SMOOTHED} pixels)")


def _draw_tile(place: Axes, tile: Tile, story: Story, top: float) -> None:
    view = story.shown.view
    place.set(xticks=[], yticks=[])
    place.set_title(tile.title, fontsize=10)
    place.set_xlabel(tile.caption or " ", fontsize=9)
    aspect = view.pixel[0] / view.pixel[1]
    if tile.is_difference:
        place.imshow(view.upright(tile.picture), cmap="magma", vmin=0.0, vmax=top, aspect=aspect)
        return
    place.imshow(view.upright(_coloured(tile, story)), aspect=aspect)
    if tile.labels is not None:
        labels = view.upright(tile.labels)
        for number in np.unique(labels[labels > 0]):
            place.contour(labels == number, levels=[0.5], colors=[story.shown.colors[number]], linewidths=1.0)


def _coloured(tile: Tile, story: Story) -> np.ndarray:
    """A tile as [row, column, RGB]: grey, tinted by its labels, red where these are wrong."""
    is_blank = np.isnan(tile.picture)
    grey = story.shown.scale.shown(np.where(is_blank, 0.0, tile.picture))[..., None] * np.ones(3)
    grey[is_blank] = _NOTHING
    if tile.labels is not None:
        grey = _tinted(grey, tile.labels > 0, story.shown.colors[tile.labels], _LABEL_OPACITY)
    return grey if tile.wrong is None else _tinted(grey, tile.wrong, _WRONG, _WRONG_OPACITY)


def _tinted(picture: np.ndarray, mask: np.ndarray, colors: np.ndarray, opacity: float) -> np.ndarray:
    share = opacity * mask[..., None]
    return (1 - share) * picture + share * colors


def _draw_bar(place: Axes, story: Story) -> None:
    """Draw how long so many mm are."""
    from matplotlib.patheffects import withStroke

    rows, columns = story.shown.view.upright(story.shown.truth).shape
    width = story.shown.view.pixel[1]
    length = max([bar for bar in _BARS if bar <= _BAR * columns * width], default=_BARS[0])
    start, at = 0.04 * columns - 0.5, 0.94 * rows - 0.5
    place.plot([start, start + length / width], [at, at], color="yellow", linewidth=2.5, solid_capstyle="butt")
    place.text(start, at - 0.02 * rows, f"{length} mm", color="yellow", fontsize=8, va="bottom",
               path_effects=[withStroke(linewidth=2, foreground="black")])
