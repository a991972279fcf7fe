"""Does a cohort: finds out what is to be done, lets an engine do it, and keeps table and page up to date."""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ..errors import OutputError, cause
from ..jobs.protocol import check_room
from .limits import sample
from .lock import locked
from .manifest import Case
from .page import write_page
from .records import Record, read_record
from .status import Row, Status

_SAMPLE = 50  # cases that tell how much room all take on the disk
_BETWEEN_PAGES = 30.0  # seconds


class Engine(Protocol):
    """Does cases, wherever."""

    def work(self, cases: Sequence[Case], output: Path, listen: Callable[[Row], object]) -> None:
        """Do all cases; `listen` is called when one starts or ends, one call at a time.

        Raises:
            ReconstructionError: It cannot go on; cases that have ended are remembered.
        """


class Listener(Protocol):
    """Is told how a cohort goes on."""

    def begins(self, status: Status, count: int) -> None:
        """`count` cases are to be done."""

    def changed(self, status: Status, row: Row) -> None:
        """A case has started or ended."""


def run(cases: Sequence[Case], output: Path, engine: Engine, listener: Listener, *,
        mine: Sequence[Case] | None = None, part: str = "", retry_failed: bool = False) -> Status:
    """Do all cases that are not done yet, or have failed.

    Args:
        cases: All of the cohort.
        output: The folder for all results, which is made.
        engine: Does the cases.
        listener: Is told how it goes on.
        mine: Which of the cases to do; None for all. Others may be done at the same time.
        part: What these are called, unlike other parts; empty for all.
        retry_failed: Whether to do cases again that have failed, though nothing has changed.

    Returns:
        Where all cases are at the end.

    Raises:
        InputError: Another program is at work on the same output.
        OutputError: Nothing can be written, or there is too little room.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder '{output}' cannot be made: {cause(error)}. Choose another one.") from error
    with locked(output, part):
        known = known_records(cases, output)
        due = [case for case in (cases if mine is None else mine)
               if case.name not in known or (retry_failed and known[case.name].cause)]
        _check_disk(due, output)
        for case in due:
            known.pop(case.name, None)
        status = Status(output, [case.name for case in cases], known)
        listener.begins(status, len(due))
        try:
            if due:
                engine.work(due, output, _Keeper(status, output, listener))
        finally:
            if part:  # others may have done theirs meanwhile
                status.rows.update({name: Row.ended(name, record)
                                    for name, record in known_records(cases, output).items()})
            status.write()
            write_page(output, status.rows.values())
        return status


def known_records(cases: Sequence[Case], output: Path) -> dict[str, Record]:
    """Return how cases have ended, by name, as far as that still holds."""
    records = ((case.name, read_record(output, case)) for case in cases)
    return {name: record for name, record in records if record is not None}


class _Keeper:
    """Keeps table and page up to date."""

    def __init__(self, status: Status, output: Path, listener: Listener) -> None:
        self._status, self._output, self._listener = status, output, listener
        self._written = time.monotonic()

    def __call__(self, row: Row) -> None:
        self._status.note(row)
        self._listener.changed(self._status, row)
        if time.monotonic() - self._written > _BETWEEN_PAGES:
            self._written = time.monotonic()
            write_page(self._output, self._status.rows.values())


def _check_disk(cases: Sequence[Case], output: Path) -> None:
    """Raise OutputError where the results of these cases do not fit on the disk."""
    if cases:
        sizes = [limits.disk for limits in sample(cases, _SAMPLE)]
        check_room(output, sum(sizes) / len(sizes) * len(cases))
