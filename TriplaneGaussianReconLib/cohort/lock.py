"""Keeps two calls from doing the same cases at a time: a lock that the system lets go of when its process ends."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import InputError, OutputError, cause

if sys.platform != "win32":
    import fcntl

_LOCK = ".lock"


@contextmanager
def locked(output: Path, part: str) -> Iterator[None]:
    """Hold the cohort in the folder `output`, or a part of it, while others may hold other parts.

    On Windows, which has no such locks, nothing is held.  part: what it is called, empty for all.

    Raises:
        InputError: Somebody holds it already.
        OutputError: Nothing can be written there.
    """
    with ExitStack() as held:
        if sys.platform != "win32":
            _hold(held, output / _LOCK, bool(part), output)
            if part:
                _hold(held, output / f"{_LOCK}-{part}", False, output)
        yield


def _hold(held: ExitStack, path: Path, is_shared: bool, output: Path) -> None:
    try:
        file = held.enter_context(path.open("a", encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"Nothing can be written to the folder '{output}': {cause(error)}. Choose another output."
                          ) from error
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"Another program is at work on '{output}'. Wait until it has ended, end it, or choose "
                         "another output.") from error
    except OSError:  # the file system has no locks
        return
