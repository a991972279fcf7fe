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
import torch
from torch import Tensor

from ..data.gap_sampling import evenly, layer_stride
from ..data.images import Segment
from ..runtime.image_operations import constants, sampled

# Distance from the border (pixels) at which the occupancy reaches 0 or 1.
BAND = 3.0
# Signed distance (pixels) that a slice without the label counts as, so that a label ends part of the way towards it.
ABSENT = -4.0
# On a slice without any label the background counts as this times the cubed gap (pixels) inside.  In narrow gaps labels
# end rounded; in wide ones they are gone half-way, as most are that end between thick slices.
RECESSION = 0.75
# Pixels around both outlines in which a label can appear between them; a label does not move farther across a gap.
SEARCH = 12
# Boxes start and end at multiples of so many pixels, so that many are of one size and the background's holds them all.
GRAIN = 8
# Signed distance (pixels) beyond which one is as good as another where what was learnt and what follows mix.
LARGEST = 6.0
# How much what was learnt counts, next to what follows from the outlines alone.
LEARNT_SHARE = 0.75
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

    def numbered(self, layers: np.ndarray) -> np.ndarray:
        """[layer, ...] label values -> [layer with segments, ...] int16, which channel each pixel of it is."""
        return np.stack([np.maximum.reduce([
            np.where(self.mask(layers, n), np.int16(n), np.int16(0))
            for n, (at, _) in enumerate(self.table, start=1) if at == layer])
            for layer in sorted({layer for layer, _ in self.table})])

    def one_hot(self, layers: np.ndarray) -> np.ndarray:
        """[layer, plane, row, column] label values -> [plane, channel - 1, row, column] float32 masks."""
        return np.stack([self.mask(layers, n) for n in range(1, self.count)], axis=1).astype(np.float32)

    def decode(self, occupancies: Tensor | np.ndarray, layer_count: int, dtype: np.dtype) -> np.ndarray:
        """[plane, channel, row, column] (image included) -> [layer, plane, row, column] label values.

        In each layer the label of largest occupancy wins, the background on a tie.  Of a tensor on a device only the
        winners leave it.
        """
        occupancies = torch.as_tensor(occupancies)
        layers = sorted({layer for layer, _ in self.table})
        winners = torch.stack([self._winners(occupancies, layer) for layer in layers]).cpu().numpy()
        decoded = np.zeros((layer_count, *winners.shape[1:]), dtype)
        decoded[layers] = np.array([0, *(value for _, value in self.table)], dtype)[winners]
        return decoded

    def _winners(self, occupancies: Tensor, layer: int) -> Tensor:
        """[plane, row, column] the first channel of `layer` that has the largest occupancy."""
        background, *others = (n for n, (at, _) in enumerate(self.table, start=1) if at == layer)
        numbers = torch.uint8 if self.count <= 256 else torch.int16
        largest = occupancies[:, background].clone()
        winners = torch.full_like(largest, background, dtype=numbers)
        # One channel after the other: `argmax` along an inner axis is many times slower on a CPU.
        for channel in others:  # as the channels ascend, the last that was larger is the largest number
            larger = (occupancies[:, channel] > largest).to(numbers)
            torch.maximum(winners, larger.mul_(channel), out=winners)
            torch.maximum(largest, occupancies[:, channel], out=largest)
        return winners


@dataclass(frozen=True)
class Occupancies:
    """Sparse occupancies on one plane: parallel arrays, one entry per (pixel, channel) that is not 0.

    pixels: flat index row * columns + column.  trends: change per whole gap, along the gated displacement.
    """

    pixels: Tensor
    channels: Tensor
    values: Tensor
    trends: Tensor

    def slots(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Channels, values, trends (pixel, MOST_SLOTS) of all `size` pixels, largest value first; unused slots are 0.
        """
        # One integer says it all: first by pixel, then by falling value, whose bits sort as it does (none is negative).
        key = (self.pixels.long() << 32) - self.values.view(torch.int32)
        order = key.sort(stable=True).indices
        pixels = self.pixels[order]
        number = torch.arange(len(order), device=pixels.device)
        starts = torch.ones_like(pixels, dtype=torch.bool)
        starts[1:] = pixels[1:] != pixels[:-1]
        rank = number - torch.where(starts, number, 0).cummax(dim=0).values if len(order) else number
        # What is too much goes to one place more, which is thrown away.
        to = torch.where(rank < MOST_SLOTS, pixels * MOST_SLOTS + rank, size * MOST_SLOTS)

        def table(source: Tensor) -> Tensor:
            filled = source.new_zeros(size * MOST_SLOTS + 1)
            filled[to] = source[order]
            return filled[:-1].reshape(size, MOST_SLOTS)

        return table(self.channels), table(self.values), table(self.trends)


@dataclass(frozen=True)
class Boxed:
    """Signed distances of labels on one or more slices, each label only in the part of the slices where it can appear.

    boxes: (box, 4) int64, channel, first row, first column, number of columns of each box.  sizes: (box,) pixels.
    distances: [slice, pixel] float32, the pixels of one box after another, row by row.  columns: of the whole slice.
    """

    boxes: np.ndarray
    sizes: np.ndarray
    distances: np.ndarray
    columns: int


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


def boxed(channels: LabelChannels, slices: Sequence[np.ndarray], width: float = 0.0) -> Boxed:
    """Signed distances on `slices`, each [layer, row, column] of label values, in boxes common to all of them.

    width: of the gap between the slices, in pixels.
    """
    everywhere = max(RECESSION * width ** 3, -ABSENT)
    boxes, sizes, distances = [], [], []
    for channel in range(1, channels.count):
        masks = [channels.mask(layers, channel) for layers in slices]
        box = _box(np.any([mask != channels.is_background(channel) for mask in masks], axis=0))
        if box is not None:
            boxes.append((channel, box[0].start, box[1].start, box[1].stop - box[1].start))
            distances.append(np.stack([signed_distance(mask[box], everywhere).ravel() for mask in masks]))
            sizes.append(distances[-1].shape[1])
    return Boxed(np.array(boxes, np.int64).reshape(-1, 4), np.array(sizes, np.int64),
                 np.concatenate([np.zeros((len(slices), 0), np.float32), *distances], axis=1), slices[0].shape[-1])


def occupancy(distance: Tensor) -> Tensor:
    """Signed distance (pixels) -> occupancy in [0, 1]."""
    return (0.5 + distance / (2.0 * BAND)).clamp(0.0, 1.0)


def on_slice(outlines: Boxed, device: torch.device) -> Occupancies:
    """Occupancies of one trusted slice, on `device`."""
    pixels = _Pixels.of(outlines, device)
    values = occupancy(torch.from_numpy(outlines.distances[0]).to(device))
    return pixels.occupied(values, torch.zeros_like(values))


def between(outlines: Boxed, full: Tensor, gated: Tensor, planes: int, learnt: Tensor | None = None
            ) -> list[Occupancies]:
    """Occupancies between two slices, on those of so many planes that carry Gaussians, see `gap_layout`.

    outlines: of the two slices.  full, gated: [row, column, 2] displacement across the gap, in pixels; its device is
    where the work is done.  learnt: [plane, pixel] signed distances on all planes, see `label_prior`.

    The signed distances are interpolated straight through, along the displacement, and along the gated displacement,
    and the three are averaged: follows what moves, without being led astray where the image does not show the border.
    What was learnt corrects that.
    Trends are per whole gap, along the gated displacement, from the plane before to the one after.
    """
    pixels = _Pixels.of(outlines, full.device)
    ends = torch.from_numpy(outlines.distances).to(full.device)
    moves = torch.stack([full, gated]).flatten(1, 2)[:, pixels.numbers] * pixels.unit
    steps = planes + 1
    inner = [pixels.interpolated(ends, moves, fraction) for fraction in evenly(planes).tolist()]
    if learnt is not None:
        inner = [_corrected(*each) for each in zip(inner, learnt, strict=True)]
    course = occupancy(torch.stack([ends[0], *inner, ends[1]]))
    backwards_and_forwards = constants([-1 / steps, 1 / steps], full.device)[:, None, None, None] * moves[1:]
    result = []
    for n in range(1, steps, layer_stride(planes)):
        before, after = pixels.sampled(course[n - 1::2][:2], backwards_and_forwards)[:, 0]
        result.append(pixels.occupied(course[n], (after - before) * (0.5 * steps)))
    return result


@dataclass(frozen=True)
class _Pixels:
    """All pixels of all boxes, one box after another, so that many small labels are worked on together.

    numbers: flat index in the slice.  channels: of the box.  centres: (pixel, 2), where each lies in its box, and
    unit: (pixel, 2), how long one pixel is, both as for `image_operations.sampled`.  boxes: (rows, columns) of each.
    """

    numbers: Tensor
    channels: Tensor
    centres: Tensor
    unit: Tensor
    boxes: list[tuple[int, int]]

    @classmethod
    def of(cls, outlines: Boxed, device: torch.device) -> _Pixels:
        boxes, sizes = outlines.boxes, outlines.sizes
        height = sizes // boxes[:, 3]
        table = np.column_stack([boxes, height, np.cumsum(sizes) - sizes]).astype(np.int32)
        on_device, lengths = (torch.from_numpy(a).to(device, non_blocking=True) for a in (table, sizes))
        channel, top, left, columns, rows, first = (
            each.repeat_interleave(lengths, output_size=int(sizes.sum())) for each in on_device.T.contiguous())
        inside = torch.arange(len(first), dtype=torch.int32, device=device) - first
        row = torch.div(inside, columns, rounding_mode="floor")
        column = inside - row * columns
        unit = 2.0 / (torch.stack([columns, rows], dim=1) - 1).clamp(min=1)
        return cls((top + row) * outlines.columns + left + column, channel,
                   torch.stack([column, row], dim=1) * unit - 1.0, unit,
                   list(zip(height.tolist(), boxes[:, 3].tolist(), strict=True)))

    def interpolated(self, ends: Tensor, moves: Tensor, fraction: float) -> Tensor:
        """Signed distance at `fraction`: mean of straight and along the displacements `moves` [move, pixel, 2]."""
        shares = constants([1.0 - fraction, fraction], ends.device)[:, None]
        along = self.sampled(ends, torch.stack([-fraction * moves, (1.0 - fraction) * moves]))
        first, second = (ends + along[:, 0] + along[:, 1]) * shares
        return (first + second) / 3.0

    def sampled(self, values: Tensor, moves: Tensor) -> Tensor:
        """Bilinear samples [n, move, pixel] of `values` [n, pixel] each box apart, its border repeated, where `moves`
        [n, move, pixel, 2] lead from each pixel."""
        at, samples, first = self.centres + moves, [values.new_zeros(*moves.shape[:2], 0)], 0
        for rows, columns in self.boxes:
            here = slice(first, first + rows * columns)
            images = values[:, None, here].expand(-1, moves.shape[1], -1).reshape(-1, 1, rows, columns)
            found = sampled(images, at[:, :, here].reshape(-1, rows, columns, 2), "bilinear")
            samples.append(found.reshape(*moves.shape[:2], -1))
            first = here.stop
        return torch.cat(samples, dim=2)

    def occupied(self, values: Tensor, trends: Tensor) -> Occupancies:
        """The entries that are not 0."""
        kept = ((values > 0) | (trends != 0)).nonzero()[:, 0]
        return Occupancies(self.numbers[kept], self.channels[kept], values[kept], trends[kept])


def _corrected(distance: Tensor, learnt: Tensor) -> Tensor:
    """Signed distances mixed, as far as they matter."""
    return torch.lerp(distance.clamp(-LARGEST, LARGEST), learnt.clamp(-LARGEST, LARGEST), LEARNT_SHARE)


def _box(present: np.ndarray) -> tuple[slice, slice] | None:
    """The part of a slice [row, column] that holds `present`, with SEARCH pixels around it; None if there is none."""
    rows, columns = np.flatnonzero(present.any(axis=1)), np.flatnonzero(present.any(axis=0))
    if not len(rows):
        return None
    return _widened(rows[0], rows[-1], present.shape[0]), _widened(columns[0], columns[-1], present.shape[1])


def _widened(first: int, last: int, count: int) -> slice:
    """The pixels `first` to `last` of `count`, and SEARCH or more around them."""
    start, stop = (first - SEARCH) // GRAIN, -(-(last + SEARCH + 1) // GRAIN)
    return slice(max(start * GRAIN, 0), min(stop * GRAIN, count))
