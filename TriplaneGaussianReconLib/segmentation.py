"""Labels <-> semantic channels, and labels between two trusted slices.

A label becomes an occupancy in [0, 1]: 1/2 on its border, rising to 1 and falling to 0 within BAND pixels of it, linear
in the signed distance.  Occupancies mix linearly, so a Gaussian can carry them, and segments stay independent of each
other and may overlap.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from .correspondence import Correspondence, warp
from .images import Segment

# Distance from the border (pixels) at which the occupancy reaches 0 or 1.
BAND = 3.0
# Signed distance (pixels) that a slice without the label counts as, so that a label ends part of the way towards it.
ABSENT = -4.0
# On a slice without any label the background counts as so many gap widths inside: an end, steeper than it is deep.
RECESSION = 3.0
# Pixels around both outlines in which a label can appear between them; a label does not move farther across a gap.
SEARCH = 12
# Labels that one Gaussian can carry; where more meet, those farthest from it are left out.
MOST_SLOTS = 5


@dataclass(frozen=True)
class LabelChannels:
    """Which channel is which label.  Channel 0 is the image; each layer has a background channel, then its segments."""

    segments: tuple[Segment, ...]

    @cached_property
    def table(self) -> list[tuple[int, int]]:
        """(layer, label value) of channels 1, 2, ...; value 0 is the layer's background."""
        layers = sorted({segment.layer for segment in self.segments})
        return [(layer, value) for layer in layers
                for value in (0, *(s.value for s in self.segments if s.layer == layer))]

    def is_background(self, channel: int) -> bool:
        """Whether `channel` is the background of a layer."""
        return self.table[channel - 1][1] == 0

    @property
    def count(self) -> int:
        """Number of channels, the image included."""
        return 1 + len(self.table)

    def mask(self, layers: np.ndarray, channel: int) -> np.ndarray:
        """Where `channel` is in `layers` [layer, ...] of label values; boolean [...]."""
        layer, value = self.table[channel - 1]
        if value:
            return layers[layer] == value
        return ~np.isin(layers[layer], [v for at, v in self.table if at == layer and v])

    def one_hot(self, layers: np.ndarray) -> np.ndarray:
        """[layer, plane, row, column] label values -> [plane, channel - 1, row, column] float32 masks."""
        return np.stack([self.mask(layers, n) for n in range(1, self.count)], axis=1).astype(np.float32)

    def decode(self, occupancies: np.ndarray, layer_count: int, dtype: np.dtype) -> np.ndarray:
        """[plane, channel, row, column] (image included) -> [layer, plane, row, column] label values.

        In each layer the label of largest occupancy wins, the background on a tie.
        """
        planes, _, rows, columns = occupancies.shape
        decoded = np.zeros((layer_count, planes, rows, columns), dtype)
        for layer in {layer for layer, _ in self.table}:
            of_layer = [n for n, (at, _) in enumerate(self.table, start=1) if at == layer]
            values = np.array([self.table[n - 1][1] for n in of_layer], dtype)
            decoded[layer] = values[occupancies[:, of_layer[0]:of_layer[-1] + 1].argmax(axis=1)]
        return decoded


@dataclass(frozen=True)
class Occupancies:
    """Sparse occupancies on one plane: parallel arrays, one entry per (pixel, channel) that is not 0.

    pixels: flat index row * columns + column.  trends: change per whole gap, along the gated displacement.
    """

    pixels: np.ndarray
    channels: np.ndarray
    values: np.ndarray
    trends: np.ndarray

    def slots(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Channels, values, trends (n, MOST_SLOTS) of the pixels `wanted` (n,); unused slots are 0."""
        order = np.lexsort((-self.values, self.pixels))
        unique, row, counts = np.unique(self.pixels[order], return_inverse=True, return_counts=True)
        rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = rank < MOST_SLOTS
        # Which row of the tables a wanted pixel has; the last, empty row serves pixels without a label.
        at = np.searchsorted(unique, wanted)
        at[~np.isin(wanted, unique)] = len(unique)

        def table(source: np.ndarray) -> np.ndarray:
            filled = np.zeros((len(unique) + 1, MOST_SLOTS), source.dtype)
            filled[row[kept], rank[kept]] = source[order][kept]
            return filled[at]

        return table(self.channels), table(self.values), table(self.trends)


def signed_distance(mask: np.ndarray, everywhere: float = -ABSENT) -> np.ndarray:
    """Signed distance (Euclidean, nearly) to the border of `mask` [row, column], in pixels, positive inside.

    Without a border it is ABSENT where the mask is nowhere, and `everywhere` where it is everywhere.
    """
    if mask.all() or not mask.any():
        return np.full(mask.shape, everywhere if mask.any() else ABSENT, np.float32)
    inside = np.pad(mask.astype(np.uint8), 1, mode="edge")
    # The 5 x 5 chamfer, half a pixel off at most: OpenCV's exact transform does not repeat its last bits.
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    distance = distance[1:-1, 1:-1]
    return (distance - 0.5 * np.sign(distance)).astype(np.float32)


def occupancy(distance: np.ndarray) -> np.ndarray:
    """Signed distance (pixels) -> occupancy in [0, 1]."""
    return np.clip(0.5 + distance / (2.0 * BAND), 0.0, 1.0)


def on_slice(channels: LabelChannels, layers: np.ndarray) -> Occupancies:
    """Occupancies of one trusted slice; layers: [layer, row, column] label values."""
    entries = []
    for channel in range(1, channels.count):
        mask = channels.mask(layers, channel)
        box = _box(mask != channels.is_background(channel))
        if box is not None:
            here = occupancy(signed_distance(mask[box]))
            entries.append(_entry(channel, box, layers.shape[2], here, np.zeros_like(here)))
    return _joined(entries)


def between(channels: LabelChannels, first: np.ndarray, second: np.ndarray, found: Correspondence, gap: int,
            fractions: Sequence[float], reach: float, width: float) -> list[Occupancies]:
    """Occupancies at `fractions` of a gap between two slices `first`, `second` [layer, row, column] of label values.

    The signed distances are interpolated straight through, along the displacement, and along the gated displacement,
    and the three are averaged: follows what moves, without being led astray where the image does not show the border.
    reach: half the depth (fraction of the gap) over which the trends are taken; trends are per whole gap, along the
    gated displacement.  width: of the gap, in pixels.
    """
    everywhere = max(RECESSION * width, -ABSENT)
    full, gated = found.displacement[gap], found.gated_at(gap)
    entries: list[list[Occupancies]] = [[] for _ in fractions]
    for channel in range(1, channels.count):
        a, b = channels.mask(first, channel), channels.mask(second, channel)
        box = _box((a != channels.is_background(channel)) | (b != channels.is_background(channel)))
        if box is None:
            continue
        ends = signed_distance(a[box], everywhere), signed_distance(b[box], everywhere)
        moves = full[box], gated[box]
        for n, fraction in enumerate(fractions):
            here = _interpolated(ends, moves, fraction)
            before, after = (_interpolated(ends, moves, fraction + side) for side in (-reach, reach))
            trend = (warp(occupancy(after), moves[1], reach, cv2.INTER_LINEAR)
                     - warp(occupancy(before), moves[1], -reach, cv2.INTER_LINEAR)) / (2.0 * reach)
            entries[n].append(_entry(channel, box, a.shape[1], occupancy(here), trend))
    return [_joined(each) for each in entries]


def _interpolated(ends: tuple[np.ndarray, np.ndarray], moves: tuple[np.ndarray, np.ndarray], fraction: float
                  ) -> np.ndarray:
    """Signed distance at `fraction`: mean of straight, along the full and along the gated displacement."""
    mixed = (1.0 - fraction) * ends[0] + fraction * ends[1]
    for move in moves:
        mixed = mixed + ((1.0 - fraction) * warp(ends[0], move, -fraction, cv2.INTER_LINEAR)
                         + fraction * warp(ends[1], move, 1.0 - fraction, cv2.INTER_LINEAR))
    return mixed / 3.0


def _box(present: np.ndarray) -> tuple[slice, slice] | None:
    """The part of a slice [row, column] that holds `present`, with SEARCH pixels around it; None if there is none."""
    rows, columns = np.flatnonzero(present.any(axis=1)), np.flatnonzero(present.any(axis=0))
    if not len(rows):
        return None
    return (slice(max(rows[0] - SEARCH, 0), min(rows[-1] + SEARCH + 1, present.shape[0])),
            slice(max(columns[0] - SEARCH, 0), min(columns[-1] + SEARCH + 1, present.shape[1])))


def _entry(channel: int, box: tuple[slice, slice], columns: int, values: np.ndarray, trends: np.ndarray) -> Occupancies:
    rows_used, columns_used = np.nonzero((values > 0) | (trends != 0))
    pixels = (rows_used + box[0].start) * columns + columns_used + box[1].start
    return Occupancies(pixels, np.full(len(pixels), channel, np.int32), values[rows_used, columns_used],
                       trends[rows_used, columns_used])


def _joined(entries: list[Occupancies]) -> Occupancies:
    if not entries:
        return Occupancies(np.zeros(0, int), np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32))
    return Occupancies(*(np.concatenate([getattr(e, name) for e in entries])
                         for name in ("pixels", "channels", "values", "trends")))
