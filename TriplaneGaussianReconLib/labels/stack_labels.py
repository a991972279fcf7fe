"""Labels of several stacks, brought together on one grid.

Each stack's labels are interpolated between its slices by signed distances (shape-based interpolation: Raya and Udupa,
IEEE TMI 1990).  Where several stacks carry a label, the one with the nearer slice counts the more.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..config.labels import LabelConfig
from ..data.geometry import Grid
from ..data.observations import SliceStack
from .channels import LabelChannels
from .signed_distance import signed_distance

_NEAREST = 0.5  # of a gap: slices nearer than this share of it count alike


def labels_of_stacks(stacks: Sequence[SliceStack], channels: LabelChannels, config: LabelConfig, grid: Grid,
                     is_seen: np.ndarray) -> np.ndarray:
    """Find labels on all voxels of a grid.

    Args:
        stacks: Where they lie in the world; those without labels are passed over.
        channels: Of the labels.
        config: Of signed distances.
        grid: Even.
        is_seen: [k, j, i] bool; elsewhere there are no labels.

    Returns:
        [layer, k, j, i] int16, as of `LabelChannels.numbered`.
    """
    labelled = [_Labelled(stack, channels, config) for stack in stacks
                if stack.layers is not None and (stack.labelled is None or stack.labelled.any())]
    found = np.empty((max(channels.layer_numbers) + 1, *grid.shape), np.int16)
    starts = [n for n in range(1, channels.count) if channels.is_background(n)]
    for k in range(grid.shape[0]):
        points = grid.planes("k", [k]).points()[0]
        total, counts = (np.zeros((channels.count, *grid.shape[1:]), np.float32) for _ in range(2))
        for each in labelled:
            each.add(points, total, counts)
        distances = np.where(counts > 0, total / np.maximum(counts, 1e-6), -np.inf)
        for layer, first in enumerate(starts):
            distances[first] = 0.0  # a label is where its distance is above that
            last = starts[layer + 1] if layer + 1 < len(starts) else channels.count
            best = distances[first:last].argmax(axis=0) + first
            found[layer, k] = np.where(is_seen[k], best, first)
    return found


class _Labelled:
    """A stack that carries labels."""

    def __init__(self, stack: SliceStack, channels: LabelChannels, config: LabelConfig) -> None:
        """Find signed distances; a segment that is on none of its slices is not known to be absent."""
        assert stack.layers is not None
        carries = np.ones(len(stack.planes), bool) if stack.labelled is None else stack.labelled
        self._planes = stack.planes.subset(np.flatnonzero(carries))
        slices = list(np.moveaxis(stack.layers[:, carries], 1, 0))
        masks = {n: [channels.mask(layers, n) for layers in slices] for n in range(1, channels.count)
                 if not channels.is_background(n)}
        self._distances = {n: np.stack([signed_distance(mask, config) for mask in some]) for n, some in masks.items()
                           if any(mask.any() for mask in some)}
        self._reach = 0.5 * (stack.thickness or 0.0)
        steps = np.stack([self._planes.normal, self._planes.row_step, self._planes.column_step], axis=1)
        self._to_pixels = np.linalg.inv(steps)

    def add(self, points: np.ndarray, total: np.ndarray, counts: np.ndarray) -> None:
        """Add signed distances at points (row, column, 3), times how much they count, to `total`, and how much they
        count to `counts`, both [channel, row, column]; nothing outside of the stack.
        """
        planes = self._planes
        depth, row, column = np.moveaxis((points - planes.origins[0]) @ self._to_pixels.T, -1, 0)
        offsets = planes.offsets - planes.offsets[0]
        inside = ((depth >= -self._reach) & (depth <= offsets[-1] + self._reach) & (row >= -0.5) & (column >= -0.5)
                  & (row <= planes.rows - 0.5) & (column <= planes.columns - 0.5))
        if not inside.any():
            return
        at = np.interp(depth[inside], offsets, np.arange(len(offsets)))
        before = np.minimum(at.astype(int), max(len(offsets) - 2, 0))
        after, share = np.minimum(before + 1, len(offsets) - 1), (at - before).astype(np.float32)
        rows = np.rint(row[inside]).astype(int).clip(0, planes.rows - 1)
        columns = np.rint(column[inside]).astype(int).clip(0, planes.columns - 1)
        count = 1.0 / (_NEAREST + np.minimum(share, 1.0 - share).clip(min=0.0)) ** 2
        for n, distances in self._distances.items():
            total[n][inside] += count * ((1.0 - share) * distances[before, rows, columns]
                                         + share * distances[after, rows, columns])
            counts[n][inside] += count
