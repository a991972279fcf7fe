"""The compositing modes: their names, and what may be done with what they draw.

Imports nothing, so that names can be checked anywhere.  `rasterize` defines the formulas, `sums` what the modes that
need no order make of plain sums.
"""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """One way of compositing.

    Attributes:
        is_linear: What is drawn is linear in values and slopes, so that these can be fitted by least squares.
        is_ordered: Nearer Gaussians hide others, so that all of them have to be drawn at once.
        is_normalised: Sums of values are divided by sums of weights.
    """

    is_linear: bool
    is_ordered: bool
    is_normalised: bool


MODES: dict[str, Mode] = {
    "normalised": Mode(is_linear=True, is_ordered=False, is_normalised=True),
    "additive": Mode(is_linear=True, is_ordered=False, is_normalised=False),
    "alpha": Mode(is_linear=False, is_ordered=True, is_normalised=False),
}

PLAIN_SUMS = "additive"
"""The mode that draws the sums themselves."""
