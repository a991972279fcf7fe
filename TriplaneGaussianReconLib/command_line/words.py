"""Amounts as people say them."""
from __future__ import annotations


def duration(seconds: float) -> str:
    """A duration to two digits at most.

    Example:
        >>> duration(0.3), duration(41.7), duration(150.0), duration(9800.0)
        ('1 s', '42 s', '2 min', '2.7 h')
    """
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.2g} h"


def memory_size(number: float) -> str:
    """An amount of memory.

    Example:
        >>> memory_size(2.14e9), memory_size(80e6)
        ('2.1 GB', '0.1 GB')
    """
    return f"{number / 1e9:.1f} GB"


def file_size(number: float) -> str:
    """How large a file is, for people.

    Example:
        >>> file_size(217_000_000), file_size(1_017_656), file_size(12)
        ('217 MB', '1.02 MB', '0.012 kB')
    """
    unit, name = next((one for one in ((1e9, "GB"), (1e6, "MB")) if number >= one[0]), (1e3, "kB"))
    return f"{number / unit:.0f} {name}" if number >= 100 * unit else f"{number / unit:.3g} {name}"
