"""What all implementations of the rasterizer share, so that they mean exactly the same."""
from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor

from ..geometry import PlaneStack

Mode = Literal["normalised", "additive", "alpha"]

EPSILON = 1e-6
"""Added to the weight sum that `normalised` divides by: pixels that no Gaussian reaches become 0 instead of NaN."""

MAX_ALPHA = 0.99
"""Ceiling of a single Gaussian's opacity in `alpha`: keeps the transmittance, and what is divided by it, above 0."""


def depths(centres: Tensor, planes: PlaneStack) -> np.ndarray:
    """Return (N,) float64 mm, the position of each centre along the normal of `planes`.

    Written out element by element: the order of `alpha` depends on the last bit where Gaussians lie on layers.
    """
    x, y, z = centres.detach().double().numpy().T
    normal = planes.normal
    depth: np.ndarray = x * normal[0] + y * normal[1] + z * normal[2]
    return depth
