"""What the program returns, for those who start it."""
from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the program returns; `worker` has codes of its own."""

    SUCCESS = 0
    FAILED = 1
    BAD_INPUT = 2
    MISSING = 3
    SOME_FAILED = 3  # of many cases
    NOT_WRITTEN = 4
    NO_MEMORY = 5
    STOPPED = 130
