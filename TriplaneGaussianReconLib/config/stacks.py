"""What decides about several stacks that are solved for together; see `fitting.stack_solve` and `pipeline.stacks`."""
from __future__ import annotations

from dataclasses import dataclass

from .networks import OptimizerConfig


@dataclass(frozen=True)
class SmoothnessConfig:
    """Edge-preserving smoothness; see `fitting.stack_solve`.  Intensities are in model units.

    Attributes:
        edge: difference between neighbours from which an edge costs less than its square.
        share: weight of the smoothness, as a share of the one that noise and mean difference between neighbours tell.
        least: weight where there is no noise, as a share of that of one observed pixel per voxel.
        weak: a second, less smooth solution for the restoring network has this share of the weight.
    """

    edge: float = 0.02
    share: float = 0.4
    least: float = 1e-3
    weak: float = 0.15


@dataclass(frozen=True)
class RestorationConfig:
    """A network that undoes what solving loses, trained on solutions of simulated stacks; see
    `self_supervised.restoration`.

    Attributes:
        width, depth: channels and layers.
        simulations: how many solutions of simulated stacks it is trained on.
        steps, batch, patch: of the training; a batch has so many cubes of so many voxels a side.
        rate: the peak rate.
        optimizer: of the network.
        trust: how much the network's answer weighs beside the stacks, for noise of a hundredth of the range; it grows
            with the square of the noise.
    """

    width: int = 16
    depth: int = 5
    simulations: int = 3
    steps: int = 300
    batch: int = 2
    patch: int = 32
    rate: float = 2e-3
    optimizer: OptimizerConfig = OptimizerConfig()
    trust: float = 0.3


@dataclass(frozen=True)
class StackConfig:
    """Everything that decides about several stacks.

    Attributes:
        sigma: standard deviation of the Gaussians, in voxels.
        cutoff: squared Mahalanobis distance beyond which they are 0.
        smoothness, restoration: see there; no network where `restoration` is None.
        rounds: how often motion is refined against a solution.
        rough: (outer, inner) steps of those solutions.
        final: (outer, inner) steps of the last one.
    """

    sigma: float = 0.45
    cutoff: float = 9.0
    smoothness: SmoothnessConfig = SmoothnessConfig()
    restoration: RestorationConfig | None = RestorationConfig()
    rounds: int = 2
    rough: tuple[int, int] = (2, 6)
    final: tuple[int, int] = (4, 10)
