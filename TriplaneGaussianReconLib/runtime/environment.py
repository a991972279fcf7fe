"""Variables of the environment that libraries trip over: they are ignored before the libraries see them."""
from __future__ import annotations

import os
import re
import warnings

_THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_MOST_THREADS = 4096  # with more than the system allows, libraries end the process


def ignore_unusable_thread_counts() -> None:
    """Remove numbers of threads that are none, and say so; to be called before the libraries are imported."""
    for name in _THREAD_COUNTS:
        value = os.environ.get(name)
        if value is not None and not _is_usable(value):
            del os.environ[name]
            warnings.warn(f"The environment variable {name} is '{value}', which is no number of threads; it is "
                          "ignored.", RuntimeWarning, stacklevel=2)


def _is_usable(value: str) -> bool:
    """Whether libraries understand it; OpenMP takes one number for each level of nesting."""
    return bool(re.fullmatch(r"\s*[0-9]{1,6}\s*(,\s*[0-9]{1,6}\s*)*", value)) and all(
        0 < int(number) <= _MOST_THREADS for number in value.split(","))
