"""Compiled kernels on disk, so that only the first run on a computer compiles them.

A file's name is the hash of all that its content was made from.  The file begins with the hash of the content, so that
a damaged file counts as missing.  Runs need no cache, so a folder that cannot be written to is no error.
"""
from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

from ..io.atomic import whole_file

FOLDER_VARIABLE = "TRIPLANE_GAUSSIAN_RECON_CACHE"  # an environment variable with the folder to use instead


def folder() -> Path:
    """Return this user's folder for the cache, where the platform keeps such files.  It need not exist."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        parent = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        parent = Path.home() / "Library" / "Caches"
    else:
        parent = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(parent) / "triplane-gaussian-recon"


def load(origin: str) -> bytes | None:
    """Return what was saved for `origin`; None if nothing was, or if the file is damaged.

    Args:
        origin: As for `save`.
    """
    try:
        stored = _path(origin).read_bytes()
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    digest, content = stored[:32], stored[32:]
    return content if hashlib.sha256(content).digest() == digest else None


def save(origin: str, content: bytes) -> None:
    """Keep `content` for `load(origin)`, if the folder can be written to.

    Args:
        origin: Everything that the content depends on, as text.
        content: What to keep.
    """
    with suppress(OSError, RuntimeError):
        path = _path(origin)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_bytes(hashlib.sha256(content).digest() + content)


def _path(origin: str) -> Path:
    return folder() / f"{hashlib.sha256(origin.encode()).hexdigest()}.bin"
