"""`cohort`: many cases, each in a process of its own; a table and a page of what came of them."""
from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path

from ..cohort.local_engine import LocalEngine
from ..cohort.manifest import Case, found, read_manifest
from ..cohort.page import PAGE
from ..cohort.run import Engine
from ..cohort.run import run as run_cohort
from ..cohort.shards import Shard
from ..cohort.status import STATUS, Row, Status
from ..errors import InputError
from ..jobs.exit_codes import ExitCode
from .arguments import parse
from .cohort_options import case_options
from .console import note, say, warn
from .words import duration

_QUEUES = ("slurm", "pbs", "lsf")


def run(arguments: Namespace) -> ExitCode:
    """Do what `cohort` was asked for; raises a ReconstructionError for whatever is wrong with all of it."""
    cases, output = settle(_cases(arguments), arguments), Path(os.path.abspath(arguments.output))
    shard = _shard(arguments)
    mine, part = (cases, "") if shard is None else (shard.of(cases), f"shard-{shard.number}-of-{shard.count}")
    return tell(work(cases, output, arguments, mine, part), output, [case.name for case in mine])


def settle(cases: Sequence[Case], arguments: Namespace) -> list[Case]:
    """Return the cases with the time limit of all; raises InputError for options that a case cannot have."""
    _check_options(cases)
    return [case if case.time_limit else replace(case, time_limit=arguments.time_limit) for case in cases]


def work(cases: Sequence[Case], output: Path, arguments: Namespace, mine: Sequence[Case], part: str) -> Status:
    """Do some of all cases with the engine that was asked for; part: what they are called, empty for all."""
    return run_cohort(cases, output, _engine(arguments), _Console(), mine=mine, part=part,
                      retry_failed=arguments.retry_failed)


def _cases(arguments: Namespace) -> list[Case]:
    """The cases of the table, or of the pattern."""
    if (arguments.manifest is None) == (arguments.glob is None):
        raise InputError("Give either a table of cases, MANIFEST.csv, or --glob PATTERN, and the folder OUT.")
    if arguments.glob is not None:
        return found(arguments.glob, arguments.labels or "", arguments.case_options)
    if arguments.labels:
        raise InputError("--labels goes with --glob. In a table, labels have a column.")
    return read_manifest(Path(arguments.manifest), case_options(), arguments.case_options)


def _shard(arguments: Namespace) -> Shard | None:
    """The part of the cases that was asked for; None for all."""
    kind, _, which = arguments.engine.partition(":")
    return Shard.parse(which) if kind == "shard" else None


def _engine(arguments: Namespace) -> Engine:
    """The engine that was asked for."""
    if arguments.workers is not None and arguments.workers < 1:
        raise InputError(f"The number of workers must be a whole number from 1 on, not {arguments.workers}.")
    kind, _, where = arguments.engine.partition(":")
    queues = {name: getattr(arguments, name) for name in _QUEUES if getattr(arguments, name) is not None}
    if len(queues) > 1 or (queues and where):
        raise InputError("Give one of --slurm, --pbs, --lsf, and the address of a scheduler.")
    if queues or kind == "dask":
        from ..cohort.dask_engine import DaskEngine

        return DaskEngine(where, arguments.workers, next(iter(queues.items()), None))
    if kind == "shard" or (kind == "local" and not where):
        return LocalEngine(arguments.workers)
    raise InputError(f"Unknown engine '{arguments.engine}'. Choose local, shard:I/N such as shard:3/16, dask, or "
                     "dask:ADDRESS.")


def _check_options(cases: Sequence[Case]) -> None:
    """Raise InputError for options that `reconstruct` does not take, before anything starts."""
    checked = set[tuple[str, ...]]()
    for case in cases:
        if case.options not in checked:
            checked.add(case.options)
            told = StringIO()
            try:
                with redirect_stderr(told):
                    parse(["reconstruct", *case.options, "volume.nii.gz", "--output", "out.nii.gz"])
            except SystemExit:
                why = told.getvalue().strip().rpartition("error: ")[2]
                raise InputError(f"The options of the case '{case.name}' cannot be used: {why}.") from None


class _Console:
    """Tells how it goes on."""

    def __init__(self) -> None:
        self._count = self._ended = 0

    def begins(self, status: Status, count: int) -> None:
        """See `run.Listener`."""
        self._count = count
        note(f"{len(status.rows)} cases, {count} to be done.")

    def changed(self, status: Status, row: Row) -> None:
        """See `run.Listener`."""
        if row.record is None:
            return
        self._ended += 1
        left = status.seconds_left(self._count)
        rest = f", about {duration(left)} left" if left else ""
        if row.record.cause:
            warn(f"{row.name} failed: {row.record.cause}")
        note(f"{self._ended} of {self._count}: {row.name} {row.state} after {duration(row.record.seconds)}{rest}")


def tell(status: Status, output: Path, mine: Sequence[str]) -> ExitCode:
    """Sum up; returns whether all is well with the cases of these names."""
    counts = status.counts()
    say(f"{counts['done']} done, {counts['failed']} failed, {counts['waiting'] + counts['running']} waiting.")
    say(f"table:           {output / STATUS}")
    say(f"page:            {output / PAGE}")
    say("Research software, not a medical device.")
    is_well = all(status.rows[name].state == "done" for name in mine)
    return ExitCode.SUCCESS if is_well else ExitCode.SOME_FAILED
