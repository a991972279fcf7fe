"""Says of which volume a note or an error is, where there are several."""
from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InputError, InputNote


@contextmanager
def about_volume(number: int) -> Iterator[None]:
    """Let each `InputNote` and `InputError` of the block begin with the number of the volume.

    Args:
        number: counted from 0; people count from 1.

    Example:
        >>> with about_volume(1):
        ...     raise InputError("It is empty.")
        Traceback (most recent call last):
        ...
        TriplaneGaussianReconLib.errors.InputError: Volume 2: It is empty.
    """
    heard: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always", InputNote)
            yield
    except InputError as error:
        raise type(error)(f"Volume {number + 1}: {error}") from error
    finally:
        for each in heard:
            if issubclass(each.category, InputNote):
                warnings.warn(f"Volume {number + 1}: {each.message}", InputNote, stacklevel=4)
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
