"""Compiled kernels on disk, so that only the first run on a computer compiles them.

A file is named after the hash of all that its content was made from, and begins with the hash of its content: what is
damaged counts as missing.  The cache is a convenience, so a folder that cannot be written to is no error.
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
    """Return the folder of the cache, which need not exist: of this user, and where the platform wants such files."""
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
    """Return what was saved for `origin`, or None where there is nothing, or nothing whole."""
    try:
        stored = _path(origin).read_bytes()
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    digest, content = stored[:32], stored[32:]
    return content if hashlib.sha256(content).digest() == digest else None


def save(origin: str, content: bytes) -> None:
    """Keep `content` for `load(origin)`, if the folder can be written to.

    origin: everything that `content` depends on, as text.
    """
    with suppress(OSError, RuntimeError):
        path = _path(origin)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_bytes(hashlib.sha256(content).digest() + content)


def _path(origin: str) -> Path:
    return folder() / f"{hashlib.sha256(origin.encode()).hexdigest()}.bin"
