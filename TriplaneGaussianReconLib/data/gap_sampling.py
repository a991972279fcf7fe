"""On how many planes a gap between two trusted slices is predicted, and which of them carry Gaussians."""
from __future__ import annotations

import numpy as np

# Gaps of fewer pixels than this are predicted half-way alone.
TWO_LAYERS_FROM = 2.5
# So many slices of the output in a gap are predicted where they lie.  Otherwise three planes do: four or six would all
# have to carry Gaussians, one for every voxel of the output.
PREDICTED = (2, 5, 7)
# By what share of a gap's width they may miss the planes that are predicted for them.
OFF = 0.01
# Slices of the output closer than this (pixels) are finer than anything that could be predicted.
FINE = 0.7


def plane_counts(widths: np.ndarray, pixel: float, step: float) -> np.ndarray:
    """(gap,) how many planes are predicted, evenly spaced, inside gaps of `widths` mm.

    One in narrow gaps and three in wide ones; where PREDICTED slices of the output lie in a gap, these.

    pixel: mm.  step: mm, from one slice of the output to the next; a slice lies on the first trusted one.
    """
    # A gap of just so many pixels counts as wide on every computer, however its width is rounded.
    counts = np.where(widths < (1.0 - 1e-6) * TWO_LAYERS_FROM * pixel, 1, 3)
    for count in PREDICTED if step > FINE * pixel else ():
        counts[np.abs(widths - (count + 1) * step) < OFF * widths] = count
    return counts


def evenly(planes: int) -> np.ndarray:
    """(planes,) fractions of a gap's width at which so many planes lie."""
    fractions: np.ndarray = np.arange(1, planes + 1) / (planes + 1)
    return fractions


def layer_stride(planes: int) -> int:
    """From one plane that carries Gaussians to the next, of so many planes; the first and the last do.

    A layer follows a linear course in depth, from the plane before it to the one after: every other plane suffices
    where their number is odd.
    """
    return 2 if planes % 2 else 1


def layer_count(planes: int) -> int:
    """How many of so many planes carry Gaussians."""
    return -(-planes // layer_stride(planes))
