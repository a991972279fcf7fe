"""Starting processes of Python so that no file of the current folder stands in for a package."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ..io.temporary_folders import TemporaryFolder

_SAFE_PATH = "PYTHONSAFEPATH"


@contextmanager
def safe_start(is_known: bool = sys.version_info >= (3, 11)) -> Iterator[None]:
    """Let the processes that are started meanwhile import nothing from the current folder.

    Args:
        is_known: Whether Python knows the variable that asks for this.  Without it, processes start in an empty folder;
            those of `multiprocessing` change to the current one when they have imported what they need for that.

    Raises:
        OutputError: No folder can be made.
    """
    with ExitStack() as undo:
        undo.callback(_set, os.environ.get(_SAFE_PATH))
        _set("1")
        if not is_known:
            empty = undo.enter_context(TemporaryFolder())
            undo.callback(os.chdir, os.getcwd())
            os.chdir(empty)
        yield


def _set(value: str | None) -> None:
    if value is None:
        os.environ.pop(_SAFE_PATH, None)
    else:
        os.environ[_SAFE_PATH] = value
