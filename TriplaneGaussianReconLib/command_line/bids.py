"""`bids`: a dataset in BIDS as many cases, and derivatives in BIDS of what came of them."""
from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from ..cohort.bids import SUFFIXES, bids_cases, of_participants
from ..cohort.bids_output import GROUP, complete, describe_dataset, write_group
from ..cohort.manifest import Case
from ..cohort.page import write_page
from ..cohort.run import known_records
from ..cohort.status import Status
from ..errors import InputError
from ..jobs.exit_codes import ExitCode
from .cohort import settle, tell, work
from .console import say

_LONGEST = 100  # of the name of a part, which becomes that of a file


def run(arguments: Namespace) -> ExitCode:
    """Do what `bids` was asked for; raises a ReconstructionError for whatever is wrong with all of it."""
    source, output = (Path(os.path.abspath(path)) for path in (arguments.dataset, arguments.output))
    labels = None if arguments.labels is None else Path(os.path.abspath(arguments.labels))
    if source == output:
        raise InputError("The derivatives would lie among their sources. Choose another folder for them, such as "
                         "BIDS_DIR/derivatives/dense.")
    cases = settle(bids_cases(source, arguments.case_options, arguments.suffix or SUFFIXES, labels), arguments)
    chosen = of_participants(cases, arguments.participant_label or (), arguments.session_label or ())
    if arguments.level == "group":
        return _group(cases, output)
    return _participant(cases, chosen, source, output, labels, arguments)


def _participant(cases: Sequence[Case], chosen: Sequence[Case], source: Path, output: Path, labels: Path | None,
                 arguments: Namespace) -> ExitCode:
    """Reconstruct the images of some participants; several calls for other participants may do so at a time."""
    output.mkdir(parents=True, exist_ok=True)
    describe_dataset(output, source, labels)
    status = work(cases, output, arguments, chosen, _part(arguments))
    complete(output, chosen, status.rows, source, labels)
    return tell(status, output, [case.name for case in chosen])


def _group(cases: Sequence[Case], output: Path) -> ExitCode:
    """Gather what came of all participants."""
    if not output.is_dir():
        raise InputError(f"There is no folder '{output}'. Do the level 'participant' first.")
    status = Status(output, [case.name for case in cases], known_records(cases, output))
    write_page(output, status.rows.values())
    write_group(output, cases, status.rows)
    say(f"self-checks:     {output / GROUP}")
    return tell(status, output, [case.name for case in cases])


def _part(arguments: Namespace) -> str:
    """What names the part of the dataset that is worked on; empty for all of it."""
    name = "-".join((arguments.participant_label or []) + (arguments.session_label or []))
    return name if len(name) <= _LONGEST else sha256(name.encode()).hexdigest()
