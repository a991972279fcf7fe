"""What only POSIX systems have: limits on the size of files, which stand for a full disk; links, modes and signals."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits, links, modes and signals")
SHORTFALLS = (1, 8, 100, 1000, 2000, 4000)  # bytes: within the last block that libraries write, and more


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file takes more than `size` bytes."""
    import resource

    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))  # Python ignores the signal that comes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
