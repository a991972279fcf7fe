"""How far a cohort is: a row for each case, as a table for spreadsheets that is rewritten as it goes."""
from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..io.atomic import whole_file
from .records import Record

State = Literal["done", "failed", "waiting", "running"]
STATUS = "status.csv"
_COLUMNS = ("id", "state", "cause", "seconds", "memory_mb", "self_check_db", "gain_db", "attempts")
_BETWEEN_FILES = 2.0  # seconds


@dataclass(frozen=True)
class Row:
    """One case.

    Attributes:
        name: Of the case.
        state: Where it is.
        record: How it ended; None as long as it did not.
    """

    name: str
    state: State
    record: Record | None = None

    @classmethod
    def ended(cls, name: str, record: Record) -> Row:
        """The row of a case that has ended."""
        return cls(name, "failed" if record.cause else "done", record)

    def cells(self) -> list[str]:
        """What the table has of it."""
        record = self.record
        if record is None:
            return [self.name, self.state, *[""] * (len(_COLUMNS) - 2)]
        memory = None if record.memory is None else round(record.memory / 1e6)
        numbers = (round(record.seconds, 1), memory, record.self_check, record.gain, record.attempts)
        return [self.name, self.state, record.cause, *("" if number is None else str(number) for number in numbers)]


class Status:
    """The rows of all cases, in the order of the cases, kept in `status.csv` below `output`.

    Attributes:
        rows: By the name of the case.
    """

    def __init__(self, output: Path, names: Iterable[str], known: Mapping[str, Record]) -> None:
        """known: how cases have ended that are not to be done again."""
        self._path = output / STATUS
        self.rows = {name: Row.ended(name, known[name]) if name in known else Row(name, "waiting") for name in names}
        self._start, self._written, self._ended = time.monotonic(), float("-inf"), 0
        self.write()

    def note(self, row: Row) -> None:
        """A case has changed."""
        self.rows[row.name] = row
        self._ended += row.record is not None
        if time.monotonic() - self._written > _BETWEEN_FILES:
            self.write()

    def write(self) -> None:
        """Write the table, whole; raises OutputError."""
        self._written = time.monotonic()
        with whole_file(self._path, durable=False) as part, part.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(_COLUMNS)
            table.writerows(row.cells() for row in self.rows.values())

    def counts(self) -> Mapping[State, int]:
        """How many cases there are in each state."""
        return Counter(row.state for row in self.rows.values())

    def seconds_left(self, count: int) -> float | None:
        """How long the rest of `count` cases takes at the pace so far; None before the first has ended."""
        passed = time.monotonic() - self._start
        return None if not self._ended else passed / self._ended * max(count - self._ended, 0)
