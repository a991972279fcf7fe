"""How this library is asked where several stacks are compared."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..config.presets import Preset
from ..data.geometry import Grid
from ..data.observations import Observations
from ..pipeline.reconstruction import Reconstruction
from ..pipeline.used_stacks import solved


@dataclass(frozen=True)
class Ours:
    """How this library is asked.

    Attributes:
        presets: by name, in the order of the rows.
        device, seed: see `pipeline.reconstruction.reconstruct`.
        alone: whether each stack is reconstructed by itself, too.
        limit: bytes of the host that the process may hold at its peak; None for what is free.
    """

    presets: Mapping[str, Preset]
    device: str = "auto"
    seed: int = 0
    alone: bool = False
    limit: int | None = None

    def together(self, observations: Observations, output: Grid | float, preset: Preset) -> Reconstruction:
        """Reconstruct from all stacks, as a user would who knows of no motion; output: see `reconstruct_stacks`."""
        return solved(observations, output, preset=preset, device=self.device, seed=self.seed, motion="stack",
                      progress=None, should_stop=None, limit=self.limit)
