"""Colours for what has none of its own."""
from __future__ import annotations

import colorsys


def distinct_hue(number: int) -> float:
    """Return a hue in [0, 1) by number: steps of the golden angle, so that neighbours differ clearly."""
    return number * 0.618034 % 1.0


def usual_color(value: int) -> tuple[float, float, float]:
    """Return red, green, blue in [0, 1] for a segment of label `value` that has no colour of its own."""
    return colorsys.hsv_to_rgb(distinct_hue(value), 0.6, 0.9)
