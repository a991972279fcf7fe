"""Errors that a user can act on.  Every message names the cause and the remedy."""
from __future__ import annotations

import errno
import re
import sys


class ReconstructionError(Exception):
    """Base of all errors that this library raises on purpose."""


class InputError(ReconstructionError, ValueError):
    """The input cannot be reconstructed as it is; the message says what to change."""


class TooLargeError(InputError):
    """There is not enough memory for the input; the message says what to change."""


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


# What libraries without a class of their own for it say: torch, the C++ library, ITK, OpenCV, threads, the loader.
_LACKING = re.compile("allocate memory|out of memory|bad_alloc|std::bad_array_new_length|insufficient memory|"
                      "failed to allocate|memory allocation|start new thread|cannot create thread|"
                      "thread creation failed|failed to map segment|cannot map zero-fill|"
                      "resource temporarily unavailable", re.IGNORECASE)
_NUMBERS = (errno.ENOMEM, errno.EAGAIN)  # the second is what threads and processes are refused with


def is_lack(error: BaseException) -> bool:
    """Whether `error` says that there is not enough memory, on the host or on a GPU, or that no thread can be started.

    Example:
        >>> is_lack(RuntimeError("can't start new thread")), is_lack(RuntimeError("illegal access"))
        (True, False)
    """
    torch = sys.modules.get("torch")  # where it is not loaded it cannot have run out of memory
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NUMBERS
    is_of_opencv = type(error).__module__ == "cv2"
    return (is_of_opencv or isinstance(error, (RuntimeError, SystemError, ImportError, OSError))) and bool(
        _LACKING.search(str(error)))


def stems_from_lack(error: BaseException) -> bool:
    """Whether `error` was raised because of a lack of memory or threads, whatever it says itself.

    Example:
        >>> error = ValueError("raised from itself")
        >>> error.__cause__ = error
        >>> stems_from_lack(error)
        False
    """
    follow: BaseException | None = error
    seen: list[BaseException] = []
    while follow is not None and follow not in seen:  # an error may have been raised from itself
        if is_lack(follow):
            return True
        seen.append(follow)
        follow = follow.__cause__
    return False


def cause(error: BaseException) -> str:
    """Return what an exception tells in one line, without where in ITK it was raised."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.split(r"ITK ERROR: |sitk::ERROR: ", str(error))[-1]
    text = re.sub(r"\(0x[0-9a-f]+\)", "", " ".join(text.split()))
    text = re.sub(r"^\w+ImageIO: ", "", text)
    return text.rstrip(". ") or type(error).__name__
