"""How a slice averages over its thickness."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InputError

SliceProfile = Literal["box", "gaussian"]
_WIDTHS = 2.3548200450309493  # standard deviations in a Gaussian's full width at half maximum
_REACH = 1.25  # widths to either side, beyond which a Gaussian is cut off: 0.3 % of it
_MOST = 8  # Gaussians that a box is made of


@dataclass(frozen=True)
class ProfileGaussians:
    """How a slice averages along its normal: a sum of equal Gaussians.

    Attributes:
        offsets: mm along the normal, centres of the Gaussians.
        sigma: mm, standard deviation of each.
    """

    offsets: tuple[float, ...]
    sigma: float

    @classmethod
    def of(cls, profile: SliceProfile, thickness: float, pixel: float) -> ProfileGaussians:
        """Describe slices of one thickness.

        A box is made of Gaussians about a pixel apart, whose variances add up to that of the box, `thickness^2 / 12`.

        Args:
            profile: `box`, as which averaged slices count, or `gaussian`.
            thickness: mm; width of the box, full width at half maximum of the Gaussian.
            pixel: mm; finer detail does not matter.

        Raises:
            InputError: the thickness is not a positive number.

        Example:
            >>> ProfileGaussians.of("box", 4.0, 2.0).offsets
            (-1.0, 1.0)
        """
        if not (np.isfinite(thickness) and thickness > 0):
            raise InputError(f"The thickness of slices must be a positive number of millimetres, not {thickness}.")
        if profile == "gaussian":
            return cls((0.0,), profile_deviation(thickness, profile))
        count = int(np.clip(round(thickness / pixel), 1, _MOST))
        offsets = (np.arange(count) - 0.5 * (count - 1)) * thickness / count
        return cls(tuple(offsets.tolist()), profile_deviation(thickness / count, profile))

    def entries(self, pitch: float, sigma: float, cutoff: float) -> float:
        """Return about how many Gaussians of a lattice a pixel sees: those in a cylinder along its profile.

        Args:
            pitch: Mm from one Gaussian to the next.
            sigma: Mm, their standard deviation.
            cutoff: Squared Mahalanobis distance beyond which they are 0.
        """
        reach = cutoff ** 0.5
        across = reach * sigma / pitch
        deep = max(self.offsets) - min(self.offsets) + 2.0 * reach * (sigma ** 2 + self.sigma ** 2) ** 0.5
        return float(np.pi * across ** 2 * deep / pitch)


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
