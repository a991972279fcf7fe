"""The compiled kernel that lists which Gaussians of a lattice each pixel sees, and how much of each.

All Gaussians of a lattice are alike, so one precision is enough, and those that a pixel may see are found by counting.
"""
from __future__ import annotations

import numpy as np

from .compiling import compiled


@compiled
def entries_of(begin: int, end: int, points: np.ndarray, shape: np.ndarray, offsets: np.ndarray, precision: np.ndarray,
               reach: np.ndarray, cutoff: float, starts: np.ndarray, counts: np.ndarray, columns: np.ndarray,
               weights: np.ndarray) -> None:
    """List the entries of the pixels `begin` to `end`; with empty `columns`, count them alone.

    Args:
        begin: number of the first pixel.
        end: number of the one after the last.
        points: (pixel, 3) float64, where they are, in lattice steps along i, j, k.
        shape: (3,) Gaussians along i, j, k.
        offsets: (component, 3) from a pixel to the middle of each component of the profile, likewise.
        precision: (3, 3) of the averaged Gaussians, in lattice steps.
        reach: (3,) lattice steps from a component to the farthest Gaussian that it sees.
        cutoff: squared Mahalanobis distance beyond which Gaussians are 0.
        starts: (pixel,) int64, where the entries of each begin.
        counts: (pixel,) int32, how many there are; filled.
        columns: (entries,) int32, which Gaussians; filled.
        weights: (entries,) float32, how much of each, not normalised; filled.
    """
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    is_filling = columns.size > 0
    for pixel in range(begin, end):
        for axis in range(3):
            least, most = np.inf, -np.inf
            for component in range(offsets.shape[0]):
                at = points[pixel, axis] + offsets[component, axis]
                least, most = min(least, at), max(most, at)
            low[axis] = max(int(np.ceil(least - reach[axis])), 0)
            high[axis] = min(int(np.floor(most + reach[axis])), shape[axis] - 1)
        count = 0
        for k in range(low[2], high[2] + 1):
            for j in range(low[1], high[1] + 1):
                for i in range(low[0], high[0] + 1):
                    weight = 0.0
                    for component in range(offsets.shape[0]):
                        x = i - points[pixel, 0] - offsets[component, 0]
                        y = j - points[pixel, 1] - offsets[component, 1]
                        z = k - points[pixel, 2] - offsets[component, 2]
                        q = (precision[0, 0] * x * x + precision[1, 1] * y * y + precision[2, 2] * z * z
                             + 2.0 * (precision[0, 1] * x * y + precision[0, 2] * x * z + precision[1, 2] * y * z))
                        if q <= cutoff:
                            weight += np.exp(-0.5 * q)
                    if weight > 0.0:
                        if is_filling:
                            columns[starts[pixel] + count] = (k * shape[1] + j) * shape[0] + i
                            weights[starts[pixel] + count] = weight
                        count += 1
        counts[pixel] = count
