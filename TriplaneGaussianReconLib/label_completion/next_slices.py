"""On which slices labels should be drawn next: where the filled ones are in doubt, and one more drawing helps most."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_GROWTH = 0.7  # doubt grows with this power of the distance to the nearest drawn slice


def next_slices(doubt: Mapping[int, float], drawn: np.ndarray, depths: np.ndarray, count: int = 5) -> tuple[int, ...]:
    """Choose slices one after another, each as if labels had been drawn on those before it.

    A drawn slice takes away its own doubt, and part of that of the slices to which it then is the nearest.

    Args:
        doubt: of each slice that is filled.
        drawn: (slice,) numbers of the drawn ones.
        depths: (plane,) of all slices, in any unit.
        count: how many to choose at most.

    Returns:
        Numbers of slices, the most useful first.

    Example:
        >>> next_slices({1: 1.0, 2: 2.0, 3: 1.0, 5: 0.9, 6: 1.8, 7: 0.9}, np.array([0, 4, 8]), np.arange(9.0), 2)
        (2, 6)
    """
    planes = np.array(sorted(doubt))
    left = np.array([doubt[plane] for plane in planes.tolist()])
    nearest = np.abs(depths[planes][:, None] - depths[drawn]).min(axis=1)
    chosen: list[int] = []
    while len(chosen) < count and (left > 0).any():
        apart = np.abs(depths[planes][:, None] - depths[planes])
        after = np.minimum(apart, nearest[:, None])  # [plane, chosen plane] to the nearest drawn slice
        share = (after / nearest[:, None]) ** _GROWTH
        best = int(((1.0 - share) * left[:, None]).sum(axis=0).argmax())
        chosen.append(int(planes[best]))
        left, nearest = left * share[:, best], np.maximum(after[:, best], 1e-9)
    return tuple(chosen)
