"""Stand-in for `pipeline.stacks`, which solves for several volumes: it looks at nothing but what it is given."""
from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.output_grid import union_grid
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction
from TriplaneGaussianReconLib.pipeline.report import Provenance, Report, SelfCheck

FOUND_SHIFT = (1.0, -2.0, 3.0)  # mm, which it claims to have found for all volumes but the first
FOUND_GAIN = 1.25


class StandInSolver(ModuleType):
    """Keeps what it was called with; the volume that it returns is all 1, its labels are of the first segment."""

    def __init__(self) -> None:
        super().__init__("stacks")
        self.observations: Observations | None = None
        self.output: Grid | None = None
        self.options: dict[str, Any] = {}

    @classmethod
    def in_place(cls, monkeypatch: pytest.MonkeyPatch) -> StandInSolver:
        """Return one that stands in until the test ends."""
        solver = cls()
        monkeypatch.setitem(sys.modules, "TriplaneGaussianReconLib.pipeline.stacks", solver)
        return solver

    def reconstruct_stacks(self, observations: Observations, output: Grid | float, **options: Any) -> Reconstruction:
        output_grid = output if isinstance(output, Grid) else union_grid(observations, output)
        self.observations, self.output, self.options = observations, output_grid, options
        volume = Image(np.ones(output_grid.shape, observations.dtype), output_grid)
        segmentation, segments = None, observations.segments
        if segments:
            layers = np.zeros((1 + max(s.layer for s in segments), *output_grid.shape), np.uint8)
            layers[segments[0].layer] = segments[0].value
            segmentation = Segmentation(layers, segments, output_grid)
        moved = np.eye(4)
        moved[:3, 3] = FOUND_SHIFT
        motions = (StackMotion(), *[StackMotion(moved, FOUND_GAIN)] * (len(observations.stacks) - 1))
        provenance = Provenance("0", str(options["preset"]), options["seed"], "cpu",
                                len(observations.stacks[0].planes), SelfCheck(1.0, "Nothing was hidden."))
        report = Report(provenance, "cpu", 1, 1, len(segments), {}, (), {}, {})
        model: Any = None
        return Reconstruction(volume, Image(np.zeros(output_grid.shape, np.float32), output_grid), segmentation, model,
                              report, motions=motions if options["motion"] == "stack" else ())
