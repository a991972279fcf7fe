"""Labels carried from the slices where they are drawn to others, slice by slice along the image's displacement.

What is carried are signed distances, one for each label, in steps of a fraction of a pixel.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from ..config.labels import LabelConfig
from ..config.registration import FlowConfig
from ..labels.channels import LabelChannels
from ..labels.signed_distance import signed_distance
from ..registration.optical_flow import both_ways
from ..runtime.image_operations import CPU
from ..runtime.threads import workers

LARGEST = 6.0
"""Pixels from a border beyond which all are alike: a label's share of a gap does not depend on how large it is."""

STEP = 1.0 / 20.0
"""Pixels between two values of a distance that is kept as int8."""


@dataclass(frozen=True)
class Motions:
    """Displacement from each slice to its neighbours.

    Attributes:
        before: [gap, row, column, 2] pixels along columns and rows: what lies at x on the slice after the gap lies at
            `x + before(x)` on the slice before it.
        after: the other way round.
    """

    before: np.ndarray
    after: np.ndarray

    @classmethod
    def between(cls, images: np.ndarray, config: FlowConfig) -> Motions:
        """Displacement between neighbours; images: [plane, row, column], intensities in [0, 1]."""
        with ThreadPoolExecutor(workers(CPU)) as pool:
            found = list(pool.map(lambda a, b: both_ways(a, b, config), images[:-1], images[1:]))
        empty = np.zeros((0, *images.shape[1:], 2), np.float32)
        after, before = (np.stack([empty, *some][1:]) if some else empty for some in
                         ([pair[0] for pair in found], [pair[1] for pair in found]))
        return cls(before, after)

    def from_plane(self, source: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
        """Planes after `source` up to `last`, or before it down to `last`, and where their pixels lie on `source`.

        Yields:
            Plane number and [row, column, 2] float32, pixels along columns and rows.
        """
        rows, columns = self.before.shape[1:3]
        pixels = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (columns, rows))), axis=-1)
        at, way = pixels, 1 if last > source else -1
        for plane in range(source + way, last + way, way):
            step = pixels + (self.before[plane - 1] if way > 0 else self.after[plane])
            at = _remapped(at, step)
            yield plane, at


@dataclass(frozen=True)
class DrawnLabels:
    """Labels on the slices where they are drawn.

    Attributes:
        planes: (drawn,) numbers of these slices, ascending.
        numbers: [layer, drawn, row, column] int16, see `LabelChannels.numbered`.
        channels: which number is which label.
        motions: between all slices of the stack.
        config: of signed distances.
    """

    planes: np.ndarray
    numbers: np.ndarray
    channels: LabelChannels
    motions: Motions
    config: LabelConfig

    def only(self, which: np.ndarray) -> DrawnLabels:
        """Return the same without what is drawn on other slices; which: (slice,) indices of drawn slices, ascending."""
        return replace(self, planes=self.planes[which], numbers=self.numbers[:, which])

    @cached_property
    def distances(self) -> np.ndarray:
        """[drawn, channel - 1, row, column] int8, signed distances on the drawn slices in steps of `STEP` pixels."""
        with ThreadPoolExecutor(workers(CPU)) as pool:
            found = np.stack(list(pool.map(self._distances_on, range(len(self.planes)))))
        return in_steps(self._with_ends(found))

    def _distances_on(self, drawn: int) -> np.ndarray:
        layer_of = self.channels.layer_numbers
        found = [signed_distance(self.numbers[layer_of[n], drawn] == n + 1, self.config)
                 for n in range(self.channels.count - 1)]
        # From the centres of pixels, not from their borders: so a line one pixel wide is not lost between two slices.
        return np.stack([distance + np.float32(0.5) * np.sign(distance) for distance in found])

    def _with_ends(self, distances: np.ndarray) -> np.ndarray:
        """Where a label is on the next drawn slice but not on this one, it is as far away as it is thick there: so it
        ends half-way between the two, whatever its size.
        """
        deepest = np.minimum(distances.max(axis=(2, 3)), LARGEST)
        beside = np.pad(deepest, ((1, 1), (0, 0)), constant_values=0.0)
        beside = np.maximum(beside[:-2], beside[2:])
        for drawn, label in np.argwhere((deepest < 0) & (beside > 0)):
            if not self.channels.is_background(int(label) + 1):
                distances[drawn, label] = min(-float(beside[drawn, label]), self.config.absent)
        return distances

    def places(self, drawn: int, planes: Sequence[int]) -> dict[int, np.ndarray]:
        """Find where the pixels of slices lie on a drawn one.

        Args:
            drawn: index of that slice among the drawn ones.
            planes: numbers of the others.

        Returns:
            Plane -> [row, column, 2] float32, see `Motions.from_plane`.
        """
        source, found = int(self.planes[drawn]), dict[int, np.ndarray]()
        for last, wanted in ((max(planes), {p for p in planes if p > source}),
                             (min(planes), {p for p in planes if p < source})):
            for plane, at in self.motions.from_plane(source, last) if wanted else ():
                if plane in wanted:
                    found[plane] = at
        return found

    def carried(self, drawn: int, at: np.ndarray) -> np.ndarray:
        """Carry the labels of a drawn slice to where its pixels come from `at`, see `places`.

        Returns:
            [channel - 1, row, column] int8 as `distances`.
        """
        return np.stack([_remapped(distance, at) for distance in self.distances[drawn]])


def in_steps(distance: np.ndarray) -> np.ndarray:
    """Signed distances in pixels -> int8 steps of `STEP`."""
    return np.clip(np.rint(np.clip(distance, -LARGEST, LARGEST) / STEP), -127, 127).astype(np.int8)


def _remapped(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Sample [row, column, ...] float32, or [row, column] int8, at positions [row, column, 2]; borders are repeated."""
    source = image.astype(np.float32) if image.dtype == np.int8 else image
    result = cv2.remap(source, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.rint(result).astype(np.int8) if image.dtype == np.int8 else result
