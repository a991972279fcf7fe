"""A part of a volume that is to be reconstructed alone: a box of its voxels.

Slices keep their numbers: along the slice axis slices are left unused, and only within them something is cut off.
What lies around the box takes part, so that its borders come out as well as its middle, and is cut off in the end.
"""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from .geometry import AXES, Axis, Grid
from .selection import Selection
from .sentences import Sentence

MARGIN = 12  # pixels around the box that take part, within slices
_BEYOND = 2  # used slices beyond either end of it that do so
_ROUNDING = 1e-3  # of a slice, by which headers may be off
Box = tuple[slice, slice, slice]  # a part of an array [k, j, i]


@dataclass(frozen=True)
class Region:
    """A box of voxels.

    Attributes:
        first: (3,) index i, j, k of the first voxel.
        last: (3,) index i, j, k of the last voxel, which belongs to it.

    Example:
        >>> Region.parse("10-40, 0-63, 5-20")
        Region(first=(10, 0, 5), last=(40, 63, 20))
    """

    first: tuple[int, int, int]
    last: tuple[int, int, int]

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read `10-40,0-63,5-20`: from which to which voxel along i, j and k.  Raises InputError for anything else."""
        found = re.fullmatch(r"\s*" + r"\s*,\s*".join([r"(\d{1,9})\s*-\s*(\d{1,9})"] * 3) + r"\s*", text)
        numbers = [int(each) for each in found.groups()] if found else []
        if not found or any(last < first for first, last in zip(numbers[::2], numbers[1::2], strict=True)):
            raise InputError(Sentence("Cannot read the region '{region}'. Write the first and the last voxel along i, "
                                      "j and k, counted from 0, such as 10-40,0-63,5-20.", region=text))
        return cls.between(numbers[::2], numbers[1::2])

    @classmethod
    def between(cls, first: Sequence[int], last: Sequence[int]) -> Region:
        """Return the region from one voxel to another one, (3,) indices i, j, k."""
        return cls((first[0], first[1], first[2]), (last[0], last[1], last[2]))

    @classmethod
    def about(cls, points: np.ndarray, grid: Grid) -> Region:
        """Return all voxels of a volume that the box about points reaches into, in the directions of its axes.

        Args:
            points: (N, 3) LPS mm.
            grid: Of the volume.

        Raises:
            InputError: The points lie beside the volume.

        Example:
            >>> Region.about(np.array([[2.4, 1, 3], [5, 1, 99]]), Grid((8, 24, 20), spacing=(1, 1, 4)))
            Region(first=(2, 1, 1), last=(5, 1, 7))
        """
        places = grid.physical_to_index(points)
        low, high = places.min(axis=0) + _ROUNDING, places.max(axis=0) - _ROUNDING
        if ((high < -0.5) | (low > np.array(grid.size) - 0.5)).any():
            raise InputError(Sentence("The region lies outside of the volume. Move it to where something is to be "
                                      "reconstructed."))
        first = np.clip(np.floor(low + 0.5), 0, np.array(grid.size) - 1)
        last = np.clip(np.maximum(np.ceil(high - 0.5), first), 0, np.array(grid.size) - 1)
        return cls.between(first.astype(int).tolist(), last.astype(int).tolist())

    @classmethod
    def within(cls, text: str, grid: Grid) -> Region | None:
        """Return the region of a volume that a text means, see `parse`; None for the whole volume, if it is empty.

        Raises:
            InputError: The text cannot be read, or the region reaches beyond the volume.
        """
        if not text.strip():
            return None
        found = cls.parse(text)
        for axis, last, count in zip(AXES, found.last, grid.size, strict=True):
            if last >= count:
                raise InputError(Sentence("The region {region} reaches beyond the volume, whose voxels along {axis} "
                                          "are 0 to {last}. Choose a smaller one.", region=str(found), axis=axis,
                                          last=count - 1))
        return found

    def __str__(self) -> str:
        """As `parse` reads it."""
        return ",".join(f"{first}-{last}" for first, last in zip(self.first, self.last, strict=True))

    def slices(self, axis: Axis) -> range:
        """The slices along an axis that it reaches into."""
        number = AXES.index(axis)
        return range(self.first[number], self.last[number] + 1)

    def used(self, selection: Selection, axis: Axis, labelled: Selection | None = None) -> Selection:
        """Return which of the used slices take part: those inside, the next two at either end, and all up to the next
        ones that carry labels.

        Args:
            selection: Which slices along `axis` are used.
            axis: The slice axis.
            labelled: Which of them carry labels; None for all.

        Raises:
            InputError: Fewer than two used slices are inside.

        Example:
            >>> region = Region((0, 0, 11), (7, 7, 17))
            >>> region.used(Selection.every(60, 4), "k").indices
            (4, 8, 12, 16, 20, 24)
            >>> region.used(Selection.every(60, 4), "k", Selection((0, 12, 36), 60)).indices
            (0, 4, 8, 12, 16, 20, 24, 28, 32, 36)
        """
        inside, numbers = self.slices(axis), np.array(selection.indices)
        number = sum(each in inside for each in selection.indices)
        if number < 2:
            raise InputError(self._too_thin(inside, number))
        known = np.isin(numbers, numbers if labelled is None else labelled.indices)
        before, after = np.flatnonzero(numbers < inside[0]), np.flatnonzero(numbers > inside[-1])
        start = min([*before[-_BEYOND:], *before[known[before]][-1:], *np.flatnonzero(numbers >= inside[0])[:1]])
        stop = max([*after[:_BEYOND], *after[known[after]][:1], *np.flatnonzero(numbers <= inside[-1])[-1:]])
        return Selection(tuple(numbers[start:stop + 1].tolist()), selection.count)

    def _too_thin(self, inside: range, number: int) -> Sentence:
        """Why fewer than two used slices are too few."""
        if len(inside) == 1:
            return Sentence("The region is too thin. It holds only slice {first}; at least two are needed. Make it "
                            "thicker across the slices.", first=inside[0])
        if number:
            return Sentence("The region is too thin. It holds slices {first} to {last}, of which only one is used; at "
                            "least two are needed. Make it thicker across the slices, or use more slices.",
                            first=inside[0], last=inside[-1])
        return Sentence("The region is too thin. It holds slices {first} to {last}, of which none is used; at least "
                        "two are needed. Make it thicker across the slices, or use more slices.",
                        first=inside[0], last=inside[-1])

    def seen(self, grid: Grid, axis: Axis) -> tuple[Grid, Box, Box]:
        """Return what takes part within slices.

        Args:
            grid: Of the volume.
            axis: The slice axis, along which nothing is cut off.

        Returns:
            Its grid, where it lies in an array of the volume, and where the region lies in an array of it.
        """
        found, parts, inside = grid, list[slice](), list[slice]()
        for name, first, last, count in zip(AXES, self.first, self.last, grid.size, strict=True):
            margin = count if name == axis else MARGIN
            low, high = max(0, first - margin), min(count - 1, last + margin)
            found = found.cropped(name, low, high) if name != axis else found
            parts.append(slice(low, high + 1))
            inside.append(slice(first - low, last - low + 1))
        return found, (parts[2], parts[1], parts[0]), (inside[2], inside[1], inside[0])

    def of_result(self, whole: Grid, grid: Grid, axis: Axis) -> Grid:
        """Return the voxels of the result that lie in the region.

        Args:
            whole: The voxels that the result of the whole volume would have.
            grid: Of the volume; `whole` has the same voxels within slices.
            axis: The slice axis.

        Raises:
            InputError: Fewer than two slices of the result do.
        """
        number, inside = AXES.index(axis), self.slices(axis)
        places = np.zeros((whole.count(axis), 3))
        places[:, number] = np.arange(len(places))
        numbers = grid.physical_to_index(whole.index_to_physical(places))[:, number]
        within = np.flatnonzero((numbers > inside[0] - 0.5 - _ROUNDING) & (numbers < inside[-1] + 0.5 + _ROUNDING))
        if len(within) < 2:
            raise InputError(Sentence("The region is too thin: of the slices of the result it holds {number}. Make it "
                                      "thicker across the slices, or choose a smaller slice spacing.",
                                      number=len(within)))
        found = whole.cropped(axis, int(within[0]), int(within[-1]))
        for name in AXES:
            if name != axis:
                found = found.cropped(name, self.slices(name)[0], self.slices(name)[-1])
        return found


def cut(array: np.ndarray, part: Box) -> np.ndarray:
    """Return a part of an array [..., k, j, i], which shares its memory."""
    found: np.ndarray = array[..., part[0], part[1], part[2]]
    return found


def part_of(selections: Mapping[Axis, Selection], labelled: Mapping[Axis, Selection] | None, region: Region, axis: Axis
            ) -> tuple[dict[Axis, Selection], dict[Axis, Selection] | None]:
    """Return which slices are used and which carry labels where a region alone is reconstructed.

    Args:
        selections: Which slices of the volume are used, by axis.
        labelled: Which of them carry labels; None for all.
        region: What is to be reconstructed.
        axis: The slice axis.

    Raises:
        InputError: Slices of other axes are used, or fewer than two of them are inside.
    """
    if set(selections) != {axis}:
        raise InputError(Sentence("A region goes with slices along the slice axis alone. Use those along {axis}, or "
                                  "reconstruct the whole volume.", axis=axis))
    used = region.used(selections[axis], axis, None if labelled is None else labelled.get(axis))
    if labelled is None or axis not in labelled:
        return {axis: used}, None if labelled is None else dict(labelled)
    known = tuple(sorted(set(labelled[axis].indices) & set(used.indices)))
    if len(known) == len(used):
        return {axis: used}, None
    return {axis: used}, {axis: replace(labelled[axis], indices=known) if known else labelled[axis]}
