"""How likely each segment is in each voxel."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .geometry import Grid, by
from .images import Segment

WHOLE = 100
"""What stands for certainty."""


@dataclass(frozen=True, eq=False)  # arrays cannot be compared to one yes or no
class LabelProbabilities:
    """Probabilities of segments, each independent of those in other layers.

    They are whole percentages, of one byte each, since there is one for every segment and voxel: 61 segments of
    512 x 512 x 300 voxels take 4.8 GB so, and would take 19 GB in single precision.  What is left of 100 in a layer is
    its background but for rounding, which adds up where many segments have less than half a percent.

    Attributes:
        array: [segment, k, j, i] uint8, percent from 0 to 100.
        segments: which segment each volume is of.
        grid: where the voxels lie.
        metadata: further header fields of the file of the segments, kept as they are.
    """

    array: np.ndarray
    segments: tuple[Segment, ...]
    grid: Grid
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        count = len(self.segments)
        return f"LabelProbabilities({count} segment{'s' * (count != 1)}; {by(self.grid.size)}, {self.grid.place})"
