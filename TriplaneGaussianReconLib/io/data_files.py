"""Data files that a header beside them names: one, a list, or a pattern of numbers.

A header may come from anybody.  Only files in its own folder are read for it.
"""
from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import InputError

_MOST = 100_000  # data files of one header


def numbered(pattern: str, first: int, last: int, step: int) -> list[str]:
    """Return the names that a pattern such as `a%03d.raw` gives for `first`, `first + step`, ... `last`."""
    if not re.fullmatch(r"[^%]*%0?\d{0,2}d[^%]*", pattern) or step == 0 or abs((last - first) // step) >= _MOST:
        raise InputError(f"its header names data files by a pattern that cannot be used, '{pattern}'. Correct it.")
    return [pattern % number for number in range(first, last + (1 if step > 0 else -1), step)]


def data_files(header: Path, names: list[str]) -> list[Path]:
    """Return where the data files of `header` are.  Raises InputError if one is missing or lies elsewhere."""
    if not names or len(names) > _MOST:
        raise InputError("its header names no data file, or far too many. Correct it.")
    folder = os.path.abspath(header.parent)
    found = []
    for name in names:
        if not name.isprintable() or len(name) > 1000:
            raise InputError("its header names a data file by what is no name. Correct the header.")
        path = os.path.normpath(os.path.join(folder, name if os.sep == "\\" else name.replace("\\", "/")))
        if not path.startswith(os.path.join(folder, "")):
            raise InputError(f"its header names a data file outside its own folder, '{name}', which is not read: a "
                             "header from elsewhere could name any file. Put the data beside the header, and correct "
                             "the name.")
        if not os.path.exists(path):
            raise InputError(f"its data file '{name}' is missing. Put it into the folder of the header.")
        found.append(Path(path))
    return found
