"""Labels between two observed slices: their signed distances are interpolated, straight and along the displacement.

Interpolating signed distances is known as shape-based interpolation (Raya and Udupa, IEEE TMI 1990).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config.labels import LabelConfig
from ..data.gap_sampling import evenly, layer_stride
from ..runtime.image_operations import constants, sampled
from .bounds import Bounds
from .occupancy import Occupancies, occupancy
from .signed_distance import Boxed


def on_slice(outlines: Boxed, config: LabelConfig, device: torch.device) -> Occupancies:
    """Occupancies of one observed slice, on `device`."""
    pixels = _Pixels.of(outlines, device)
    values = occupancy(torch.from_numpy(outlines.distances[0]).to(device), config.band)
    return pixels.occupied(values, torch.zeros_like(values))


def between(outlines: Boxed, full: Tensor, gated: Tensor, planes: int, config: LabelConfig,
            from_network: Tensor | None = None, bounds: Sequence[Bounds | None] = (None, None)) -> list[Occupancies]:
    """Occupancies between two slices, on those of the planes in the gap that carry Gaussians.

    Signed distances are interpolated straight through, along the displacement, and along the gated displacement; their
    mean follows what moves, without being misled where the image does not show the border.  The network's signed
    distances correct that.

    Args:
        outlines: of the two slices.
        full: [row, column, 2] displacement across the gap, pixels; on the device where the work is done.
        gated: the same, shortened where its confidence is low.
        planes: number of planes in the gap, see `data.gap_sampling`.
        config: of labels.
        from_network: [plane, pixel] signed distances on all planes, see `LabelSuperResolution`, or None.
        bounds: for parts of labels that would be lost: those that the network may correct, and those that it may not.

    Returns:
        One per layer of Gaussians.  Trends are per whole gap, along the gated displacement.
    """
    pixels = _Pixels.of(outlines, full.device)
    ends = torch.from_numpy(outlines.distances).to(full.device)
    moves = torch.stack([full, gated]).flatten(1, 2)[:, pixels.numbers] * pixels.unit
    steps = planes + 1
    early, late = (pixels.found(each, planes + 2) for each in bounds)
    inner = [pixels.interpolated(ends, moves, fraction) for fraction in evenly(planes).tolist()]
    areas = np.add.reduceat(outlines.distances > 0, np.cumsum(outlines.sizes) - outlines.sizes, axis=1, dtype=np.int64
                            ) if len(outlines.sizes) else np.zeros((2, 0), np.int64)
    inner = [pixels.kept(pixels.enlarged(distance, areas, fraction, config, *spared), *bound) for distance, fraction,
             bound, spared in zip(inner, evenly(planes).tolist(), early[1:-1], late[1:-1], strict=True)]
    if from_network is not None:
        inner = [pixels.spared(_corrected(distance, network, config), distance, *bound)
                 for distance, network, bound in zip(inner, from_network, late[1:-1], strict=True)]
    first, last = (pixels.kept(ends[n], *early[n]) for n in (0, -1))
    course = [pixels.kept(distance, *bound) for distance, bound in zip([first, *inner, last], late, strict=True)]
    drawn = occupancy(torch.stack(course), config.band)
    backwards_and_forwards = constants([-1 / steps, 1 / steps], full.device)[:, None, None, None] * moves[1:]
    result = []
    for n in range(1, steps, layer_stride(planes)):
        before, after = pixels.sampled(drawn[n - 1::2][:2], backwards_and_forwards)[:, 0]
        result.append(pixels.occupied(drawn[n], _trend(before, drawn[n], after, n, planes)))
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
        """The pixels of `outlines`, on `device`."""
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
        """Bilinear samples [n, move, pixel] of `values` [n, pixel] where `moves` [n, move, pixel, 2] lead from each
        pixel, in each box apart; its border pixels are repeated.
        """
        at, samples, first = self.centres + moves, [values.new_zeros(*moves.shape[:2], 0)], 0
        for rows, columns in self.boxes:
            here = slice(first, first + rows * columns)
            images = values[:, None, here].expand(-1, moves.shape[1], -1).reshape(-1, 1, rows, columns)
            found = sampled(images, at[:, :, here].reshape(-1, rows, columns, 2), "bilinear")
            samples.append(found.reshape(*moves.shape[:2], -1))
            first = here.stop
        return torch.cat(samples, dim=2)

    def enlarged(self, distance: Tensor, areas: np.ndarray, fraction: float, config: LabelConfig,
                 bound: Tensor | None = None, is_own: Tensor | None = None) -> Tensor:
        """Move the border of each box's label: signed distances of shapes that do not coincide give a smaller area.

        It comes nearer to what lies between the two `areas` [slice, box].  Where a label's own parts have bounds, these
        say enough.
        """
        result, first = distance.clone(), 0
        for (rows, columns), (before, after) in zip(self.boxes, areas.T.tolist(), strict=True):
            here = slice(first, first + rows * columns)
            wanted = round((1.0 - fraction) * before + fraction * after)
            if before and after and 0 < wanted < rows * columns:
                larger, smaller = distance[here].sort(descending=True).values[wanted - 1:wanted + 1]
                result[here] -= (0.5 * config.area_kept * (larger + smaller)).clamp(-2.0, 2.0)
            first = here.stop
        return self.spared(result, distance, bound, is_own)

    @staticmethod
    def spared(changed: Tensor, distance: Tensor, bound: Tensor | None = None, is_own: Tensor | None = None) -> Tensor:
        """What is `changed`, but as it was where a label's own parts have bounds."""
        return changed if bound is None or is_own is None else torch.where(is_own & bound.isfinite(), distance, changed)

    def found(self, bounds: Bounds | None, count: int) -> list[tuple[Tensor, Tensor] | tuple[()]]:
        """What `bounds` says about each pixel on each plane: distance, and whether it is of the pixel's own label."""
        if bounds is None:
            return [()] * count
        device, channels = self.numbers.device, self.channels.long()
        layers = torch.from_numpy(bounds.layers).to(device)[channels]
        distances, owners = (torch.from_numpy(each).to(device).flatten(2)[layers, :, self.numbers.long()].T
                             for each in (bounds.distances, bounds.channels))
        return list(zip(distances, owners == channels, strict=True))

    @staticmethod
    def kept(distance: Tensor, bound: Tensor | None = None, is_own: Tensor | None = None) -> Tensor:
        """Signed distances, at least as large as those of the own parts, and small where those of others are."""
        if bound is None or is_own is None:
            return distance
        return torch.where(is_own, distance.maximum(bound), distance.minimum(-bound))

    def occupied(self, values: Tensor, trends: Tensor) -> Occupancies:
        """The entries that are not 0."""
        kept = ((values > 0) | (trends != 0)).nonzero()[:, 0]
        return Occupancies(self.numbers[kept], self.channels[kept], values[kept], trends[kept])


def _trend(before: Tensor, here: Tensor, after: Tensor, plane: int, planes: int) -> Tensor:
    """Change per gap.  Observed slices have Gaussians of their own: beside one, only the plane on the other side, if it
    has none, is drawn from here.
    """
    is_apart = layer_stride(planes) > 1 and planes > 1
    from_before, to_after = not is_apart or plane > 1, not is_apart or plane < planes
    rise = (after if to_after else here) - (before if from_before else here)
    return rise * ((planes + 1) / (from_before + to_after))


def _corrected(distance: Tensor, from_network: Tensor, config: LabelConfig) -> Tensor:
    """Both signed distances mixed, as far as they matter."""
    most = config.largest
    return torch.lerp(distance.clamp(-most, most), from_network.clamp(-most, most), config.trained_share)
