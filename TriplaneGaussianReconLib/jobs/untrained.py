"""Which networks of a preset a reconstruction will leave out, before it starts.

Slices that are thick, uneven or too close cannot train all of them.  `data.trainable` has the rules, which the
reconstruction itself follows.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..config.presets import Preset
from ..data.gap_sampling import plane_counts
from ..data.geometry import AXES, Axis, Grid
from ..data.observations import closest_first
from ..data.selection import Selection
from ..data.trainable import image_widths, trains_fusion, trains_labels


@dataclass(frozen=True)
class Untrained:
    """Which networks the preset has, and these slices cannot train.

    Attributes:
        image: The super-resolution; nothing else is learnt without it.
        fusion: Of predictions.
        labels: The super-resolution of labels.
    """

    image: bool = False
    fusion: bool = False
    labels: bool = False

    @classmethod
    def of(cls, grid: Grid, observed: Mapping[Axis, Selection], preset: Preset) -> Untrained:
        """Return what follows from how the slices lie.

        Args:
            grid: Of the volume.
            observed: Which slices are used, by axis.
            preset: What is to be computed.

        Example:
            >>> from TriplaneGaussianReconLib.config.presets import PRESETS
            >>> thick = Grid((22, 120, 100), spacing=(0.8, 0.8, 3.2))
            >>> Untrained.of(thick, {"k": Selection.every(22, 1)}, PRESETS["balanced"])
            Untrained(image=False, fusion=True, labels=True)
        """
        if preset.super_resolution is None:
            return cls()
        axis = closest_first(grid, observed)[0]
        planes, thickness = grid.planes(axis, observed[axis].indices), grid.spacing[AXES.index(axis)]
        pitches = float(np.linalg.norm(planes.row_step)), float(np.linalg.norm(planes.column_step))
        positions = np.sort(planes.offsets)
        widths = np.diff(positions)
        low, high = image_widths(planes.rows, planes.columns, pitches, preset.super_resolution)
        if not ((widths >= low) & (widths <= high)).any():
            return cls(image=True, fusion=preset.fusion is not None, labels=preset.label_super_resolution is not None)
        counts = np.unique(plane_counts(widths, min(pitches), thickness, preset.gap_sampling)).tolist()
        fuses = preset.fusion is None or len(counts) == 1 and trains_fusion(
            planes.rows, planes.columns, pitches, positions, counts[0], thickness, preset.fusion, preset.flow)
        return cls(fusion=not fuses, labels=preset.label_super_resolution is not None and not trains_labels(
            pitches, thickness, preset.label_super_resolution))
