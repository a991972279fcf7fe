"""Candidate predictions of what lies between two trusted slices.

Each candidate is a simple, well-understood way to fill a gap: straight through or along the displacement, from two or
from four slices, gated by confidence or not, sharp or smoothed.  None wins on every volume; `arbitration` finds out
which to believe on the volume at hand.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from .correspondence import Motion
from .image_operations import as_shift, blurred, constants, pixel_centres, sampled

CANDIDATES = ("linear", "pchip", "cubic", "flow", "flow_cubic", "gated", "gated_cubic", "straight_smooth",
              "gated_smooth")
# Standard deviation (pixels) of the smoothed candidates.  Where detail cannot be predicted, smooth is nearer the truth.
SMOOTHING = 0.7


def window_around(gap: int, planes: int) -> slice:
    """The slices that the candidates look at for `gap` (between slices gap and gap + 1): two on either side."""
    return slice(max(gap - 1, 0), min(gap + 3, planes))


def candidates(slices: Tensor, positions: np.ndarray, found: Motion, gap: int, fractions: Sequence[float]) -> Tensor:
    """Predict `gap` at `fractions` of its width by every candidate.

    slices: [plane, row, column] float32 in [0, 1], on the same device as `found`.  positions: (plane,) mm, ascending.
    Returns [candidate, fraction, row, column] float32 in the order of CANDIDATES, on that device.
    """
    window = window_around(gap, len(slices))
    knots, values, first = positions[window], slices[window], gap - window.start
    t = constants(list(fractions), slices.device)[:, None, None]
    result = slices.new_empty(len(CANDIDATES), len(fractions), *slices.shape[1:])
    straight, pchip, cubic, flow, flow_cubic, gated, gated_cubic, straight_smooth, gated_smooth = result
    torch.add((1 - t) * values[first], t * values[first + 1], out=straight)
    if len(knots) > 2:
        pchip[:] = _pchip(values, knots, first, t)
        cubic[:] = _cubic_spline(values, knots, first, fractions)
    else:
        pchip[:] = cubic[:] = straight
    _along_displacement(slices, positions, found, gap, t, flow, flow_cubic)
    gate = found.confidence[gap]
    torch.add(gate * flow, (1 - gate) * straight, out=gated)
    torch.add(gate * flow_cubic, (1 - gate) * pchip, out=gated_cubic)
    straight_smooth[:], gated_smooth[:] = blurred(straight, SMOOTHING), blurred(gated, SMOOTHING)
    return result


def _cubic_spline(values: Tensor, knots: np.ndarray, first: int, fractions: Sequence[float]) -> Tensor:
    """The cubic spline (not-a-knot) through `values` [knot, row, column], between knots `first` and the next.

    A spline is linear in its values: every knot has a weight, which only depends on where the knots are.
    """
    where = knots[first] + np.asarray(fractions) * (knots[first + 1] - knots[first])
    weights = constants(CubicSpline(knots, np.eye(len(knots)))(where), values.device)[..., None, None]
    result = weights[:, 0] * values[0]
    for knot in range(1, len(knots)):
        result += weights[:, knot] * values[knot]
    return result


def _pchip(values: Tensor, knots: np.ndarray, first: int, t: Tensor) -> Tensor:
    """The monotone cubic (Fritsch and Butland) through `values` [knot, row, column], between knots `first` and the
    next, at fractions `t` [n, 1, 1] of the way; at least three knots."""
    widths = np.diff(knots).tolist()
    rises = [(values[n + 1] - values[n]) / width for n, width in enumerate(widths)]

    def slope(knot: int) -> Tensor:
        if knot == 0:
            return _slope_at_end(rises[0], rises[1], widths[0], widths[1])
        if knot == len(widths):
            return _slope_at_end(rises[-1], rises[-2], widths[-1], widths[-2])
        return _slope_inside(rises[knot - 1], rises[knot], widths[knot - 1], widths[knot])

    width = widths[first]
    return _hermite(t, values[first], values[first + 1], width * slope(first), width * slope(first + 1))


def _slope_inside(before: Tensor, after: Tensor, width_before: float, width_after: float) -> Tensor:
    """Weighted harmonic mean of the slopes on either side of a knot; 0 where they do not agree in sign."""
    agree, share = before * after > 0, (width_before + 2 * width_after) / (3 * (width_before + width_after))
    mean = share * after + (1 - share) * before
    return torch.where(agree, before * (after / torch.where(agree, mean, 1.0)), 0.0)


def _slope_at_end(inner: Tensor, outer: Tensor, width_inner: float, width_outer: float) -> Tensor:
    """Slope at the first or last knot, from the nearest slope (`inner`) and the next (`outer`), shape preserved."""
    total = width_inner + width_outer
    slope = ((2 * width_inner + width_outer) / total) * inner - (width_inner / total) * outer
    steep = (inner * outer <= 0) & (slope.abs() > 3 * inner.abs())
    return torch.where(slope * inner > 0, torch.where(steep, 3 * inner, slope), 0.0)


def _hermite(t: Tensor, first: Tensor, second: Tensor, slope_first: Tensor, slope_second: Tensor) -> Tensor:
    """The cubic through two values with these slopes (per distance of the two)."""
    squared, cubed = t ** 2, t ** 3
    result = (2 * cubed - 3 * squared + 1) * first
    result += (cubed - 2 * squared + t) * slope_first
    result += (3 * squared - 2 * cubed) * second
    result += (cubed - squared) * slope_second
    return result


def _along_displacement(slices: Tensor, positions: np.ndarray, found: Motion, gap: int, t: Tensor, flow: Tensor,
                        flow_cubic: Tensor) -> None:
    """Blend the two neighbours along the displacement (linear: `flow`), and four slices along it (cubic Hermite).

    `flow` and `flow_cubic` [n, row, column] are filled in at fractions `t` [n, 1, 1].
    """
    rows, columns = slices.shape[1:]
    shift = as_shift(found.displacement[gap])
    before = pixel_centres(rows, columns, slices.device) - t[..., None] * shift
    after = before + shift

    def sample(plane: int, at: Tensor) -> Tensor:
        return sampled(slices[plane].expand(len(at), 1, -1, -1), at)[:, 0]

    def step(across: int, at: Tensor) -> Tensor:
        """The displacement of another gap, followed on from `at`."""
        shifts = as_shift(found.displacement[across]).movedim(-1, 0)
        return sampled(shifts.expand(len(at), -1, -1, -1), at, "bilinear").movedim(1, -1)

    first, second = sample(gap, before), sample(gap + 1, after)
    width = positions[gap + 1] - positions[gap]
    slope_first = slope_second = second - first  # per gap width; one-sided at the ends of the stack
    if gap > 0:
        farther = sample(gap - 1, before - step(gap - 1, before))
        slope_first = (second - farther) * float(width / (positions[gap + 1] - positions[gap - 1]))
    if gap + 2 < len(slices):
        farther = sample(gap + 2, after + step(gap + 1, after))
        slope_second = (farther - first) * float(width / (positions[gap + 2] - positions[gap]))
    torch.add((1 - t) * first, t * second, out=flow)
    flow_cubic[:] = _hermite(t, first, second, slope_first, slope_second)
