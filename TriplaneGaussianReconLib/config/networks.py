"""What decides about any network that is trained on the volume at hand: its size, its training, its optimisers."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam and Muon with a rate that rises and then falls along a cosine; see `self_supervised.optimizers`.

    Attributes:
        warm_up: share of the steps in which the rate rises to its peak.
        second_moment: Adam's decay of squared gradients.
        momentum: Muon's decay of gradients.
        step_length: of Muon, so that a step changes a number as much as one of Adam's does (Liu et al., 2025).
        rounds: of the iteration that makes Muon's matrices orthogonal.
    """

    warm_up: float = 0.03
    second_moment: float = 0.99
    momentum: float = 0.95
    step_length: float = 0.2
    rounds: int = 5


@dataclass(frozen=True)
class NetworkConfig:
    """How large a network is, how it is trained and how it is used.

    Attributes:
        width, blocks: channels and residual blocks, see `ResidualNetwork`.
        steps, batch: of the training; a batch has so many patches.
        rate: the peak rate, see `OptimizerConfig`.
        augmentations: how many mirrored and transposed copies of its input a trained network is applied to; the result
            is their mean.  See each kind of `TrainedNetwork`.
        small_error: errors below this (intensities in [0, 1]) count squared, larger ones by their size (Charbonnier).
    """

    width: int
    blocks: int
    steps: int
    batch: int
    rate: float
    augmentations: int = 1
    small_error: float = 1e-3
    optimizer: OptimizerConfig = OptimizerConfig()

    @property
    def operations(self) -> float:
        """What training it takes, in proportion: multiplications in its blocks."""
        return float(self.steps * self.batch * self.blocks * self.width ** 2)
