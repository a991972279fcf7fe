"""Parts of labels that interpolated signed distances would lose between two slices: thin ones that move, and ends.

Their area is made to change from slice to slice as it should, and no other label is let in where they are.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..config.labels import LabelConfig
from .channels import LabelChannels
from .matching import Group, best_move, groups_of, moved
from .signed_distance import signed_distance


@dataclass(frozen=True)
class Bounds:
    """Signed distances to such parts, on both slices and on every plane in the gap between them.

    Attributes:
        distances: [layer, plane, row, column] float32 pixels, positive inside; -inf far from all of them.
        channels: [layer, plane, row, column] int16, of which label the nearest of them is.
        layers: (channel,) which layer of these a channel belongs to.
    """

    distances: np.ndarray
    channels: np.ndarray
    layers: np.ndarray


def level(values: np.ndarray, count: float) -> float:
    """Between two values, so that about `count` of them are larger; equal ones stay together.

    Example:
        >>> level(np.array([3.0, 2.0, 2.0, 1.0]), 2.9)
        1.5
    """
    different, counts = np.unique(values, return_counts=True)
    larger = np.append(counts[::-1].cumsum()[::-1], 0)  # how many are at least as large as each of `different`
    first = int(np.abs(larger - count).argmin())
    ends = np.concatenate([[different[0] - 1.0], different, [different[-1] + 1.0]])
    return float(0.5 * (ends[first] + ends[first + 1]))


def ending(distance: np.ndarray, fraction: float, share: float, config: LabelConfig) -> np.ndarray:
    """Signed distance at `fraction` of the way from a slice to one where a part is no more.

    Args:
        distance: signed, on the slice where it still is.
        fraction: between 0 and 1.
        share: how much of its area times the width of the gap is left in the gap; 1/2 is what Cavalieri's rule counts.
        config: of labels.
    """
    end = share * (config.taper + 1.0) / config.taper
    area = (distance > 0).sum() * max(1.0 - (fraction / end) ** config.taper, 0.0)
    if area < 0.5:
        return np.full_like(distance, config.absent)
    return distance - np.float32(level(distance[distance > -1.0], area))


def share_left(area: float, before: float) -> float:
    """Share of the gap's width times `area` that is left of a part that ends, see `ending`.

    Args:
        area: pixels, on the last slice where it is.
        before: one gap of that width earlier, as the slice before tells.  If the area would reach 0 in the gap at the
            rate at which it has been falling, the part ends there.

    Example:
        >>> share_left(100.0, 100.0), share_left(100.0, 300.0)
        (0.5, 0.25)
    """
    return 0.5 * min(area / max(before - area, area), 1.0)


def between_moved(group: Group, distances: Sequence[np.ndarray], fraction: float, config: LabelConfig) -> np.ndarray:
    """Signed distance at `fraction` of the way between two slices, to a part of as many pixels as there should be.

    Both shapes are shifted onto each other.  What is left between them is met half-way: a pixel counts the more, the
    better its distances to both fit to the fraction.
    """
    to = [round(fraction * by) for by in group.move]
    back = [part - by for part, by in zip(to, group.move, strict=True)]
    first, second = (moved(distance + 64.0, (by[0], by[1])) - 64.0 for distance, by in
                     zip(distances, (to, back), strict=True))
    outside = [np.maximum(-each, 0.0) for each in (first, second)]
    score = (1.0 - fraction) * first + fraction * second
    score -= config.balance * np.abs((1.0 - fraction) * outside[0] - fraction * outside[1])
    score += 1e-3 * (first if fraction <= 0.5 else second)  # where all else is equal, the nearer slice
    area = (1.0 - fraction) * group.first.sum() + fraction * group.second.sum()
    found = score > level(np.round(score, 4), area)
    return signed_distance(found, config)


@dataclass(frozen=True)
class _Part:
    """A group of parts of `channel`, cut out of the slices at `window`; share: see `ending`."""

    channel: int
    window: tuple[slice, slice]
    group: Group
    share: float = 0.5

    @property
    def only_on(self) -> int | None:
        """The slice on which alone it is, 0 or 1."""
        return None if self.group.first.any() and self.group.second.any() else int(self.group.second.any())

    @property
    def mask(self) -> np.ndarray:
        """Where it is on either slice."""
        return self.group.first | self.group.second

    def at(self, fractions: Sequence[float], config: LabelConfig) -> np.ndarray:
        """Signed distances [plane, row, column]."""
        if self.only_on is not None:
            distance = signed_distance(self.mask, config)
            return np.stack([ending(distance, 1.0 - f if self.only_on else f, self.share, config) for f in fractions])
        distances = [signed_distance(mask, config) for mask in (self.group.first, self.group.second)]
        return np.stack([between_moved(self.group, distances, f, config) for f in fractions])


@dataclass(frozen=True)
class Course:
    """Label values on the two slices beside a gap, and on those before and after.

    Attributes:
        slices: two of [layer, row, column].
        beyond: likewise; None where there is none.
        ratios: width of the gap, divided by that of the gap before and of the one after.
        is_contiguous: whether the slices are as thick as the gap is wide: what is on one then stands for its whole
            thickness.
    """

    slices: Sequence[np.ndarray]
    beyond: Sequence[np.ndarray | None] = (None, None)
    ratios: Sequence[float] = (1.0, 1.0)
    is_contiguous: bool = False

    @classmethod
    def at(cls, gap: int, layers: np.ndarray, positions: np.ndarray, thickness: float, config: LabelConfig) -> Course:
        """Beside `gap`; layers: [layer, plane, row, column]; positions: (plane,) mm; thickness: mm, of the slices."""
        widths = np.diff(positions)
        at = (gap - 1, gap + 2)
        beyond = [layers[:, n] if 0 <= n < len(positions) else None for n in at]
        ratios = [float(widths[gap] / widths[n]) if 0 <= n < len(widths) else 1.0 for n in (gap - 1, gap + 1)]
        return cls([layers[:, gap], layers[:, gap + 1]], beyond, ratios,
                   bool(thickness >= config.contiguous * widths[gap]))

    def share_left(self, channels: LabelChannels, channel: int, side: int, window: tuple[slice, slice],
                   part: np.ndarray) -> float:
        """As `share_left`, of a part [row, column] of a label at `window` that is on the slice `side` alone."""
        layers, area = self.beyond[side], int(part.sum())
        if layers is None:
            return 0.5
        _, parts = cv2.connectedComponents(channels.mask(layers, channel).astype(np.uint8), connectivity=8)
        met = np.unique(parts[window][part])
        before = np.isin(parts, met[met > 0]).sum()
        return share_left(area, area + (before - area) * self.ratios[side])


def bounded(channels: LabelChannels, course: Course, planes: int, config: LabelConfig
            ) -> tuple[list[np.ndarray], list[Bounds | None]]:
    """Find the parts of labels that need bounds between two slices.

    Args:
        channels: of the labels.
        course: of label values.
        planes: in the gap, see `data.gap_sampling`.
        config: of labels.

    Returns:
        The slices without the parts that end between them, in whose place is what the other slice shows there; and
        bounds of parts that a network may correct, and of those that it may not, None where there are none.
    """
    layers = sorted({layer for layer, _ in channels.table})
    parts = [_without_takeovers(list(_parts(channels, course, layer, config)), course.slices[0].shape[1:])
             for layer in layers]
    rest = [each.copy() for each in course.slices]
    for layer, some in zip(layers, parts, strict=True):
        _replace_ends([each[layer] for each in course.slices], [each[layer] for each in rest], some)
    layer_of = np.array([0, *channels.layer_numbers])
    early = [[part for part in some if part.only_on is not None and not course.is_contiguous] for some in parts]
    late = [[part for part in some if part.only_on is None or course.is_contiguous] for some in parts]
    shape = (planes + 2, *course.slices[0].shape[1:])
    return rest, [_drawn(some, shape, layer_of, config) if any(some) else None for some in (early, late)]


def _drawn(parts: Sequence[Sequence[_Part]], shape: tuple[int, ...], layer_of: np.ndarray, config: LabelConfig
           ) -> Bounds:
    """Bounds for the parts of each layer; shape: [plane, row, column], both slices included."""
    distances = np.full((len(parts), *shape), -np.inf, np.float32)
    owners, fractions = np.zeros(distances.shape, np.int16), np.linspace(0.0, 1.0, shape[0]).tolist()
    for some, distance, owner in zip(parts, distances, owners, strict=True):
        for part in some:
            here, found = (slice(None), *part.window), part.at(fractions, config)
            owner[here] = np.where(found > distance[here], np.int16(part.channel), owner[here])
            distance[here] = np.maximum(distance[here], found)
    return Bounds(distances, owners, layer_of)


def _parts(channels: LabelChannels, course: Course, layer: int, config: LabelConfig) -> Iterator[_Part]:
    """Parts of the labels of `layer` that end, or move and would be lost."""
    for channel, (at, value) in enumerate(channels.table, start=1):
        if at != layer or not value:
            continue
        masks = [channels.mask(each, channel) for each in course.slices]
        everywhere = _window(masks[0] | masks[1], config)
        if everywhere is None:
            continue
        for group in groups_of(masks[0][everywhere], masks[1][everywhere], config):
            window = _window(group.first | group.second, config)
            assert window is not None
            group = replace(group, first=group.first[window], second=group.second[window])
            part = _Part(channel, _within(everywhere, window), group)
            if part.only_on is not None:
                yield replace(part, share=course.share_left(channels, channel, part.only_on, part.window, part.mask))
            elif not group.overlaps:
                yield part
            elif _is_lost(group, config):
                move, _ = best_move(group.first, group.second)
                yield replace(part, group=replace(group, move=move))


def _is_lost(group: Group, config: LabelConfig) -> bool:
    """Whether a thin group has too little left half-way between the slices if signed distances are interpolated."""
    first, second = (signed_distance(mask, config) for mask in (group.first, group.second))
    if max(first.max(), second.max()) > config.thin:
        return False
    return bool((first + second > 0).sum() < config.kept * 0.5 * (group.first.sum() + group.second.sum()))


def _without_takeovers(parts: list[_Part], shape: tuple[int, ...]) -> list[_Part]:
    """Leave out ends where another label begins: there one passes into the other."""
    ends = np.zeros((2, *shape), bool)
    for part in parts:
        if part.only_on is not None:
            ends[part.only_on][part.window] |= part.mask
    return [part for part in parts if part.only_on is None
            or 2 * (ends[1 - part.only_on][part.window] & part.mask).sum() < part.mask.sum()]


def _replace_ends(slices: Sequence[np.ndarray], rest: Sequence[np.ndarray], parts: Sequence[_Part]) -> None:
    """Put into `rest` [row, column], in the place of parts that end, what the other of both `slices` shows there."""
    ends = np.zeros((2, *slices[0].shape), bool)
    for part in parts:
        if part.only_on is not None:
            ends[part.only_on][part.window] |= part.mask
    for side in (0, 1):
        rest[side][ends[side]] = np.where(ends[1 - side], 0, slices[1 - side])[ends[side]]


def _window(mask: np.ndarray, config: LabelConfig) -> tuple[slice, slice] | None:
    """The part of a slice [row, column] that holds `mask`, and as far around it as distances matter."""
    margin, ends = int(np.ceil(config.largest)), [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    if not len(ends[0]):
        return None
    rows, columns = (slice(max(int(each[0]) - margin, 0), int(each[-1]) + margin + 1) for each in ends)
    return rows, columns


def _within(outer: tuple[slice, slice], inner: tuple[slice, slice]) -> tuple[slice, slice]:
    """The window `inner` of the window `outer` of a slice."""
    rows, columns = (slice(o.start + i.start, min(o.start + i.stop, o.stop)) for o, i in
                     zip(outer, inner, strict=True))
    return rows, columns
