"""Signed distances to the borders of labels, each label only in the part of a slice where it can appear."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..config.labels import LabelConfig
from .channels import LabelChannels


@dataclass(frozen=True)
class Boxed:
    """Signed distances of labels on one or more slices, each label in a box of its own.

    Attributes:
        boxes: (box, 4) int64, channel, first row, first column and number of columns.
        sizes: (box,) pixels.
        distances: [slice, pixel] float32 pixels, one box after another, each row by row.
        columns: of the whole slice.
    """

    boxes: np.ndarray
    sizes: np.ndarray
    distances: np.ndarray
    columns: int


def signed_distance(mask: np.ndarray, config: LabelConfig) -> np.ndarray:
    """Signed distance (nearly Euclidean) to the border of a mask.

    Args:
        mask: [row, column] bool.
        config: its `absent` stands for a mask that is nowhere, the opposite for one that is everywhere.

    Returns:
        [row, column] float32 pixels, positive inside.
    """
    if mask.all() or not mask.any():
        return np.full(mask.shape, -config.absent if mask.any() else config.absent, np.float32)
    padded = np.pad(mask.astype(np.uint8), 1, mode="edge")
    # The 5 x 5 chamfer, half a pixel off at most: OpenCV's exact transform does not repeat its last bits.
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - padded, cv2.DIST_L2, 5)
    distance = distance[1:-1, 1:-1]
    return (distance - 0.5 * np.sign(distance)).astype(np.float32)


def boxed(channels: LabelChannels, slices: Sequence[np.ndarray], config: LabelConfig,
          visible: Sequence[np.ndarray] | None = None) -> Boxed:
    """Signed distances of all labels on one or more slices, in boxes common to all of them.

    Args:
        channels: of the labels.
        slices: [layer, row, column] of label values each.
        config: how large the boxes are, and what counts where a label is absent.
        visible: as `slices`; the boxes hold what is on any of these, by default on `slices`.
    """
    boxes, sizes, distances = [], [], []
    for channel in range(1, channels.count):
        present = [channels.mask(layers, channel) != channels.is_background(channel) for layers in visible or slices]
        box = _box(np.any(present, axis=0), config)
        if box is not None:
            masks = (channels.mask(layers, channel) for layers in slices)
            boxes.append((channel, box[0].start, box[1].start, box[1].stop - box[1].start))
            distances.append(np.stack([signed_distance(mask[box], config).ravel() for mask in masks]))
            sizes.append(distances[-1].shape[1])
    return Boxed(np.array(boxes, np.int64).reshape(-1, 4), np.array(sizes, np.int64),
                 np.concatenate([np.zeros((len(slices), 0), np.float32), *distances], axis=1), slices[0].shape[-1])


def _box(present: np.ndarray, config: LabelConfig) -> tuple[slice, slice] | None:
    """The part of a slice [row, column] that holds `present`, with a margin to search; None if there is none."""
    rows, columns = np.flatnonzero(present.any(axis=1)), np.flatnonzero(present.any(axis=0))
    if not len(rows):
        return None
    return (_widened(rows[0], rows[-1], present.shape[0], config),
            _widened(columns[0], columns[-1], present.shape[1], config))


def _widened(first: int, last: int, count: int, config: LabelConfig) -> slice:
    """The pixels `first` to `last` of `count`, and `config.search` or more around them."""
    start, stop = (first - config.search) // config.grain, -(-(last + config.search + 1) // config.grain)
    return slice(max(start * config.grain, 0), min(stop * config.grain, count))
