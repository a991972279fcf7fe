"""Colours for what has none of its own."""
from __future__ import annotations


def distinct_hue(number: int) -> float:
    """Return a hue in [0, 1) by number: steps of the golden angle, so that neighbours differ clearly."""
    return number * 0.618034 % 1.0
