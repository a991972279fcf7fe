"""What all implementations of the rasterizer share, so that they mean exactly the same."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..data.geometry import PlaneStack

EPSILON = 1e-6
"""Added to the weight sum that `normalised` divides by: pixels that no Gaussian reaches become 0 instead of NaN."""

MAX_ALPHA = 0.99
"""Ceiling of a single Gaussian's opacity in `alpha`: keeps the transmittance, and what is divided by it, above 0."""

SHAPE_MOMENTS = 10
"""Moments of 1, u, v, t, uu, uv, ut, vv, vt, tt; the gradient of a weight needs the first alone."""

SLOT_MOMENTS = 4
"""Moments of 1, u, v, t; the gradient of a value needs the first alone."""


class SortedPlanes(NamedTuple):
    """A `PlaneStack` with its planes sorted by depth, as compiled kernels want it; all float64 but `places`.

    depths: (P,) mm along the normal, ascending.
    columns, rows: (P,) what to subtract from a point's coordinates in `frame` to get its column and row.
    places: (P,) int64, where each plane stands in the stack.
    frame: (5, 3) column step, row step, normal (mm), and the dual vectors (1/mm) that give a point's column and row.
    """

    depths: np.ndarray
    columns: np.ndarray
    rows: np.ndarray
    places: np.ndarray
    frame: np.ndarray


def sorted_planes(planes: PlaneStack) -> SortedPlanes:
    """Sort `planes` by depth."""
    steps = np.stack([planes.column_step, planes.row_step, planes.normal])
    duals = np.linalg.inv(steps.T)[:2]
    order = np.argsort(planes.offsets, kind="stable")
    origins = planes.origins[order]
    return SortedPlanes(planes.offsets[order], origins @ duals[0], origins @ duals[1], order,
                        np.concatenate([steps, duals]))


def depths(centres: Tensor, planes: PlaneStack) -> Tensor:
    """Return (N,) float64 mm, the position of each centre along the normal of `planes`, on the centres' device.

    Written out element by element: the order of `alpha` depends on the last bit where Gaussians lie on layers.
    """
    x, y, z = centres.detach().double().unbind(1)
    along_x, along_y, along_z = planes.normal.tolist()
    return x * along_x + y * along_y + z * along_z
