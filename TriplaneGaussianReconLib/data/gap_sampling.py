"""On how many planes the gap between two observed slices is predicted, and which of them carry Gaussians."""
from __future__ import annotations

import numpy as np

from ..config.data import GapSamplingConfig


def plane_counts(widths: np.ndarray, pixel: float, step: float, config: GapSamplingConfig) -> np.ndarray:
    """Number of planes, evenly spaced, on which each gap is predicted.

    One in narrow gaps and three in wide ones; where one of `config.exact_counts` slices of the output lie in a gap,
    these.

    Args:
        widths: (gap,) mm.
        pixel: mm, the smaller side of a pixel of the slices.
        step: mm, from one slice of the output to the next; one of them lies on the first observed slice.
        config: what counts as narrow, and which counts are exact.

    Returns:
        (gap,) int.

    Example:
        >>> plane_counts(np.array([2.0, 3.0, 4.0]), 1.0, 1.0, GapSamplingConfig())
        array([1, 2, 3])
    """
    # A gap of just so many pixels counts as wide on every computer, however its width is rounded.
    counts = np.where(widths < (1.0 - 1e-6) * config.narrow_below * pixel, 1, 3)
    for count in config.exact_counts if step > config.finest_step * pixel else ():
        counts[np.abs(widths - (count + 1) * step) < config.tolerance * widths] = count
    return counts


def evenly(planes: int) -> np.ndarray:
    """Fractions of a gap's width at which `planes` evenly spaced planes lie: (planes,) in (0, 1).

    Example:
        >>> evenly(3)
        array([0.25, 0.5 , 0.75])
    """
    fractions: np.ndarray = np.arange(1, planes + 1) / (planes + 1)
    return fractions


def layer_stride(planes: int) -> int:
    """Step from one plane that carries Gaussians to the next, of `planes` planes; the first and the last do.

    Intensities of a layer are linear in depth, from the plane before it to the one after: every other plane suffices
    where their number is odd.
    """
    return 2 if planes % 2 else 1


def layer_count(planes: int) -> int:
    """Number of layers of Gaussians among `planes` planes.

    Example:
        >>> [layer_count(planes) for planes in (1, 2, 3, 5)]
        [1, 2, 2, 3]
    """
    return -(-planes // layer_stride(planes))


def gaps_with(depths: np.ndarray, offsets: np.ndarray, tolerance: float) -> np.ndarray:
    """(gap,) bool: which gaps between slices at `offsets` (mm, ascending) hold any of `depths` (mm).

    Args:
        depths: of the slices of the output.
        offsets: of the observed slices.
        tolerance: mm; what is no farther than this from an observed slice lies on it.

    Example:
        >>> gaps_with(np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 3.0]), 0.01).tolist()
        [True, False]
    """
    inside: np.ndarray = (np.searchsorted(depths, offsets[1:] - tolerance)
                          > np.searchsorted(depths, offsets[:-1] + tolerance, side="right"))
    return inside
