"""What decides about the displacement between neighbouring slices."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FlowConfig:
    """Optical flow and its confidence; see `registration.optical_flow`.

    Attributes:
        smallest_side: DIS needs room for its patches on two pyramid levels; on slices with a shorter side (pixels)
            nothing is taken to move.
        smoothness: of the variational refinement.  OpenCV's default is 20; 60 is better where slices are noisy or far
            apart.
        neighbourhood: standard deviation (pixels) of the neighbourhood in which the explained difference is measured.
        confidence_blur: standard deviation (pixels) by which the confidence is blurred before it shortens a
            displacement.
    """

    smallest_side: int = 24
    smoothness: float = 60.0
    neighbourhood: float = 2.0
    confidence_blur: float = 1.0
