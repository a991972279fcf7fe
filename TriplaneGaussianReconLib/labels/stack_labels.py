"""Labels of several stacks, brought together on one grid.

Each stack's labels are interpolated between its slices by signed distances (shape-based interpolation: Raya and Udupa,
IEEE TMI 1990).  Where several stacks carry labels, the one with the nearer slice counts the more.
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
    labelled = [_Labelled(stack) for stack in stacks if stack.layers is not None]
    count = channels.count - 1
    found = np.empty((max(channels.layer_numbers) + 1, *grid.shape), np.int16)
    maps = [[np.stack([signed_distance(channels.mask(layers, n + 1), config) for n in range(count)])
             for layers in np.moveaxis(each.layers, 1, 0)] for each in labelled]
    background = [n for n in range(count) if channels.is_background(n + 1)]
    for k in range(grid.shape[0]):
        total = np.zeros((count, *grid.shape[1:]), np.float32)
        points = grid.planes("k", [k]).points()[0]
        for each, distances in zip(labelled, maps, strict=True):
            total += each.at(points, distances)
        nothing = ~total.any(axis=0) | ~is_seen[k]
        for layer, first in enumerate(background):
            last = background[layer + 1] if layer + 1 < len(background) else count
            best = total[first:last].argmax(axis=0) + first + 1
            found[layer, k] = np.where(nothing, first + 1, best)
    return found


class _Labelled:
    """A stack that carries labels."""

    def __init__(self, stack: SliceStack) -> None:
        assert stack.layers is not None
        carries = np.ones(len(stack.planes), bool) if stack.labelled is None else stack.labelled
        self.planes, self.layers = stack.planes.subset(np.flatnonzero(carries)), stack.layers[:, carries]
        self._reach = 0.5 * (stack.thickness or 0.0)
        steps = np.stack([self.planes.normal, self.planes.row_step, self.planes.column_step], axis=1)
        self._to_pixels = np.linalg.inv(steps)

    def at(self, points: np.ndarray, distances: Sequence[np.ndarray]) -> np.ndarray:
        """Signed distances at points (row, column, 3), times how much they count; 0 outside of the stack.

        distances: of each slice, [label, row, column].
        """
        depth, row, column = np.moveaxis((points - self.planes.origins[0]) @ self._to_pixels.T, -1, 0)
        offsets = self.planes.offsets - self.planes.offsets[0]
        inside = ((depth >= -self._reach) & (depth <= offsets[-1] + self._reach) & (row >= -0.5) & (column >= -0.5)
                  & (row <= self.planes.rows - 0.5) & (column <= self.planes.columns - 0.5))
        result = np.zeros((len(distances[0]), *depth.shape), np.float32)
        if not inside.any():
            return result
        at = np.interp(depth[inside], offsets, np.arange(len(offsets)))
        before = np.minimum(at.astype(int), max(len(offsets) - 2, 0))
        share = (at - before).astype(np.float32)
        rows = np.rint(row[inside]).astype(int).clip(0, self.planes.rows - 1)
        columns = np.rint(column[inside]).astype(int).clip(0, self.planes.columns - 1)
        apart = np.minimum(share, 1.0 - share).clip(min=0.0)
        counts = 1.0 / (_NEAREST + apart) ** 2
        stacked = np.stack(distances)
        after = np.minimum(before + 1, len(offsets) - 1)
        found = (1.0 - share)[:, None] * stacked[before, :, rows, columns] + share[:, None] * stacked[after, :, rows,
                                                                                                      columns]
        result[:, inside] = (counts[:, None] * found).T
        return result
