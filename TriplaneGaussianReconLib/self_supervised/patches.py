"""Patches of neighbouring lines within slices, on which a network is trained to fill gaps.

Lines neighbour each other across one in-plane axis, 0 across rows or 1 across columns, and run along the other.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..config.self_supervised import LineNetworkConfig, SuperResolutionConfig
from ..runtime.image_operations import constants, transferred
from .slice_context import SliceContext


class Lines:
    """The lines of slices, and how far from the middle of a gap the lines of a context lie among them.

    Attributes:
        shape: of the slices.
        pixels: [axis, plane, row, column] flat, averaged across the axis as a thick slice averages.
        steps: (axis, 2) pixels from line to line, and along a line.
        counts: (axis,) number of lines.
        pixel: (pixel,) numbers of the pixels along a patch.
        widths: (axis, gap) pixels.
        offsets: (axis, gap, S + T) pixels from the middle of the gap.
        is_whole: whether all lines lie whole pixels apart.
        fractions, conditions: those of the context.
    """

    def __init__(self, slices: Tensor, pitches: tuple[float, float], thickness: float, context: SliceContext,
                 config: LineNetworkConfig) -> None:
        """Prepare the lines on the device of the slices.

        Args:
            slices: [plane, row, column].
            pitches: mm between rows and between columns.
            thickness: mm, of the slices.
            context: of the gaps that the network is to fill.
            config: length of the patches, and from what thickness on lines are averaged.
        """
        self.device, self.shape = slices.device, tuple(slices.shape)
        self.pixels = torch.stack([averaged(slices, thickness / pitch, axis, config.averaged_from)
                                   for axis, pitch in enumerate(pitches, start=1)]).flatten()
        _, rows, columns = self.shape
        self.steps = transferred(np.array([[columns, 1], [1, columns]]), self.device)
        self.counts = transferred(np.array([rows, columns]), self.device)
        self.pixel = torch.arange(min(config.patch_length, rows, columns), device=self.device)
        self.size = context.size
        half, pitch, knots = self.size // 2, np.array(pitches)[:, None, None], context.knots
        wanted = knots[:, half - 1:half] + context.widths[:, None] * context.fractions
        offsets = np.concatenate([knots, wanted], axis=1) / pitch
        from_first = offsets - offsets[..., half - 1:half]
        self.is_whole = bool(np.abs(from_first - np.round(from_first)).max() < 1e-3)
        self.offsets = constants(offsets, self.device)
        self.widths = constants(context.widths / pitch[..., 0], self.device)
        self.fractions = constants(context.fractions, self.device)
        self.conditions = constants(context.conditions(), self.device)

    def places(self, axis: Tensor, gap: Tensor, middle: Tensor, backwards: Tensor) -> Tensor:
        """[..., S + T] pixels: where lines lie around the `middle` of gaps; all arguments have the shape [...].

        Where the image ends, its last line is repeated, as slices are.
        """
        way, most, half = torch.where(backwards, -1.0, 1.0), self.counts[axis] - 1, self.size // 2
        lines = list((middle[..., None] + way[..., None] * self.offsets[axis, gap]).unbind(dim=-1))
        for inner in range(1, half):
            for outer, last in ((half - 1 - inner, half - inner), (half + inner, half + inner - 1)):
                out = (lines[outer] < -0.01) | (lines[outer] > most + 0.01)
                lines[outer] = torch.where(out, lines[last], lines[outer])
        return torch.stack(lines, dim=-1)


class Patches(NamedTuple):
    """Where the patches of every step lie, [step, patch] each.

    Attributes:
        gap: which one.
        places: [.., S + T] of the lines, pixels.
        first: number of the first pixel.
        along, across: steps in pixels along a line, and from line to line.
        most: [.., 1] the last place.
    """

    gap: Tensor
    places: Tensor
    first: Tensor
    along: Tensor
    across: Tensor
    most: Tensor


class PatchSampler:
    """Patches of neighbouring lines, drawn at random before training begins: the same on every device."""

    def __init__(self, lines: Lines, config: SuperResolutionConfig, generator: torch.Generator) -> None:
        """Draw all patches of a training.

        Args:
            lines: from which they are taken.
            config: number of steps, patches per step, draws per patch.
            generator: of random numbers, on the CPU.
        """
        self.lines, self.length = lines, len(lines.pixel)
        self.patches = self._draw(config, generator)

    def _draw(self, config: SuperResolutionConfig, generator: torch.Generator) -> Patches:
        """Where the patches of every step lie, and in which directions they are read."""
        detail, lines = self._detail(), self.lines
        # Of several draws the one with most detail is kept: patches of air train nothing.
        best = self._draw_once(config, generator, detail)
        for _ in range(config.draws - 1):
            other = self._draw_once(config, generator, detail)
            better = other[-1] > best[-1]
            best = [torch.where(better, new, old) for new, old in zip(other, best, strict=True)]
        axis, gap, image, middle, start, turns, _ = best
        backwards, mirrored = turns % 2 == 1, turns >= 2
        planes, rows, columns = lines.shape
        across, along = lines.steps[axis].unbind(dim=-1)
        first = (axis * planes + image) * rows * columns + along * (start + torch.where(mirrored, self.length - 1, 0))
        return Patches(gap, lines.places(axis, gap, middle, backwards), first, torch.where(mirrored, -along, along),
                       across, (lines.counts[axis] - 1)[..., None])

    def _draw_once(self, config: SuperResolutionConfig, generator: torch.Generator, detail: Tensor) -> list[Tensor]:
        """[step, patch] tensors: axis, gap, number of the image, middle of the gap (pixels), the patch's first pixel,
        directions, and how much detail there is.
        """
        lines = self.lines
        random = torch.rand(6, config.steps, config.batch, generator=generator).to(lines.device)
        most = 2, len(lines.fractions), lines.shape[0]
        axis, gap, image = ((count * share).long() for count, share in zip(most, random, strict=False))
        width = lines.widths[axis, gap]
        middle = 0.5 * width + random[3] * (lines.counts[axis] - 1 - width).clamp(min=0.0)
        if lines.is_whole:
            middle = (middle - 0.5 * width).round() + 0.5 * width
        start = ((lines.counts[1 - axis] - self.length + 1) * random[4]).long()
        centre = torch.stack([middle.round().long(), start + self.length // 2])
        row, column = torch.where(axis == 0, centre, centre.flip(0))
        return [axis, gap, image, middle, start, (4 * random[5]).long(), detail[image, row, column]]

    def _detail(self) -> Tensor:
        """[plane, row, column]: mean squared difference of neighbouring pixels around each pixel."""
        images = self.lines.pixels.reshape(2, *self.lines.shape)[0]
        change = functional.pad(images.diff(dim=1) ** 2, (0, 0, 0, 1)) + functional.pad(images.diff(dim=2) ** 2, (0, 1))
        reach = min(self.length // 4, (min(images.shape[1:]) - 1) // 2)
        return functional.avg_pool2d(change[:, None], 2 * reach + 1, 1, reach)[:, 0]

    def at(self, step: Tensor, part: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Some patches of one step.

        Patches that are read backwards or mirrored keep their knots and fractions: measured from the middle, these
        turn with them.

        Args:
            step: (1,) its number.
            part: which of its patches.

        Returns:
            Lines [patch, S, pixel], the lines wanted between them [patch, T, pixel], fractions [patch, T, 1] and
            conditions (patch, S + T).
        """
        gap, places, first, along, across, most = (column[step][0, part] for column in self.patches)
        lines, size = self.lines, self.lines.size
        read = self._read(places, first[:, None] + along[:, None] * lines.pixel, across, most)
        return read[:, :size], read[:, size:], lines.fractions[gap][:, :, None], lines.conditions[gap]

    def _read(self, places: Tensor, base: Tensor, across: Tensor, most: Tensor) -> Tensor:
        """[patch, line, pixel] at `places` (patch, line) pixels: as they are, or by cubic convolution between them."""
        whole = self.lines.is_whole
        lower = (places + 0.5).floor() if whole else places.floor()
        taps, share = (range(1), None) if whole else (range(-1, 3), places - lower)
        result = None
        for tap in taps:
            number = torch.minimum((lower + tap).clamp(min=0.0), most).long()
            line = self.lines.pixels[base[:, None] + (across[:, None] * number)[:, :, None]]
            if share is not None:
                line = line * cubic_weight(share - tap)[:, :, None]
            result = line if result is None else result + line
        assert result is not None
        return result


def cubic_weight(distance: Tensor) -> Tensor:
    """Weight of a pixel at `distance` (pixels) in cubic convolution (Keys, IEEE TASSP 1981, a = -1/2)."""
    d = distance.abs()
    near, far = (1.5 * d - 2.5) * d * d + 1.0, ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return torch.where(d <= 1.0, near, torch.where(d < 2.0, far, 0.0))


def averaged(slices: Tensor, width: float, axis: int, averaged_from: float) -> Tensor:
    """Average slices within their plane, as a thick slice averages across it.

    Args:
        slices: [plane, row, column].
        width: pixels over which is averaged.
        axis: 1 to average over rows, 2 over columns.
        averaged_from: up to this width nothing is averaged.
    """
    if width <= averaged_from:
        return slices
    count = 2 * math.ceil(0.5 * (width - 1.0)) + 1
    weights = torch.ones(count, device=slices.device)
    weights[[0, -1]] = 0.5 * (width - (count - 2))
    lines = slices.transpose(axis, 2)
    padded = functional.pad(lines.flatten(0, 1)[:, None], (count // 2, count // 2), mode="replicate")
    return functional.conv1d(padded, (weights / width)[None, None])[:, 0].reshape(lines.shape).transpose(axis, 2)
