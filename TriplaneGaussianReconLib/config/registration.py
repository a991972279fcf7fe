"""What decides about the displacement between neighbouring slices, and the rigid motion of whole stacks."""
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
class StepConfig:
    """How one registration searches, by gradient descent whose steps get shorter when the slope turns round.

    Attributes:
        first: how far the first step carries.
        last: step with which the search ends.
        most: how many steps.
        shorter: by what share; close to 1 follows a narrow valley to its end.
    """

    first: float
    last: float
    most: int
    shorter: float


@dataclass(frozen=True)
class RigidConfig:
    """Rigid registration of whole stacks; see `registration.stacks`.

    Attributes:
        coarsest: standard deviation of the first blur, as a share of the shortest side of the field of view.
        finest: standard deviation of the last blur, in those of the thickest slices' own.
        turns: degrees about each axis, either way, by which each start is turned too.
        kept: how many starts go on from the coarsest blur to the next; each next keeps one less.
        least_overlap: share of a stack, or of the first where that is smaller, below which an agreement counts less.
        search: steps from each start, in standard deviations of the blur.
        finish: steps from the best start, likewise.
        voxels: how many voxels of a blurred stack are compared at most, drawn by chance.
    """

    coarsest: float = 0.06
    finest: float = 1.0
    turns: float = 15.0
    kept: int = 4
    least_overlap: float = 0.5
    search: StepConfig = StepConfig(first=1.0, last=0.02, most=40, shorter=0.5)
    finish: StepConfig = StepConfig(first=0.5, last=1e-3, most=300, shorter=0.8)
    voxels: int = 20_000
