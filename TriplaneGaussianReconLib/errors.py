"""Errors that a user can act on.  Every message names the cause and the remedy."""
from __future__ import annotations

import re


class ReconstructionError(Exception):
    """Base of all errors that this library raises on purpose."""


class InputError(ReconstructionError, ValueError):
    """The input cannot be reconstructed as it is; the message says what to change."""


class OutputError(ReconstructionError, OSError):
    """A result cannot be written; the message says where and why."""


class BackendUnavailableError(ReconstructionError, RuntimeError):
    """The requested device or rasterizer implementation does not exist here; the message says what is missing."""


class MissingPackageError(ReconstructionError, ImportError):
    """A Python package that only some tasks need is not installed; the message says how to install it."""


class Cancelled(ReconstructionError):  # noqa: N818 - not an error of anybody
    """`should_stop` returned true; nothing was written."""


class InputNote(UserWarning):
    """What was done to the input so that it can be used: it stands in the report of what comes of it."""


def cause(error: BaseException) -> str:
    """Return what an exception tells in one line, without where in ITK it was raised."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.split(r"ITK ERROR: |sitk::ERROR: ", str(error))[-1]
    text = re.sub(r"\(0x[0-9a-f]+\)", "", " ".join(text.split()))
    text = re.sub(r"^\w+ImageIO: ", "", text)
    return text.rstrip(". ") or type(error).__name__
