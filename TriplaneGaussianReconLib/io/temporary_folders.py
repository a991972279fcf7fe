"""Folders for temporary files: gone with what needs them, and swept at a later start where that was killed.

Each holds its files in a folder of its own beside a file that its process keeps locked; the system lets go of the lock
when the process ends, however that happens.  So a folder of this user, made on this computer, whose lock can be had,
is needed by nobody any more.  Windows has no such locks: there, what was killed leaves its folder behind.
"""
from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import tempfile
import uuid
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from ..errors import OutputError, cause

if sys.platform != "win32":
    import fcntl

_PREFIX = ".triplane-"
_FILES, _LOCK = "files", "lock"
# Others are to see nothing of it.  Not on Windows: there, what is moved out of a private folder would stay private.
_MODE = 0o777 if os.name == "nt" else 0o700


class TemporaryFolder:
    """A new folder, deleted by `close`, at the end of a `with`, with the last reference to it, or at exit.

    path: where to put files.
    """

    def __init__(self, where: Path | None = None) -> None:
        """where: the folder to make it in; None is the system's for temporary files.

        Raises OutputError if nothing can be written there.
        """
        try:
            where = Path(tempfile.gettempdir()) if where is None else where
            _sweep_once(where.absolute())
            whole = where.absolute() / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
            whole.mkdir(_MODE)
            self._end = weakref.finalize(self, _end, whole, _locked(whole))
            self.path = whole / _FILES
            self.path.mkdir(_MODE)
        except OSError as error:
            raise OutputError(f"Nothing can be written to the folder '{where}': {cause(error)}. Free disk space, or "
                              "choose another folder.") from error

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete it with all that it holds, as far as that is possible."""
        self._end()


def sweep(where: Path) -> None:
    """Delete the temporary folders in `where` whose processes, of this user and computer, were killed."""
    with suppress(OSError):
        for folder in list(where.glob(f"{_PREFIX}*")):
            if _is_left_over(folder):
                _delete(folder)


_sweep_once = cache(sweep)  # once in each process: large folders take long to list


def delete_files(path: Path) -> None:
    """Delete the files in `TemporaryFolder.path`, for a process that outlives the one that made the folder."""
    _delete(path.parent)


def _end(folder: Path, lock: IO[str] | None) -> None:
    if lock is not None:
        lock.close()  # first, as network file systems keep open files
    _delete(folder)


def _delete(folder: Path) -> None:
    """Delete the files, then the lock: what cannot be deleted now is swept later."""
    shutil.rmtree(folder / _FILES, ignore_errors=True)
    if not (folder / _FILES).exists():
        shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path) -> IO[str] | None:
    """Lock a new folder for as long as the returned file is open; None where there are no locks."""
    if sys.platform == "win32":
        return None
    new = folder / "new"
    with suppress(OSError):
        file = new.open("w", encoding="utf-8")
        file.write(platform.node())
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(folder / _LOCK)  # only now, so that a lock that is seen is held
        return file
    return None


def _is_left_over(folder: Path) -> bool:
    """Whether a process of this user on this computer made `folder` and is no more."""
    if sys.platform == "win32":
        return False
    try:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return False
        with (folder / _LOCK).open("r+", encoding="utf-8") as file:
            # Elsewhere the lock may not be seen: some network file systems keep locks to each computer.
            if file.read() != platform.node():
                return False
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, ValueError):
        return False
    return True
