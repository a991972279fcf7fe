"""Discs, and what labels between two slices are made of."""
from __future__ import annotations

import numpy as np

from TriplaneGaussianReconLib.config.labels import LabelConfig
from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.labels.channels import LabelChannels
from TriplaneGaussianReconLib.labels.signed_distance import Boxed

CONFIG = LabelConfig()
ROWS, COLUMNS = 48, 56
ONE = LabelChannels((Segment("a", 1),))


def disc(x: float, y: float, radius: float, shape: tuple[int, int] = (ROWS, COLUMNS)) -> np.ndarray:
    rows, columns = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return np.hypot(columns - x, rows - y) <= radius


def boxes(outlines: Boxed) -> list[tuple[slice, slice]]:
    """Rows and columns of each box."""
    heights = outlines.sizes // outlines.boxes[:, 3]
    return [(slice(top, top + rows), slice(left, left + columns)) for (_, top, left, columns), rows in zip(
        outlines.boxes.tolist(), heights.tolist(), strict=True)]
