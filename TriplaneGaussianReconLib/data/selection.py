"""Which slices are used; the others have no influence on the result."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ..errors import InputError
from .sentences import Sentence

_SHOWN = 6  # runs of slices that the short text of a selection lists


@dataclass(frozen=True)
class Selection:
    """The slices that are used, along one axis.

    Attributes:
        indices: slice numbers, counted from 0; they are sorted, and each is kept once.
        count: how many slices there are along the axis.

    Raises:
        InputError: there is no index, or one that does not exist.

    Example:
        >>> from TriplaneGaussianReconLib import Selection
        >>> Selection.every(24, 4)
        Selection(6 of 24 slices: 0,4,8,12,16,20)
        >>> Selection.parse(24, "all").excluding([17, 20, 21])
        Selection(21 of 24 slices: 0-16,18-19,22-23)
    """

    indices: tuple[int, ...]
    count: int

    def __post_init__(self) -> None:
        unique = tuple(sorted({int(n) for n in self.indices}))
        outside = [n for n in unique if not 0 <= n < self.count]
        if outside:
            raise InputError(Sentence("Slice {index} does not exist: this axis has slices 0 to {last}.",
                                      index=outside[0], last=self.count - 1))
        if not unique:
            raise InputError(Sentence("No slice is left to use. Select at least two slices, or exclude fewer."))
        object.__setattr__(self, "indices", unique)

    def __repr__(self) -> str:
        runs = [list(run) for _, run in groupby(enumerate(self.indices), lambda pair: pair[1] - pair[0])]
        texts = [f"{run[0][1]}-{run[-1][1]}" if len(run) > 1 else str(run[0][1]) for run in runs]
        if len(texts) > _SHOWN:
            texts = [*texts[:_SHOWN - 2], "...", texts[-1]]
        return f"Selection({len(self)} of {self.count} slices: {','.join(texts)})"

    @classmethod
    def of(cls, count: int, slices: Selection | str | Iterable[int]) -> Selection:
        """Return the selection that is meant.

        Args:
            count: how many slices there are along the axis.
            slices: a text as for `parse`; slice numbers; a boolean mask with one value for each slice; or a selection,
                which is returned as it is.

        Raises:
            InputError: the slices do not exist, or `slices` is none of these.

        Example:
            >>> from TriplaneGaussianReconLib import Selection
            >>> Selection.of(24, range(0, 24, 8))
            Selection(3 of 24 slices: 0,8,16)
        """
        if isinstance(slices, Selection):
            return slices
        if isinstance(slices, str):
            return cls.parse(count, slices)
        return cls(slice_numbers(slices, count), count)

    @classmethod
    def every(cls, count: int, step: int) -> Selection:
        """Use slices 0, step, 2 step, ...  Raises InputError for a step below 1."""
        if step < 1:
            raise InputError(Sentence("'Keep every' needs a whole number of at least 1, not {step}.", step=step))
        return cls(tuple(range(0, count, step)), count)

    @classmethod
    def all_but_every(cls, count: int, step: int) -> Selection:
        """Use all slices but step - 1, 2 step - 1, ...; the first and last slices are always used.

        Raises InputError for a step below 2.
        """
        if step < 2:
            raise InputError(Sentence("'Hide every' needs a whole number of at least 2, not {step}.", step=step))
        return cls(tuple(n for n in range(count) if n % step != step - 1 or n == count - 1), count)

    @classmethod
    def percentage(cls, count: int, percent: float) -> Selection:
        """Use `percent` of the slices, spread evenly, the first and the last among them.

        Raises InputError unless 0 < percent <= 100.
        """
        if not 0 < percent <= 100:
            raise InputError(Sentence("The percentage of slices to keep must lie between 0 and 100, not {percent}.",
                                      percent=percent))
        kept = min(count, max(2, round(count * percent / 100)))
        return cls(tuple(np.round(np.linspace(0, count - 1, kept)).astype(int)), count)

    @classmethod
    def parse(cls, count: int, text: str) -> Selection:
        """Read which slices are meant.

        Args:
            count: how many slices there are along the axis.
            text: a list such as `0,4,8-20`; or `every:4`, `every:4,9,13` (and these), `hide:3` (all but every third),
                `25%`, `all`.

        Raises:
            InputError: the text is none of these, or names a slice that does not exist.

        Example:
            >>> from TriplaneGaussianReconLib import Selection
            >>> Selection.parse(24, "0,4,8-20").indices
            (0, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
        """
        text = text.strip()
        if not text:
            raise InputError(Sentence("Write the numbers of slices, such as 0,4,8-20 or every:4."))
        try:
            if text == "all":
                return cls.every(count, 1)
            if text.startswith("every:"):
                step, comma, more = text[6:].partition(",")
                return cls((*cls.every(count, int(step)).indices, *(parse_numbers(more) if comma else ())), count)
            if text.startswith("hide:"):
                return cls.all_but_every(count, int(text[5:]))
            if text.endswith("%"):
                return cls.percentage(count, float(text[:-1]))
            return cls(tuple(parse_numbers(text)), count)
        except InputError:
            raise
        except ValueError:
            raise InputError(Sentence("Cannot read the slices '{slices}'. Write them as 0,4,8-20 or every:4, hide:3, "
                                      "25%, all.", slices=text)) from None

    def excluding(self, indices: Sequence[int]) -> Selection:
        """Return the selection without these slices, damaged ones for instance.

        Raises:
            InputError: one of them does not exist, or none is left.
        """
        Selection(tuple(indices) or (0,), self.count)  # names an index that does not exist
        return Selection(tuple(n for n in self.indices if n not in set(indices)), self.count)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def is_everything(self) -> bool:
        """Whether every slice is used."""
        return len(self.indices) == self.count


_MOST_NUMBERS = 10 ** 6


def slice_numbers(slices: Iterable[int], count: int) -> tuple[int, ...]:
    """Return slice numbers given as such, or as a boolean mask with one value for each of `count` slices.

    Raises InputError for anything else.
    """
    array = np.asarray(list(slices) if isinstance(slices, Iterable) else slices)
    if array.dtype == bool and array.shape == (count,):
        return tuple(np.flatnonzero(array).tolist())
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise InputError(Sentence("Slices are given as whole numbers from 0 to {last}, or as {count} values True or "
                                  "False.", last=count - 1, count=count))
    return tuple(array.tolist())


def parse_numbers(text: str) -> list[int]:
    """Read `7,12,20-23` as [7, 12, 20, 21, 22, 23]; raises ValueError for anything else."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        start, stop = int(first), int(last if dash else first)
        if stop < start:
            raise ValueError(f"{part} runs backwards")
        stop = min(stop, start + _MOST_NUMBERS)  # more than any volume has slices; `Selection` names what is missing
        numbers.extend(range(start, stop + 1))
    return numbers


def number_list(numbers: Sequence[int]) -> str:
    """Write ascending numbers as `parse_numbers` reads them.

    Example:
        >>> number_list([0, 4, 5, 6, 9])
        '0,4-6,9'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
