"""Where the figure looks: a part of a plane across the slices, where there is something to be gained."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.geometry import AXES, Axis, Grid, array_axis

_MIDDLE = (0.2, 0.8)  # of an axis: planes further out show little of the body
_MOST_PIXELS = 110  # of a side, of the size between a pixel's and a slice's: more would be too small to be seen
_ASPECTS = (0.75, 1.9)  # width over height, where the plane allows for it
_NAMES = ("sagittal", "coronal", "axial")  # planes across x, y, z of LPS


@dataclass(frozen=True)
class View:
    """A rectangle of a plane.

    Attributes:
        grid: of the volume.
        axis: across the plane.
        index: of the plane.
        rows, columns: of the plane, which has the axes of [k, j, i] that are left.
    """

    grid: Grid
    axis: Axis
    index: int
    rows: slice
    columns: slice

    @classmethod
    def across(cls, errors: np.ndarray, grid: Grid, axis: Axis, first: int = 0) -> View:
        """Choose a plane that cuts all slices, and the part of it where copying the nearest slice errs most.

        So the choice knows of no other method.

        Args:
            errors: [k, j, i], what copying misses; of the slices that may be shown alone.
            grid: of the volume.
            axis: across the slices.
            first: number of the first slice in `errors`.
        """
        best: tuple[float, Axis, int] = (-1.0, axis, 0)
        for other in (each for each in AXES if each != axis):
            count = grid.count(other)
            low, high = int(_MIDDLE[0] * count), max(int(np.ceil(_MIDDLE[1] * count)), 1)
            means = np.moveaxis(errors, array_axis(other), 0)[low:high].mean(axis=(1, 2))
            best = max(best, (float(means.max()), other, low + int(means.argmax())))
        _, other, index = best
        plane = np.moveaxis(errors, array_axis(other), 0)[index]
        mm, starts = zip(*((grid.spacing[::-1][n], first if n == array_axis(axis) else 0)
                           for n in range(3) if n != array_axis(other)), strict=True)
        rows, columns = (slice(start + part.start, start + part.stop)
                         for start, part in zip(starts, _part(plane, mm), strict=True))
        return cls(grid, other, index, rows, columns)

    @classmethod
    def of_slice(cls, grid: Grid, axis: Axis, index: int, errors: np.ndarray) -> View:
        """Choose the part of one slice where `errors` [row, column] are largest."""
        mm = [grid.spacing[::-1][n] for n in range(3) if n != array_axis(axis)]
        return cls(grid, axis, index, *_part(errors, mm))

    def of(self, array: np.ndarray) -> np.ndarray:
        """Return what an array [k, j, i] has here, [row, column]."""
        return self.part(np.moveaxis(array, array_axis(self.axis), 0)[self.index])

    def part(self, plane: np.ndarray) -> np.ndarray:
        """Return what a whole plane [row, column] has here."""
        return plane[self.rows, self.columns]

    @property
    def pixel(self) -> tuple[float, float]:
        """Height and width of a pixel as it is shown, mm."""
        rows, columns = (self.grid.spacing[::-1][n] for n in range(3) if n != array_axis(self.axis))
        return (columns, rows) if self._turn.is_turned else (rows, columns)

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """Return [row, column, ...] as radiologists look at it.

        Superior is at the top, else anterior; the patient's left or back is on the right.
        """
        turn = self._turn
        picture = picture[::turn.rows, ::turn.columns]
        return picture.swapaxes(0, 1) if turn.is_turned else picture

    @property
    def name(self) -> str:
        """Which plane it is, for people: the anatomical one that it is nearest to."""
        across = np.abs(np.asarray(self.grid.direction)[:, AXES.index(self.axis)])
        return f"{_NAMES[int(across.argmax())]} plane {self.axis} = {self.index}"

    @property
    def _turn(self) -> _Turn:
        columns, rows = (number for number in range(3) if number != AXES.index(self.axis))
        nearest, steps = [], []
        for number in (rows, columns):
            along = np.asarray(self.grid.direction)[:, number]
            nearest.append(int(np.argmax(np.abs(along))))
            wanted = -1.0 if nearest[-1] == 2 else 1.0  # left and posterior grow in display order, superior against it
            steps.append(1 if along[nearest[-1]] * wanted > 0 else -1)
        return _Turn(steps[0], steps[1], nearest[1] > nearest[0])  # z before y before x goes down the picture


@dataclass(frozen=True)
class _Turn:
    """How a plane is turned for display: steps along rows and columns, and whether these are then exchanged."""

    rows: int
    columns: int
    is_turned: bool


def _part(errors: np.ndarray, mm: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns of the part of a plane with the largest errors; mm: of a row and of a column."""
    longest = _MOST_PIXELS * (mm[0] * mm[1]) ** 0.5
    sides = [min(count, round(longest / size)) for count, size in zip(errors.shape, mm, strict=True)]
    height, width = sides[0] * mm[0], sides[1] * mm[1]
    sides[1] = max(1, min(sides[1], round(_ASPECTS[1] * height / mm[1])))
    sides[0] = max(1, min(sides[0], round(width / _ASPECTS[0] / mm[0])))
    sums = np.pad(errors.astype(np.float64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    (tall, wide), ends = sides, sums.shape
    boxes = sums[tall:, wide:] - sums[:ends[0] - tall, wide:] - sums[tall:, :ends[1] - wide] + sums[
        :ends[0] - tall, :ends[1] - wide]
    row, column = np.unravel_index(boxes.argmax(), boxes.shape)
    return slice(int(row), int(row) + tall), slice(int(column), int(column) + wide)
