"""What the modes that need no order make of plain sums, drawn in the mode PLAIN_SUMS."""
from __future__ import annotations

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
