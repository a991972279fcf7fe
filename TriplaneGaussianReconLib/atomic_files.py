"""Writing files whole or not at all: the only way in which results reach the disk."""
from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError, OutputError, ReconstructionError, cause


def check_output(path: Path, *extensions: str) -> None:
    """Find out before long work whether a file can be written at `path` later.

    Raises InputError unless the name ends in one of `extensions` (if there are any), OutputError if the folder is
    missing or cannot be written to.
    """
    if extensions and not path.name.lower().endswith(extensions):
        raise InputError(f"'{path}' has no extension that can be written here. Use {', '.join(extensions)}.")
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder. Give a file name.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder '{path.parent}' does not exist. Create it, or choose another one.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(f"Nothing can be written to the folder '{path.parent}': {cause(error)}. Choose another "
                          "folder.") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, in the same folder and with the same extension; it becomes `path` only at the end.

    Whatever fails or interrupts the writing, nothing is left behind and a file that was at `path` stays as it was.
    Raises OutputError if the file cannot be written.
    """
    # Two suffixes at most, as in .nii.gz: names full of dots, such as DICOM identifiers, are not all extension.
    part = path.with_name(f".{uuid.uuid4().hex}{''.join(path.suffixes[-2:]).lower()}")
    try:
        yield part
        os.replace(part, path)
    except ReconstructionError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"'{path}' was not written: {cause(error)}. Free disk space, or choose another folder or "
                          "format. A file that was there before is unchanged.") from error
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON; NaN and infinity, which JSON does not know, become null.  Raises OutputError."""
    text = json.dumps(_finite(content), indent=1) + "\n"
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not np.isfinite(content) else content
