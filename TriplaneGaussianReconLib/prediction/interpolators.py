"""The members of the ensemble: what each predicts between two observed slices.

Most are simple, well-understood interpolators: straight through or along the displacement, from two or from four
slices, gated by confidence or not, sharp or smoothed.  The last member is the super-resolution network.  None is best
on every volume; `ensemble` weights them for the volume at hand.
"""
from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from ..registration.optical_flow import Motion
from ..runtime.image_operations import as_shift, blurred, constants, pixel_centres, sampled, transferred
from ..self_supervised.slice_context import SliceContext

INTERPOLATORS = ("linear", "pchip", "cubic", "flow", "flow_cubic", "gated", "gated_cubic", "straight_smooth",
                 "gated_smooth")
MEMBERS = (*INTERPOLATORS, "super_resolution")
# Number of slices around a gap that the interpolators use.
SLICES_AROUND = 4
# A missing slice counts as so many gap widths away, where it has no influence on any spline.
FAR = 1e9


def working_memory(planes: int, pixels: int) -> int:
    """Bytes that `member_predictions` and its callers need per gap, predicted on `planes` planes of `pixels`."""
    return (90 * planes + 100) * pixels


def member_predictions(slices: Tensor, found: Motion, context: SliceContext, smoothing: float,
                       super_resolved: Tensor | None = None) -> Tensor:
    """Predict gaps by every member of the ensemble.

    Args:
        slices: [plane, row, column] float32 in [0, 1], on the same device as `found`.
        found: displacement and confidence; `context.motions` are numbers of its gaps.
        context: the gaps, the four slices around each, and the planes wanted.
        smoothing: standard deviation of the smoothed interpolators, pixels.
        super_resolved: [gap, T, row, column], what the super-resolution network predicts, if there is one.

    Returns:
        [member, gap, T, row, column] float32 in the order of `MEMBERS`, on that device; without `super_resolved` it has
        the `INTERPOLATORS` alone.
    """
    fractions, knots, has_outer = context.fractions, _knots(context), context.has_outer
    linear = np.stack([1.0 - fractions, fractions], axis=1)
    weights = constants(np.concatenate([linear, _hermite(fractions), _cubic_spline(knots, fractions),
                                        _along_motion(knots, has_outer, fractions)], axis=1), slices.device)
    of_linear, of_pchip, of_cubic, of_flow_cubic = weights[..., None, None].split([2, 4, 4, 4], dim=1)

    values = slices[transferred(context.planes, slices.device)]
    still = values[:, :, None].unbind(1)
    moved = _displaced(values, found, context)
    count = len(INTERPOLATORS) if super_resolved is None else len(MEMBERS)
    result = slices.new_empty(count, *fractions.shape, *slices.shape[1:])
    straight, displaced, gated, smooth = result[:2], result[3:5], result[5:7], result[7:9]
    _mix(of_linear, still[1:3], straight[0])
    _mix(of_pchip, (still[1], *_pchip_slopes(values, knots, has_outer), still[2]), straight[1])
    _mix(of_cubic, still, result[2])
    _mix(of_linear, moved[1:3], displaced[0])
    _mix(of_flow_cubic, moved, displaced[1])
    gate = found.confidence[transferred(context.motions[:, 1], slices.device)][:, None]
    torch.add(gate * displaced, (1 - gate) * straight, out=gated)
    smooth[:] = blurred(torch.stack([straight[0], gated[0]]), smoothing)
    if super_resolved is not None:
        result[-1] = super_resolved
    return result


def _mix(weights: Tensor, images: Sequence[Tensor], out: Tensor) -> None:
    """Sum `images` [gap, n or 1, row, column] by weights [gap, image, n, 1, 1] into `out` [gap, n, row, column]."""
    torch.mul(weights[:, 0], images[0], out=out)
    for number, image in enumerate(images[1:], start=1):
        out += weights[:, number] * image


def _knots(context: SliceContext) -> np.ndarray:
    """(gap, 4) where the slices lie, on a scale on which the gap goes from 0 to 1."""
    where = context.positions
    knots: np.ndarray = (where - where[:, 1:2]) / (where[:, 2:3] - where[:, 1:2])
    knots[:, ::3] = np.where(context.has_outer, knots[:, ::3], [-FAR, FAR])
    return knots


def _cubic_spline(knots: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """(gap, 4, n): weights of the slices in the cubic spline (not-a-knot).

    Through four points it is a single cubic: Lagrange's.
    """
    weights = np.ones((len(knots), 4, fractions.shape[1]))
    for knot, other in permutations(range(4), 2):
        weights[:, knot] *= (fractions - knots[:, [other]]) / (knots[:, [knot]] - knots[:, [other]])
    return weights


def _hermite(fractions: np.ndarray) -> np.ndarray:
    """(gap, 4, n): weights of the first value, the slopes at first and second (per gap width), the second value."""
    t = fractions
    return np.stack([(2 * t - 3) * t ** 2 + 1, ((t - 2) * t + 1) * t, (t - 1) * t ** 2, (3 - 2 * t) * t ** 2], axis=1)


def _along_motion(knots: np.ndarray, has_outer: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """(gap, 4, n): weights of four slices, followed along the displacement, in a cubic with central slopes.

    Where a slice is missing the slope is that across the gap.
    """
    farther_before, first, second, farther_after = np.eye(4)
    at_first = np.where(has_outer[:, :1], (second - farther_before) / (1.0 - knots[:, :1]), second - first)
    at_second = np.where(has_outer[:, 1:], (farther_after - first) / knots[:, 3:], second - first)
    ends = np.broadcast_to([[first], [second]], (2, *at_first.shape))
    weights: np.ndarray = np.einsum("gkn,kgs->gsn", _hermite(fractions),
                                    np.stack([ends[0], at_first, at_second, ends[1]]))
    return weights


def _pchip_slopes(values: Tensor, knots: np.ndarray, has_outer: np.ndarray) -> tuple[Tensor, ...]:
    """Slopes per gap width [gap, 1, row, column] at either end of each gap of the monotone cubic (Fritsch and Butland)
    through `values` [gap, 4, row, column].
    """
    widths = np.diff(knots)
    rises = values.diff(dim=1) / constants(widths, values.device)[..., None, None]
    slopes = _slopes_inside(rises, widths)
    if not has_outer.all():
        is_inside = transferred(has_outer, values.device)[..., None, None]
        slopes = torch.where(is_inside, slopes, _slopes_at_ends(rises, widths))
    return slopes[:, :, None].unbind(1)


def _slopes_inside(rises: Tensor, widths: np.ndarray) -> Tensor:
    """Weighted harmonic mean of the slopes on either side of a knot; 0 where they do not agree in sign."""
    before, after = rises[:, :2], rises[:, 1:]
    shares = (1.0 + widths[:, 1:] / (widths[:, :2] + widths[:, 1:])) / 3.0
    share, rest = constants(np.stack([shares, 1.0 - shares]), rises.device)[..., None, None]
    agree, mean = before * after > 0, share * after + rest * before
    return torch.where(agree, before * (after / torch.where(agree, mean, 1.0)), 0.0)


def _slopes_at_ends(rises: Tensor, widths: np.ndarray) -> Tensor:
    """Slopes where the stack ends: from the gap's own slope and the one on its other side, shape preserved."""
    inner, outer = rises[:, 1:2], rises[:, ::2].flip(1)
    share = constants(1.0 / (1.0 + widths[:, ::-2]), rises.device)[..., None, None]
    slopes = (1.0 + share) * inner - share * outer
    steep = (inner * outer <= 0) & (slopes.abs() > 3 * inner.abs())
    return torch.where(slopes * inner > 0, torch.where(steep, 3 * inner, slopes), 0.0)


def _displaced(values: Tensor, found: Motion, context: SliceContext) -> tuple[Tensor, ...]:
    """Follow the displacement from every pixel of the wanted planes to the four slices of `values` [gap, 4, row,
    column]: what is found there, four times [gap, T, row, column].
    """
    device = values.device

    def shifts(motions: np.ndarray) -> Tensor:
        return as_shift(found.displacement[transferred(motions, device)])

    rows, columns = values.shape[-2:]
    shift = shifts(context.motions[:, 1])[:, None]
    before = pixel_centres(rows, columns, device) - constants(context.fractions, device)[..., None, None, None] * shift
    at = torch.stack([before, before + shift], dim=1)
    first, second = _sampled(values[:, 1:3, None], at)[:, :, 0].unbind(1)
    # Outside of the gap the displacement of the next gap is followed on.
    onwards = shifts(context.motions[:, ::2]) * constants([-1.0, 1.0], device)[:, None, None, None]
    at += _sampled(onwards.movedim(-1, 2), at, "bilinear").movedim(2, -1)
    farther_before, farther_after = _sampled(values[:, ::3, None], at)[:, :, 0].unbind(1)
    return farther_before, first, second, farther_after


def _sampled(images: Tensor, at: Tensor, mode: str = "bicubic") -> Tensor:
    """Sample `images` [gap, 2, channel, row, column] `at` [gap, 2, n, row, column, 2]: [gap, 2, channel, n, row,
    column].
    """
    samples = sampled(images.flatten(0, 1), at.flatten(0, 1).flatten(1, 2), mode)
    return samples.reshape(*images.shape[:3], *at.shape[2:-1])
