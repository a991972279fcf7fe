"""The command line: `arguments` says what can be asked for, one further module per task does it.

Nothing that takes long to import is imported before the arguments have been read.
"""
from __future__ import annotations

import argparse
import errno
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from .. import __version__
from ..errors import (
    BackendUnavailableError,
    Cancelled,
    InputError,
    MissingPackageError,
    OutputError,
    ReconstructionError,
)
from ..runtime.stop_signals import interruptible
from .arguments import ExitCode, build_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process); returns an `ExitCode`.

    As usual for argparse, `--help`, `--version` and wrong usage raise SystemExit.
    """
    arguments = build_parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            with interruptible():
                import_module(f".{arguments.command}", __package__).run(arguments)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - each kind is explained
            return _explained(error, arguments)
    return ExitCode.SUCCESS


def _explained(error: BaseException, arguments: argparse.Namespace) -> ExitCode:
    """Tell the user what went wrong; returns the exit code for it."""
    if isinstance(error, (Cancelled, KeyboardInterrupt)):
        print(str(error) or "Stopped; nothing was written.", file=sys.stderr)
        return ExitCode.STOPPED
    if isinstance(error, ReconstructionError):
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, InputError):
            return ExitCode.BAD_INPUT
        if isinstance(error, (BackendUnavailableError, MissingPackageError)):
            return ExitCode.MISSING
        return ExitCode.NOT_WRITTEN if isinstance(error, OutputError) else ExitCode.FAILED
    from ..runtime.memory import is_lack

    if is_lack(error):
        print("error: There is not enough memory for this. Close other programs, crop the volume to the part that "
              "matters, or choose a coarser output (--output-spacing input, or a larger number of mm).",
              file=sys.stderr)
        return ExitCode.NO_MEMORY
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        print(f"error: The disk is full ({error}). Free disk space and try again.", file=sys.stderr)
        return ExitCode.NOT_WRITTEN
    traceback.print_exception(error)
    print(f"error: This should not have happened. Please report it with the text above, the command that you ran "
          f"('{arguments.command}') and the version, {__version__}.", file=sys.stderr)
    return ExitCode.FAILED


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int,
                  file: TextIO | None = None, line: str | None = None) -> None:
    """As `warnings.showwarning`, without the place in the program, which tells a user nothing."""
    print(f"warning: {message}", file=sys.stderr)
