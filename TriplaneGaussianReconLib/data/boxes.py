"""How far slices reach in space, and how far apart they lie."""
from __future__ import annotations

import numpy as np

from .geometry import PlaneStack


def outer_points(planes: PlaneStack, thickness: float) -> np.ndarray:
    """Return (N, 3) LPS mm, the corners of all slices: pixels to their edges, slices to half their thickness.

    Args:
        planes: the slices.
        thickness: mm.

    Example:
        >>> planes = PlaneStack([[0, 0, 0]], row_step=[0, 1, 0], column_step=[1, 0, 0], rows=4, columns=5)
        >>> outer_points(planes, 2.0).max(axis=0).tolist()
        [4.5, 3.5, 1.0]
    """
    rows = np.array([-0.5, planes.rows - 0.5])[:, None] * planes.row_step
    columns = np.array([-0.5, planes.columns - 0.5])[:, None] * planes.column_step
    depths = np.array([-0.5, 0.5])[:, None] * thickness * planes.normal
    return (planes.origins[:, None, None, None] + rows[:, None, None] + columns[:, None] + depths).reshape(-1, 3)


def gap_between(points: np.ndarray, others: np.ndarray) -> float:
    """Return how far (mm) the box about `points` (N, 3) lies from that about `others` (M, 3); 0 where they overlap."""
    between = np.maximum(points.min(axis=0) - others.max(axis=0), others.min(axis=0) - points.max(axis=0))
    return float(np.linalg.norm(np.maximum(between, 0.0)))
