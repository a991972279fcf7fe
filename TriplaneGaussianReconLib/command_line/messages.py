"""Where messages go: to the terminal, as far as `--quiet` and `--verbose` want them, and all of them to `--log`."""
from __future__ import annotations

import logging
import os
import shlex
import sys
from argparse import Namespace
from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from .. import __version__
from ..errors import InputError, OutputError, cause
from ..runtime.standard_streams import visible

_LOGGER = logging.getLogger(__name__)
_TIMES = "%Y-%m-%d %H:%M:%S"
_LOOKED_AT = 4096  # bytes of a file, to see whether it is text


class Place(Enum):
    """Where a message is shown; all are written to the log."""

    NOTES = "stderr"
    RESULTS = "stdout"
    LOG = ""  # there alone, because it is shown in another way


def tell(level: int, text: str, place: Place = Place.NOTES) -> None:
    """Pass on a message; level: one of `logging`, which decides whether it is shown."""
    for line in text.splitlines() if place is Place.LOG else (text,):
        _LOGGER.log(level, "%s", line, extra={"place": place})


def is_quiet() -> bool:
    """Whether only warnings and errors are shown."""
    return any(isinstance(each, _Screen) and each.level > logging.INFO for each in _LOGGER.handlers)


class Messages:
    """Where the messages of one run of the program go."""

    def __init__(self) -> None:
        self._handlers: list[logging.Handler] = [_Screen()]

    def follow(self, arguments: Namespace, words: Sequence[str]) -> None:
        """Do what the options about messages ask for.

        Args:
            arguments: As they were parsed.
            words: As they were typed, with which the log begins.

        Raises:
            InputError: The log is a file that is none.
            OutputError: It cannot be written.
        """
        self._handlers[0].setLevel(logging.WARNING if arguments.quiet else logging.DEBUG if arguments.verbose
                                   else logging.INFO)
        if not arguments.log:
            return
        path = Path(arguments.log)
        _check(path, arguments)
        try:
            log = _LogFile(path, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"'{path}' cannot be written: {cause(error)}. Choose another file for the log."
                              ) from error
        log.setFormatter(_OneLine("%(asctime)s  %(message)s", _TIMES))
        self._handlers.append(log)
        _LOGGER.addHandler(log)
        tell(logging.INFO, f"triplane-gaussian-recon {__version__}: {shlex.join(words)}", Place.LOG)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Let messages go to their places meanwhile."""
        _LOGGER.setLevel(logging.DEBUG)
        _LOGGER.propagate = False
        _LOGGER.addHandler(self._handlers[0])
        try:
            yield
        finally:
            for handler in self._handlers:
                _LOGGER.removeHandler(handler)
                with suppress(OSError):  # which was told when it happened
                    handler.close()


class _Screen(logging.Handler):
    """Prints; the streams are those of the moment, which a progress bar replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        place = getattr(record, "place", Place.NOTES)
        if place is not Place.LOG:
            print(visible(record.getMessage()), file=getattr(sys, place.value), flush=place is Place.NOTES)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class _LogFile(logging.FileHandler):
    """A log that grows line by line; whatever becomes of it, the work goes on."""

    _has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of `logging`
        if not self._has_failed:
            self._has_failed = True
            tell(logging.WARNING, f"warning: '{self.baseFilename}' cannot be written any more: "
                                  f"{cause(sys.exc_info()[1] or OSError())}. The log ends there, the work goes on.")


def _check(path: Path, arguments: Namespace) -> None:
    """Refuse to add messages to what is no log: an input, a result, or anything but text."""
    there = os.path.realpath(path)
    for options in (arguments, *getattr(arguments, "stacks", ())):
        for name, value in vars(options).items():
            if name != "log" and isinstance(value, str) and value and os.path.realpath(value) == there:
                raise InputError(f"--log would write into '{value}', which is given as another file. Choose another "
                                 "name.")
    if path.is_file():
        try:
            with path.open("rb") as file:
                is_text = "\0" not in getincrementaldecoder("utf-8")().decode(file.read(_LOOKED_AT))
        except (UnicodeDecodeError, OSError):
            is_text = False
        if not is_text:
            raise InputError(f"'{path}' is no log: it holds something else than text. Choose another file.")
    elif not path.exists():
        from ..io.atomic import check_output  # loads numpy, which needs memory that may not be there

        check_output(path)
