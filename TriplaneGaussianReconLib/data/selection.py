"""Which slices of a volume are trusted."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class Selection:
    """The trusted slices along one axis: sorted, unique indices out of `count`."""

    indices: tuple[int, ...]
    count: int

    def __post_init__(self) -> None:
        unique = tuple(sorted({int(n) for n in self.indices}))
        outside = [n for n in unique if not 0 <= n < self.count]
        if outside:
            raise InputError(f"Slice {outside[0]} does not exist: this axis has slices 0 to {self.count - 1}.")
        if not unique:
            raise InputError("No slice is left to trust. Select at least two slices.")
        object.__setattr__(self, "indices", unique)

    @classmethod
    def every(cls, count: int, step: int) -> Selection:
        """Trust slices 0, step, 2 step, ..."""
        if step < 1:
            raise InputError(f"'Keep every' needs a whole number of at least 1, not {step}.")
        return cls(tuple(range(0, count, step)), count)

    @classmethod
    def all_but_every(cls, count: int, step: int) -> Selection:
        """Trust all slices but step - 1, 2 step - 1, ...; the first and last slices are always trusted."""
        if step < 2:
            raise InputError(f"'Hide every' needs a whole number of at least 2, not {step}.")
        return cls(tuple(n for n in range(count) if n % step != step - 1 or n == count - 1), count)

    @classmethod
    def percentage(cls, count: int, percent: float) -> Selection:
        """Trust `percent` of the slices, spread evenly, the first and the last among them."""
        if not 0 < percent <= 100:
            raise InputError(f"The percentage of slices to keep must lie between 0 and 100, not {percent}.")
        kept = min(count, max(2, round(count * percent / 100)))
        return cls(tuple(np.round(np.linspace(0, count - 1, kept)).astype(int)), count)

    @classmethod
    def parse(cls, count: int, text: str) -> Selection:
        """Read a list such as `0,4,8-20`; `every:4`, `hide:3`, `25%` and `all` are understood too."""
        text = text.strip()
        try:
            if text == "all":
                return cls.every(count, 1)
            if text.startswith("every:"):
                return cls.every(count, int(text[6:]))
            if text.startswith("hide:"):
                return cls.all_but_every(count, int(text[5:]))
            if text.endswith("%"):
                return cls.percentage(count, float(text[:-1]))
            return cls(tuple(parse_numbers(text)), count)
        except InputError:
            raise
        except ValueError:
            raise InputError(f"Cannot read the slices '{text}'. Write them as 0,4,8-20 or every:4, hide:3, 25%, all."
                             ) from None

    def excluding(self, indices: list[int]) -> Selection:
        """Return the selection without `indices` (damaged slices)."""
        Selection(tuple(indices) or (0,), self.count)  # names an index that does not exist
        return Selection(tuple(n for n in self.indices if n not in set(indices)), self.count)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def is_everything(self) -> bool:
        """Whether every slice is trusted."""
        return len(self.indices) == self.count


_MOST_NUMBERS = 10 ** 6


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
