"""What to tell a user of a reconstruction that failed: the cause and the remedy."""
from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import Enum

from ..data.sentences import Sentence
from ..errors import (
    BackendUnavailableError,
    Cancelled,
    InputError,
    MissingPackageError,
    OutputError,
    ReconstructionError,
    TooLargeError,
    cause,
    stems_from_lack,
)


class FailureKind(Enum):
    """Why something failed."""

    STOPPED = "stopped"  # the user asked for it
    INPUT = "input"  # the user can change it
    DEVICE = "device"  # is missing or does not work
    PACKAGE = "package"  # of Python, is missing or damaged
    OUTPUT = "output"  # cannot be written
    MEMORY = "memory"  # does not suffice
    OTHER = "other"  # foreseen, but none of these
    INTERNAL = "internal"  # nobody foresaw it


@dataclass(frozen=True)
class Failure:
    """Why something failed, and what the user is told.

    Attributes:
        kind: Of the failure.
        message: The cause and the remedy.
    """

    kind: FailureKind
    message: str


_KINDS: dict[type[ReconstructionError], FailureKind] = {
    TooLargeError: FailureKind.MEMORY, InputError: FailureKind.INPUT, OutputError: FailureKind.OUTPUT,
    MissingPackageError: FailureKind.PACKAGE, BackendUnavailableError: FailureKind.DEVICE,
    Cancelled: FailureKind.STOPPED}


def explained(error: BaseException) -> Failure:
    """Return why `error` was raised and what to tell the user.

    Example:
        >>> explained(MemoryError()).kind
        <FailureKind.MEMORY: 'memory'>
    """
    if stems_from_lack(error) and not isinstance(error, TooLargeError):
        return Failure(FailureKind.MEMORY, Sentence(
            "There is not enough memory for this volume. Close other programs, crop the volume to the part that "
            "matters, or choose a larger slice spacing or the preset Fast."))
    if isinstance(error, ReconstructionError):
        return Failure(next((kind for known, kind in _KINDS.items() if isinstance(error, known)), FailureKind.OTHER),
                       str(error))
    if isinstance(error, KeyboardInterrupt):
        return Failure(FailureKind.STOPPED, Sentence("Stopped; nothing was written."))
    package = _package_at_fault(error)
    if package is not None:
        return Failure(FailureKind.PACKAGE, Sentence(
            "The Python package {package} is missing or damaged: {cause}. In 3D Slicer, press Python packages... under "
            "Advanced, then Repair...; elsewhere install it again.", package=package, cause=cause(error)))
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Failure(FailureKind.OUTPUT, Sentence(
            "The disk is full. Free disk space, or choose another folder for results and temporary files."))
    if isinstance(error, OSError) and error.filename is not None and error.errno is not None:
        return Failure(FailureKind.INPUT, Sentence(
            "'{path}' cannot be used: {cause}. Give another file or folder.", path=error.filename,
            cause=cause(error)))
    return Failure(FailureKind.INTERNAL, Sentence(
        "Something unexpected went wrong: {kind}: {cause}.", kind=type(error).__name__, cause=cause(error)))


def _package_at_fault(error: BaseException) -> str | None:
    """Return the package that could not be imported, or that raised `error` while it was; None if that was not so."""
    if isinstance(error, ImportError):
        return (error.name or "that is needed").partition(".")[0]
    step = error.__traceback__
    while step is not None:
        name = str(step.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if step.tb_frame.f_code.co_name == "<module>" and name not in ("__main__", __name__.partition(".")[0]):
            return name
        step = step.tb_next
    return None
