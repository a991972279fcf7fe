"""The command line: `arguments` says what can be asked for, one further module per command does it.

Nothing that takes long to import is imported before the arguments have been read.
"""
from __future__ import annotations

import sys
import traceback
import warnings
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from .. import __version__
from ..jobs.exit_codes import ExitCode
from ..jobs.failures import FailureKind, explained
from ..runtime.environment import ignore_unusable_thread_counts
from ..runtime.memory_limits import check_limits
from ..runtime.processors import limited_threads
from ..runtime.standard_streams import steady_streams
from ..runtime.stop_signals import interruptible
from .arguments import parse
from .console import fail, warn
from .messages import Messages


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: The arguments; those of the process if None.

    Returns:
        An `ExitCode`, which tells whether the results are there: that something could not be shown does not count.

    Raises:
        SystemExit: After `--help`, `--version` and wrong usage, as usual with argparse.
    """
    messages = Messages()
    with steady_streams(), messages.shown(), warnings.catch_warnings():
        warnings.showwarning = _show_warning
        for category in (UserWarning, RuntimeWarning):  # which the environment may have turned into errors
            warnings.simplefilter("default", category)
        command = ""
        try:
            with interruptible():
                arguments = parse(argv)
                command = arguments.command
                return _run(arguments, messages, sys.argv[1:] if argv is None else argv)
        except KeyboardInterrupt as error:  # while another end was being told
            return _tell(error, command)


def _run(arguments: Namespace, messages: Messages, words: Sequence[str]) -> ExitCode:
    try:
        check_limits()
        messages.follow(arguments, words)
        ignore_unusable_thread_counts()
        with limited_threads(getattr(arguments, "threads", None)):
            code: ExitCode | None = import_module(f".{arguments.command}", __package__).run(arguments)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - each kind is explained
        return _tell(error, arguments.command)
    return ExitCode.SUCCESS if code is None else code


_EXIT_CODES = {
    FailureKind.STOPPED: ExitCode.STOPPED, FailureKind.INPUT: ExitCode.BAD_INPUT, FailureKind.DEVICE: ExitCode.MISSING,
    FailureKind.PACKAGE: ExitCode.MISSING, FailureKind.OUTPUT: ExitCode.NOT_WRITTEN,
    FailureKind.MEMORY: ExitCode.NO_MEMORY, FailureKind.OTHER: ExitCode.FAILED, FailureKind.INTERNAL: ExitCode.FAILED}


def _tell(error: BaseException, command: str) -> ExitCode:
    """Tell the user why `command` failed; returns the exit code for it."""
    failure = explained(error)
    if failure.kind is FailureKind.STOPPED:
        fail(failure.message)
        return ExitCode.STOPPED
    if failure.kind is FailureKind.INTERNAL:
        for line in "".join(traceback.format_exception(error)).splitlines():
            fail(line)
    fail(f"error: {failure.message}")
    if failure.kind is FailureKind.INTERNAL:
        fail(f"Please report it with the text above, the command that you ran ('{command}') and the version, "
             f"{__version__}.")
    return _EXIT_CODES[failure.kind]


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int,
                  file: TextIO | None = None, line: str | None = None) -> None:
    """As `warnings.showwarning`, without the place in the program and further lines: they tell a user nothing."""
    first, *_ = str(message).strip().splitlines() or [category.__name__]
    warn(first)
