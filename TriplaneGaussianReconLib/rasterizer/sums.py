"""What the modes that need no order make of plain sums, drawn in the mode PLAIN_SUMS."""
from __future__ import annotations

import torch
from torch import Tensor

from .definitions import EPSILON
from .modes import MODES


def composited(sums: Tensor, weight_sum: Tensor, mode: str) -> Tensor:
    """Return what `mode` draws, from sums over all Gaussians.

    So groups of Gaussians can be drawn one after another and added up.

    Args:
        sums: (P, channel_count, rows, columns), sums of `w_i G_i v_is`.
        weight_sum: (P, 1, rows, columns), sums of `w_i G_i`.
        mode: A mode that is not ordered.
    """
    return sums / (weight_sum + EPSILON) if MODES[mode].is_normalised else sums


def curvature_share(weight_sum: Tensor, mode: str) -> Tensor:
    """Return a function of the weight sum, pixel by pixel, whose gradient bounds the curvature of squared errors.

    A pixel shows `sum over i of a_i v_i`, where `a_i` is `w_i G_i`, divided by the weight sum W in a mode that is
    normalised.  By Cauchy and Schwarz its square is at most `(sum a_i) (sum a_i v_i^2)`.  The factor of `v_i^2` is the
    derivative of the returned function with respect to W, times `w_i G_i`: `log W` where the `a_i` add up to 1, and
    `W^2 / 2` where they add up to W.

    Args:
        weight_sum: Sums of `w_i G_i`, any shape.
        mode: A linear mode.
    """
    return torch.log(weight_sum + EPSILON) if MODES[mode].is_normalised else 0.5 * weight_sum ** 2
