"""What decides about gaps: on how many planes each is predicted."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GapSamplingConfig:
    """On how many planes a gap is predicted; see `data.gap_sampling`.

    Attributes:
        narrow_below: gaps of fewer pixels are predicted half-way alone.
        exact_counts: if so many slices of the output lie in a gap, each of them is predicted where it lies.  Other
            numbers are predicted on three planes: four or six would all have to carry Gaussians, one per voxel of the
            output.
        tolerance: by what share of a gap's width these slices may miss the planes predicted for them.
        finest_step: slices of the output closer than this (pixels) are finer than anything that can be predicted.
    """

    narrow_below: float = 2.5
    exact_counts: tuple[int, ...] = (2, 5, 7)
    tolerance: float = 0.01
    finest_step: float = 0.7
