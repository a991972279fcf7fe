"""How a slice averages over its thickness."""
from __future__ import annotations

from typing import Literal

import numpy as np

SliceProfile = Literal["box", "gaussian"]
_WIDTHS = 2.3548200450309493  # standard deviations in a Gaussian's full width at half maximum
_REACH = 1.25  # widths to either side, beyond which a Gaussian is cut off: 0.3 % of it


def profile_deviation(thickness: float, profile: SliceProfile) -> float:
    """Return the standard deviation (mm) of the profile of a slice.

    Args:
        thickness: mm, width of the box, or full width at half maximum of the Gaussian.
        profile: which of the two.
    """
    return thickness / (12.0 ** 0.5 if profile == "box" else _WIDTHS)


def profile_depths(thickness: float, profile: SliceProfile, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the depths at which to sample a body so that the weighted sum is what a slice sees.

    Args:
        thickness: as for `profile_deviation`.
        profile: likewise.
        count: how many depths.

    Returns:
        (count,) mm along the slice's normal, and (count,) weights that sum to 1.

    Example:
        >>> depths, weights = profile_depths(4.0, "box", count=4)
        >>> depths.tolist(), weights.tolist()
        ([-1.5, -0.5, 0.5, 1.5], [0.25, 0.25, 0.25, 0.25])
    """
    if profile == "box":
        return ((np.arange(count) + 0.5) / count - 0.5) * thickness, np.full(count, 1.0 / count)
    depths = np.linspace(-_REACH, _REACH, count) * thickness
    weights = np.exp(-0.5 * (depths / profile_deviation(thickness, profile)) ** 2)
    return depths, weights / weights.sum()
