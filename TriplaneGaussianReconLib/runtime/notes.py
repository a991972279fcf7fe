"""What was done to the input so that it can be used: heard while it is read, and kept for the report."""
from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ..errors import InputNote


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """Collect the text of each `InputNote` that is warned of meanwhile; it is still warned of as usual.

    Yields:
        The texts, each once, in order; it grows meanwhile.

    Example:
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     with collected_notes() as notes:
        ...         warnings.warn("A slice is missing.", InputNote)
        >>> notes
        ['A slice is missing.']
    """
    notes: list[str] = []
    tell = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
             line: str | None = None) -> None:
        if issubclass(category, InputNote) and str(message) not in notes:
            notes.append(str(message))
        tell(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.simplefilter("always", InputNote)
        warnings.showwarning = note
        yield notes
