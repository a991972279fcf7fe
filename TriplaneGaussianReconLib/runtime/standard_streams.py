"""Standard output and standard error that never fail, and text made safe for them.

A run must not depend on who looks on: a terminal may be closed, a reader gone, a disk full, an encoding too narrow.
And text of others (names of segments, of files, descriptions of series) must not steer the terminal.
"""
from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

# C0, DEL and C1; line and paragraph separators; what turns the direction of text; halves of surrogate pairs, which
# stand for bytes of a path that are no text.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_STREAMS = ("stdout", "stderr")
_GONE = (errno.EPIPE, errno.EINVAL, errno.ECONNRESET)  # the second is what Windows says of a broken pipe


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return `text` with every character that could steer a terminal written as an escape sequence.

    Args:
        text: Of any origin.
        lines: Whether it may have several lines.

    Example:
        >>> visible("liver\x1b[2J")
        'liver\\x1b[2J'
    """
    def escaped(found: re.Match[str]) -> str:
        character = found.group()
        return character if lines and character in "\n\t" else character.encode("unicode_escape").decode("ascii")

    return _UNSAFE.sub(escaped, text)


class SteadyStream:
    """A text stream that takes whatever is written to it.

    Characters that its encoding lacks are written as escape sequences.

    Attributes:
        failure: Why something did not arrive; None if all did as far as is known.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """stream: None where the process was started without it."""
        self._stream = stream
        self.failure: OSError | None = None if stream is not None else OSError(errno.EBADF, "it is closed")

    @property
    def encoding(self) -> str:
        """Of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def is_gone(self) -> bool:
        """Whether its reader has gone away, having read all that it wanted."""
        return self.failure is not None and self.failure.errno in _GONE

    def isatty(self) -> bool:
        """Whether a person sees it."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:  # it was closed meanwhile
            return False

    def fileno(self) -> int:
        """Its number for the system; raises OSError where it has none."""
        if self._stream is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write `text` as far as that is possible."""
        if self._stream is not None:
            try:
                self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except (OSError, ValueError) as error:
                self._note(error)
        return len(text)

    def flush(self) -> None:
        """Send what was written."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._note(error)

    def silence(self) -> None:
        """If not all arrived, let the rest go nowhere: the interpreter would complain of it when it ends."""
        self.flush()
        if self._stream is not None and self.failure is not None:
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)

    def _note(self, error: OSError | ValueError) -> None:
        if self.failure is None:
            self.failure = error if isinstance(error, OSError) else OSError(errno.EBADF, "it is closed")


@contextmanager
def steady_streams() -> Iterator[None]:
    """Let `sys.stdout` and `sys.stderr` be steady; within another such context they are already."""
    former = {name: getattr(sys, name) for name in _STREAMS}
    steady = {name: SteadyStream(stream) for name, stream in former.items() if not isinstance(stream, SteadyStream)}
    for name, stream in steady.items():
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in steady.items():
            stream.silence()
            if getattr(sys, name) is stream:  # else somebody has put another one there meanwhile
                setattr(sys, name, former[name])


def open_standard_streams() -> None:
    """Let nothing stand in for standard streams that this process was started without.

    Otherwise the first files that it opens take their numbers, and libraries write their messages into these.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
