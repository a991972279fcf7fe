"""Which networks slices can train, by how they lie and how thick they are: no pixel is looked at.

What trains the networks asks here, and so does who tells beforehand how long that will take.
"""
from __future__ import annotations

import numpy as np

from ..config.prediction import FusionConfig
from ..config.registration import FlowConfig
from ..config.self_supervised import LabelSuperResolutionConfig, SuperResolutionConfig


def image_widths(rows: int, columns: int, pitches: tuple[float, float], config: SuperResolutionConfig
                 ) -> tuple[float, float]:
    """Return the least and the largest width (mm) of gaps that lines within the slices train a network for.

    Args:
        rows: pixels down the slices.
        columns: pixels across the slices.
        pitches: mm between rows and between columns.
        config: what counts as narrow.
    """
    extent = min((n - 1) * pitch for n, pitch in zip((rows, columns), pitches, strict=True))
    return config.narrowest * max(pitches), extent


def trains_labels(pitches: tuple[float, float], thickness: float, config: LabelSuperResolutionConfig) -> bool:
    """Whether labels within the slices say enough about labels across: not where slices are thick.

    Args:
        pitches: mm between rows and between columns.
        thickness: mm, of the slices.
        config: what counts as thick.
    """
    return thickness <= config.thickest * min(pitches)


def trains_fusion(rows: int, columns: int, pitches: tuple[float, float], positions: np.ndarray, planes_per_gap: int,
                  thickness: float, config: FusionConfig, flow: FlowConfig) -> bool:
    """Whether virtual stacks would resemble the stack itself, see `prediction.fusion`.

    Args:
        rows: pixels down the slices.
        columns: pixels across the slices.
        pitches: mm between rows and between columns.
        positions: (plane,) mm, ascending.
        planes_per_gap: planes that the dense estimate has inside each gap.
        thickness: mm, of the slices.
        config: what counts as square, thick and even.
        flow: of the displacement between virtual slices.
    """
    widths, fewest, squarest = np.diff(positions), config.fewest_gaps, config.squarest
    if planes_per_gap < 1 or len(widths) < fewest or np.ptp(widths) > config.even * widths.mean():
        return False
    width = float(widths.mean())
    plane, count = width / (planes_per_gap + 1), len(widths) * (planes_per_gap + 1) + 1
    sides = plane / np.array(pitches)
    extents = (np.array([rows, columns]) - 1) * pitches
    return bool((sides <= squarest).all() and (sides >= 1.0 / squarest).all()
                and thickness <= config.thickest * min(pitches)
                and min(count, rows, columns) >= flow.smallest_side and extents.min() >= fewest * width)
