"""What decides about several stacks that are solved for together; see `fitting.stack_solve` and `pipeline.stacks`."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SmoothnessConfig:
    """Edge-preserving smoothness; see `fitting.stack_solve`.  Intensities are in model units.

    Attributes:
        edge: difference between neighbours from which an edge costs less than its square.
        shares: weights of the smoothness that are tried, as shares of the one that noise and mean difference between
            neighbours tell.
        hidden: share of the pixels that are hidden to choose one of them.
        alike: squared errors up to so many times the least are alike: the smoother solution is taken.
        least: weight where there is no noise, as a share of that of one observed pixel per voxel.
    """

    edge: float = 0.02
    shares: tuple[float, ...] = (0.4, 0.2, 0.1, 0.03, 0.0)
    hidden: float = 0.1
    alike: float = 1.03
    least: float = 1e-3


@dataclass(frozen=True)
class StackConfig:
    """Everything that decides about several stacks.

    Attributes:
        sigma: standard deviation of the Gaussians, in voxels.
        cutoff: squared Mahalanobis distance beyond which they are 0.
        smoothness: see there.
        rounds: how often motion is refined against a solution.
        rough: (outer, inner) steps of those solutions.
        tried: (outer, inner) steps with each weight of the smoothness that is tried.
        final: (outer, inner) steps of the last one.
        blur: voxels over which the expected error is averaged.
    """

    sigma: float = 0.45
    cutoff: float = 9.0
    smoothness: SmoothnessConfig = SmoothnessConfig()
    rounds: int = 2
    rough: tuple[int, int] = (2, 6)
    tried: tuple[int, int] = (3, 8)
    final: tuple[int, int] = (6, 12)
    blur: float = 2.0
