"""Which slices carry labels: those on which something is drawn, those that are named, or all.

A slice that carries labels and shows none is truly empty.  On the other slices labels are not known, and are filled.
"""
from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..errors import InputError
from .geometry import Axis, array_axis
from .images import Segment, Segmentation
from .selection import Selection, number_list
from .sentences import Sentence

DRAWN, ALL = "drawn", "all"
LabelsOn: TypeAlias = "Selection | str | Iterable[int]"  # what `named_slices` understands

_WIDEST = 3.0  # times the usual distance of drawn slices, up to which what is on both is taken to go on between them


@dataclass(frozen=True)
class LabelSlices:
    """What slices tell about labels, by their numbers, ascending.

    Attributes:
        drawn: Something is drawn on these.
        empty: These carry labels too, and show none: nothing is there.
        filled: On these labels are not known.
    """

    drawn: tuple[int, ...]
    empty: tuple[int, ...]
    filled: tuple[int, ...]

    @classmethod
    def of(cls, layers: np.ndarray, segments: Sequence[Segment], labelled: np.ndarray | None = None,
           numbers: Sequence[int] | None = None) -> LabelSlices:
        """Sort slices.

        Args:
            layers: [layer, plane, row, column] label values.
            segments: Which of them count.
            labelled: (plane,) bool, which planes carry labels; None for all.
            numbers: (plane,) of the slices; by default counted from 0.
        """
        drawn = np.zeros(layers.shape[1], bool)
        for segment in segments:
            drawn |= (layers[segment.layer] == segment.value).any(axis=(1, 2))
        known = np.ones_like(drawn) if labelled is None else labelled
        named = np.arange(len(drawn)) if numbers is None else np.asarray(numbers)
        return cls(*(tuple(sorted(named[which].tolist())) for which in (known & drawn, known & ~drawn, ~known)))

    @classmethod
    def among(cls, observed: Selection, labelled: Selection | None, present: np.ndarray) -> LabelSlices:
        """Sort the slices that are used.

        Args:
            observed: Which slices are used.
            labelled: Which of them carry labels; None for all.
            present: (slice, segment) bool, of all slices, see `segments_on_slices`.

        Example:
            >>> present = np.zeros((9, 1), bool)
            >>> present[[0, 4]] = True
            >>> LabelSlices.among(Selection.every(9, 2), Selection((0, 4, 8), 9), present)
            LabelSlices(drawn=(0, 4), empty=(8,), filled=(2, 6))
        """
        known = set(observed.indices if labelled is None else labelled.indices)
        drawn = set(np.flatnonzero(present.any(axis=1)).tolist())
        return cls(tuple(n for n in observed.indices if n in known and n in drawn),
                   tuple(n for n in observed.indices if n in known and n not in drawn),
                   tuple(n for n in observed.indices if n not in known))

    def __str__(self) -> str:
        """Say it in a sentence.

        Example:
            >>> print(LabelSlices((0, 8, 16), (24, 25), (4,)))
            Labels are taken from 3 slices: 0,8,16; 2 others count as empty: 24-25; the labels of 1 are filled.
        """
        count, others = len(self.drawn), len(self.empty)
        empty = f"; {others} other{' counts' if others == 1 else 's count'} as empty: {number_list(self.empty)}"
        return (f"Labels are taken from {count} slice{'s' * (count != 1)}: {number_list(self.drawn)}"
                f"{empty * bool(others)}; the labels of {len(self.filled)} are filled.")


def named_slices(labels_on: LabelsOn, count: int) -> tuple[bool, Selection | None]:
    """Read which slices carry labels.

    Args:
        labels_on: `drawn` for those that `drawn_rule` finds; `drawn,40,48` for these and some more; else slices as
            `Selection.of` reads them: `0,8,16`, `every:8`, `all`, numbers, or a boolean mask.
        count: How many slices there are.

    Returns:
        Whether the slices that are drawn on are meant, and the slices that are named; None where none are.

    Raises:
        InputError: It is none of these, or names a slice that does not exist.

    Example:
        >>> named_slices("drawn,40,48", 60)
        (True, Selection(2 of 60 slices: 40,48))
        >>> named_slices("every:20", 60)
        (False, Selection(3 of 60 slices: 0,20,40))
    """
    parts = [part.strip() for part in labels_on.split(",")] if isinstance(labels_on, str) else []
    if parts == [DRAWN]:
        return True, None
    try:
        if DRAWN in parts:
            return True, Selection.parse(count, ",".join(part for part in parts if part != DRAWN))
        return False, Selection.of(count, labels_on)
    except InputError as error:
        raise InputError(Sentence(
            "Which slices carry labels: {cause} Besides, 'drawn' means the slices on which something is drawn, and "
            "'drawn,40' these and slice 40.", cause=error.args[0])) from None


def labelled_slices(labels_on: LabelsOn, observed: Selection, present: np.ndarray) -> Selection | None:
    """Return which slices carry labels; None if all observed ones do.

    What is present on slices that are not observed has no influence.

    Args:
        labels_on: As for `named_slices`.
        observed: Which slices are used.
        present: (slice, segment) bool, of all slices, see `segments_on_slices`.

    Raises:
        InputError: As `named_slices`.

    Example:
        >>> present = np.zeros((24, 1), bool)
        >>> present[[4, 8, 12]] = True
        >>> labelled_slices("drawn", Selection.every(24, 2), present)
        Selection(8 of 24 slices: 0,4,8,12,...,22)
    """
    is_drawn, named = named_slices(labels_on, observed.count)
    numbers = list(named.indices) if named is not None else []
    if is_drawn:
        indices = np.array(observed.indices)
        numbers += indices[drawn_rule(present[indices])].tolist()
    return None if set(observed.indices) <= set(numbers) else Selection(tuple(numbers), observed.count)


def drawn_rule(present: np.ndarray) -> np.ndarray:
    """Find the slices that carry labels from what is drawn on them.

    Let s be the usual (median) distance between neighbouring slices that are drawn on, counted in slices.  A slice that
    is not drawn on is truly empty if it lies at a distance of at least s from those that are; a nearer one was skipped.
    Where a segment is on both slices beside a run of such slices, and these are at most 3 s apart, all of it was
    skipped.  If one slice alone is drawn on, or a row of them without a gap, nothing was skipped.

    Args:
        present: (slice, segment) bool, of the used slices in order.

    Returns:
        (slice,) bool: drawn on, or truly empty.

    Example:
        Every fourth slice was drawn on, up to slice 8: the end lies somewhere before slice 12.

        >>> present = np.zeros((16, 1), bool)
        >>> present[[0, 4, 8]] = True
        >>> np.flatnonzero(drawn_rule(present)).tolist()
        [0, 4, 8, 12, 13, 14, 15]

        Two objects, each drawn on all its slices; nothing is between them.

        >>> present[:] = False
        >>> present[[2, 3, 4, 9, 10]] = True
        >>> bool(drawn_rule(present).all())
        True
    """
    labelled, drawn = np.ones(len(present), bool), np.flatnonzero(present.any(axis=1))
    if len(drawn) < 2:
        return labelled
    usual = float(np.median(np.diff(drawn)))
    distance = np.abs(np.arange(len(present))[:, None] - drawn).min(axis=1)
    labelled[(distance > 0) & (distance < usual)] = False
    for before, after in zip(drawn[:-1], drawn[1:], strict=True):
        if after - before <= _WIDEST * usual and (present[before] & present[after]).any():
            labelled[before + 1:after] = False
    return labelled


def segments_on_slices(segmentation: Segmentation, axis: Axis) -> Generator[None, None, np.ndarray]:
    """Find out which segments each slice along `axis` carries; a generator, so that an interface can go on meanwhile.

    Yields:
        Nothing, after each slice of each layer.

    Returns:
        bool (slice, segment).
    """
    present = np.zeros((segmentation.grid.count(axis), len(segmentation.segments)), bool)
    for number, layer in enumerate(segmentation.layers):
        columns = [column for column, segment in enumerate(segmentation.segments) if segment.layer == number]
        values = np.array([segmentation.segments[column].value for column in columns])
        for index, labels in enumerate(np.moveaxis(layer, array_axis(axis), 0)):
            if labels.any():
                present[index, columns] = np.isin(values, labels)
            yield
    return present


def presence(segmentation: Segmentation, axis: Axis) -> np.ndarray:
    """Return what `segments_on_slices` returns, at once."""
    return at_once(segments_on_slices(segmentation, axis))


def at_once(work: Generator[None, None, np.ndarray]) -> np.ndarray:
    """Return what work that can be done a piece at a time returns, without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: np.ndarray = end.value
            return result
