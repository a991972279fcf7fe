"""Guards around GDCM, which decodes compressed frames: damaged ones can hang it, and it writes to the console."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SIZES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # marks of the segment that tells a JPEG picture's size
_LOSSLESS_LS = 0xF7


def is_whole_jpeg(encoded: bytes, rows: int, columns: int, is_ls: bool) -> bool:
    """Whether a compressed frame begins and ends as a JPEG (or JPEG-LS) picture of this size does."""
    if not encoded.startswith(_START) or not encoded.rstrip(b"\0").endswith(_END):
        return False
    place = 2
    while place + 9 <= len(encoded) and encoded[place] == 0xFF:
        mark = encoded[place + 1]
        if mark in _SIZES:
            size = tuple(int.from_bytes(encoded[place + n:place + n + 2], "big") for n in (5, 7))
            return (mark == _LOSSLESS_LS) == is_ls and size == (rows, columns)
        place += 2 + int.from_bytes(encoded[place + 2:place + 4], "big") if mark != 0xFF else 1
    return False


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Drop what libraries write to the console, past Python, meanwhile."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # a program without a console
        yield
        return
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
