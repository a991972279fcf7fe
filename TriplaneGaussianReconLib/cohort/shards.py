"""A part of a cohort, for array jobs of a cluster: each does its own cases, and needs to know nothing of the others."""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from .manifest import Case


@dataclass(frozen=True)
class Shard:
    """Part `number`, counted from 1, of `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read a shard as people write it; raises InputError.

        Example:
            >>> Shard.parse("3/16")
            Shard(number=3, count=16)
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"'{text}' is no shard. Write which of how many, from 1/16 to 16/16 for instance.")
        return cls(int(found[1]), int(found[2]))

    def of(self, cases: Sequence[Case]) -> Sequence[Case]:
        """Return its cases: every `count`th, so that neighbours, which are often alike, are spread."""
        return cases[self.number - 1::self.count]
