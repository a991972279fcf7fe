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


@dataclass(frozen=True)
class RigidConfig:
    """Rigid registration of whole stacks; see `registration.stacks` and `registration.refinement`.

    Attributes:
        coarsest: standard deviation of the first blur, as a share of the shortest side of the field of view.
        finest: standard deviation of the last blur, in those of the thickest slices' own.
        turns: degrees about each axis, either way, by which each start is turned too.
        kept: how many starts go on from the coarsest blur to the next; each next keeps one less.
        least_overlap: share of a stack, or of the first where that is smaller, below which an agreement counts less.
        steps: of each fit, at most.
        rounds: how often each stack is compared with the mean of all others.
        voxels: how many voxels of a blurred stack are compared at a time, drawn by chance.
        pixels: how many pixels of a stack are compared in the refinement, likewise.
        depth_spacing: voxels from one sample of a slice's profile to the next, at most, in the refinement.  Wider ones
            mistake fine structure for coarse.
        fewest_depths: of a profile.
        most_depths: likewise.
    """

    coarsest: float = 0.06
    finest: float = 1.3
    turns: float = 15.0
    kept: int = 4
    least_overlap: float = 0.5
    steps: int = 25
    rounds: int = 1
    voxels: int = 20_000
    pixels: int = 40_000
    depth_spacing: float = 1.25
    fewest_depths: int = 5
    most_depths: int = 17
