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


def size(number: float) -> str:
    """An amount of memory.

    Example:
        >>> size(2.14e9), size(80e6)
        ('2.1 GB', '0.1 GB')
    """
    return f"{number / 1e9:.1f} GB"
