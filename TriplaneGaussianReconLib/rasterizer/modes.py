"""How Gaussians are composited: what a mode is called, and what may be done with what it draws.

Imports nothing, so that a preset's mode can be told anywhere.  `rasterize` defines the formulas.
"""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """One way of compositing.

    is_linear: what is drawn is linear in values and slopes, so that it can be fitted by least squares.
    is_ordered: nearer Gaussians hide others, so that all of them have to be drawn at once.
    is_normalised: sums of values are divided by sums of weights.
    """

    is_linear: bool
    is_ordered: bool
    is_normalised: bool


MODES: dict[str, Mode] = {
    "normalised": Mode(is_linear=True, is_ordered=False, is_normalised=True),
    "additive": Mode(is_linear=True, is_ordered=False, is_normalised=False),
    "alpha": Mode(is_linear=False, is_ordered=True, is_normalised=False),
}
