"""Candidate predictions of what lies between two trusted slices.

Each candidate is a simple, well-understood way to fill a gap: straight through or along the displacement, from two or
from four slices, gated by confidence or not, sharp or smoothed.  None wins on every volume; `arbitration` finds out
which to believe on the volume at hand.
"""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from .correspondence import Correspondence

CANDIDATES = ("linear", "pchip", "cubic", "flow", "flow_cubic", "gated", "gated_cubic", "straight_smooth",
              "gated_smooth")
# Standard deviation (pixels) of the smoothed candidates.  Where detail cannot be predicted, smooth is nearer the truth.
SMOOTHING = 0.7


def window_around(gap: int, planes: int) -> slice:
    """The slices that the candidates look at for `gap` (between slices gap and gap + 1): two on either side."""
    return slice(max(gap - 1, 0), min(gap + 3, planes))


def candidates(slices: np.ndarray, positions: np.ndarray, found: Correspondence, gap: int,
               fractions: Sequence[float]) -> np.ndarray:
    """Predict `gap` at `fractions` of its width by every candidate.

    slices: [plane, row, column] float32 in [0, 1].  positions: (plane,) mm, ascending.
    Returns [candidate, fraction, row, column] float32 in the order of CANDIDATES.
    """
    window, shares = window_around(gap, len(slices)), np.asarray(fractions, np.float32)
    knots, values = positions[window], slices[window]
    where = positions[gap] + np.asarray(fractions) * (positions[gap + 1] - positions[gap])
    if len(knots) > 2:
        pchip = PchipInterpolator(knots, values, axis=0)(where).astype(np.float32)
        cubic = CubicSpline(knots, values, axis=0)(where).astype(np.float32)
    else:
        pchip = cubic = np.stack([(1 - f) * values[0] + f * values[1] for f in shares])
    gate = found.confidence[gap]
    result = np.empty((len(CANDIDATES), len(fractions), *slices.shape[1:]), np.float32)
    for n, fraction in enumerate(shares):
        straight = (1 - fraction) * slices[gap] + fraction * slices[gap + 1]
        flow, flow_cubic = _along_displacement(slices, positions, found, gap, fraction)
        gated = gate * flow + (1 - gate) * straight
        gated_cubic = gate * flow_cubic + (1 - gate) * pchip[n]
        result[:, n] = (straight, pchip[n], cubic[n], flow, flow_cubic, gated, gated_cubic,
                        cv2.GaussianBlur(straight, (0, 0), SMOOTHING), cv2.GaussianBlur(gated, (0, 0), SMOOTHING))
    return result


def _along_displacement(slices: np.ndarray, positions: np.ndarray, found: Correspondence, gap: int,
                        fraction: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Blend the two neighbours along the displacement (linear), and four slices along it (cubic Hermite)."""
    rows, columns = slices.shape[1:]
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    shift = found.displacement[gap]
    before = (x - fraction * shift[..., 0], y - fraction * shift[..., 1])
    after = (x + (1 - fraction) * shift[..., 0], y + (1 - fraction) * shift[..., 1])
    first, second = _sample(slices[gap], before), _sample(slices[gap + 1], after)
    width = positions[gap + 1] - positions[gap]
    slope_first = slope_second = second - first  # per gap width; one-sided at the ends of the stack
    if gap > 0:
        farther = _sample(slices[gap - 1], _moved(before, found.displacement[gap - 1], -1.0))
        slope_first = (second - farther) * np.float32(width / (positions[gap + 1] - positions[gap - 1]))
    if gap + 2 < len(slices):
        farther = _sample(slices[gap + 2], _moved(after, found.displacement[gap + 1], 1.0))
        slope_second = (farther - first) * np.float32(width / (positions[gap + 2] - positions[gap]))
    t = fraction
    cubic = ((2 * t ** 3 - 3 * t ** 2 + 1) * first + (t ** 3 - 2 * t ** 2 + t) * slope_first
             + (3 * t ** 2 - 2 * t ** 3) * second + (t ** 3 - t ** 2) * slope_second)
    return (1 - t) * first + t * second, cubic


def _sample(image: np.ndarray, at: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return cv2.remap(image, at[0], at[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _moved(at: tuple[np.ndarray, np.ndarray], displacement: np.ndarray, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Follow the displacement of the next gap on from `at`."""
    step = cv2.remap(displacement, at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return at[0] + np.float32(sign) * step[..., 0], at[1] + np.float32(sign) * step[..., 1]
