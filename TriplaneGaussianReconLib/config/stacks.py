"""What decides about several stacks that are solved for together; see `fitting.stack_solve` and `pipeline.stacks`."""
from __future__ import annotations

import math
from dataclasses import dataclass

from .self_supervised import RestorationConfig


@dataclass(frozen=True)
class SmoothnessConfig:
    """Edge-preserving smoothness; see `fitting.stack_solve`.  Intensities are in model units.

    Attributes:
        edge: difference between neighbours from which an edge costs less than its square.
        shares: weights of the smoothness that are tried, as shares of the one that noise and mean difference between
            neighbours tell.
        alike: squared errors up to so many times the least are alike: the smoother solution is taken.
        least: weight where there is no noise, as a share of that of one observed pixel per voxel.
    """

    edge: float = 0.02
    shares: tuple[float, ...] = (0.4, 0.2, 0.1, 0.03, 0.0)
    alike: float = 1.03
    least: float = 1e-3


@dataclass(frozen=True)
class StackConfig:
    """Everything that decides about several stacks.

    Attributes:
        sigma: standard deviation of the Gaussians, in voxels.
        cutoff: squared Mahalanobis distance beyond which they are 0.
        smoothness: see there.
        hidden: share of the pixels that are hidden to choose smoothness and trust.
        tried: (outer, inner) steps with each weight of the smoothness that is tried.
        guess: (outer, inner) steps of the smooth guess that is restored.
        detailed: smoothness of the guess that keeps more detail, as a share of that of the other.
        examples: that the network learns from.
        restoration: the network.
        trusts: weights of what the network found, beside that of an observed pixel, that are tried, infinity to
            take it as it is; 0 takes smooth values that only begin from it.
        alike: squared errors of hidden pixels up to so many times the least are alike.
        final: (outer, inner) steps of the last solution, which begins from what the network found.
        blur: voxels over which the expected error is averaged.
    """

    sigma: float = 0.45
    cutoff: float = 9.0
    smoothness: SmoothnessConfig = SmoothnessConfig()
    hidden: float = 0.1
    tried: tuple[int, int] = (3, 8)
    guess: tuple[int, int] = (3, 8)
    detailed: float = 0.15
    examples: int = 4
    restoration: RestorationConfig = RestorationConfig()
    trusts: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0, math.inf)
    alike: float = 1.002
    final: tuple[int, int] = (8, 15)
    blur: float = 2.0

    @property
    def steps(self) -> int:
        """About how many steps it takes, of conjugate gradients or of the network's training."""
        solutions = self.examples + 6  # and of the body, its shown pixels, the last, and three for the expected error
        return (solutions * (math.prod(self.guess) + self.guess[1]) + self.restoration.steps
                + (len(self.smoothness.shares) + len(self.trusts) + 1) * math.prod(self.tried)
                + 3 * math.prod(self.final))
