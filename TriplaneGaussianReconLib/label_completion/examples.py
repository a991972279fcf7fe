"""What the network for labels is trained on: patches of labelled slices, each to be found from other labelled slices.

These are farther away than those of the slices to be labelled.  So part of the examples are found from the wanted slice
itself, deformed at random as much as labels are by being carried over part of a gap.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..config.label_completion import ExampleConfig
from ..self_supervised.label_patches import Borders
from .carrying import STEP, DrawnLabels
from .stack import CompletionStack

_FARTHEST = 8.0  # pixels that a border is off at most: more means that the label ends
_FARTHER = 0.3  # how often slices farther away than the next are used, as a share of how often the next ones are


class Batch(NamedTuple):
    """What the network sees (see `CompletionNetwork.forward`), and the labels that it should find.

    Attributes:
        numbers: [B, layer, row, column] int64, label of each pixel, counted from 0.
    """

    images: Tensor
    carried: Tensor
    gaps: Tensor
    points: Tensor
    numbers: Tensor


class _Draws(NamedTuple):
    """Random numbers of all patches of a training, [step, part, patch, ...] each.

    Attributes:
        target: which labelled slice, and `plane`: its number.
        sources: [.., 2] entries of the bank; gaps: [.., 2] pixels; errors: [.., 2] pixels of deformation.
        centre: [.., 2] row and column.
        turn: [.., 2, 2] matrix.
        bend, deformations: [.., 2, row, column] and [.., 4, row, column], coarse, of standard deviation 1.
        swelling: [.., 2, label] likewise.
        brightness, contrast, jitter: [..], [..], [.., 3].
    """

    target: Tensor
    plane: Tensor
    sources: Tensor
    gaps: Tensor
    errors: Tensor
    centre: Tensor
    turn: Tensor
    bend: Tensor
    deformations: Tensor
    swelling: Tensor
    brightness: Tensor
    contrast: Tensor
    jitter: Tensor


@dataclass(frozen=True)
class _Pairs:
    """From which two labelled slices each one can be found.

    Attributes:
        target, first, second: (pair,) indices among the labelled slices.
        weight: (pair,) how often it is used.
    """

    target: np.ndarray
    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, count: int) -> _Pairs:
        """Pairs of the next two on either side of each of `count` slices."""
        rows, slices = [], range(count)
        for target in slices:
            before, after = slices[max(target - 2, 0):target][::-1], slices[target + 1:target + 3]
            if len(before) and len(after):
                rows += [(target, a, b, 1.0 if m + n == 0 else _FARTHER)
                         for m, a in enumerate(before) for n, b in enumerate(after)]
            else:  # at an end, where the labels of one side tell
                rows += [(target, one, one, _FARTHER) for one in (*before[:1], *after[:1])]
        table = np.array(rows, np.float64).reshape(-1, 4)
        target, first, second = table[:, :3].T.astype(np.int64)
        return cls(target, first, second, table[:, 3])


class Examples:
    """Patches for every step of a training, drawn at random before it begins: the same on every device."""

    def __init__(self, stack: CompletionStack, drawn: DrawnLabels, steps: int, parts: int, batch: int,
                 config: ExampleConfig, generator: torch.Generator) -> None:
        """Carry labels from labelled slice to labelled slice, and draw patches.

        Args:
            stack: images.
            drawn: labels.
            steps: of the training.
            parts: of a step.
            batch: patches of a part.
            config: what patches are like.
            generator: of random numbers, on the CPU.
        """
        drawn = drawn.only(_within(drawn, config))
        self.stack, self.config = stack, config
        self.pairs = _Pairs.of(len(drawn.planes))
        bank, self.entries = _bank(drawn, self.pairs)
        device = stack.images.device
        self.bank = torch.from_numpy(bank).to(device)
        self.numbers = torch.from_numpy(drawn.numbers).to(device)
        self.error, self.apart = _typical_error(drawn, bank, self.entries, stack.depths)
        self.patch = [min(config.patch, side) for side in stack.images.shape[-2:]]
        draws = self._draw(drawn, (steps, parts, batch), generator)
        self.draws = _Draws(*(each.to(device) for each in draws))

    def _draw(self, drawn: DrawnLabels, shape: tuple[int, int, int], generator: torch.Generator) -> _Draws:
        config = self.config
        random = np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator)))
        borders = Borders.of(drawn.numbers, len(drawn.planes))
        places = borders.draw(shape, config.frequency, generator).numpy()
        # A slice without a label has no border of it: the places where labels end are those on the slice beside.
        deformed, beside = random.random(shape) < config.deformed, random.random(shape) < config.beside
        aside = np.where(beside & ~deformed, random.choice((-1, 1), shape), 0)
        target = (places[..., 1] + aside).clip(0, len(drawn.planes) - 1)
        sources, gaps, errors = self._sources(target, deformed, drawn, random)
        normal = random.standard_normal
        angle, stretch = config.rotation * normal(shape), np.exp(config.scaling * normal((*shape, 2)))
        turn = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)],
                        -2) * stretch[..., None]
        coarse = [max(2, math.ceil(side / config.grain) + 2) for side in self.patch]
        coarser = [max(2, math.ceil(side / (2 * config.grain)) + 2) for side in self.patch]
        centre = places[..., 2:] + random.uniform(-0.5, 0.5, (*shape, 2)) * np.array(self.patch)
        arrays = (target, drawn.planes[target], sources, gaps, errors, np.rint(centre), turn,
                  config.bend * normal((*shape, 2, *coarser), np.float32), normal((*shape, 4, *coarse), np.float32),
                  config.area * normal((*shape, 2, drawn.channels.count - 1), np.float32),
                  config.brightness * normal(shape), 1.0 + config.contrast * normal(shape),
                  config.jitter * normal((*shape, 3)) * np.ptp(self.stack.box.numpy(), axis=0))
        return _Draws(*(torch.from_numpy(np.asarray(a, np.int64 if n in (0, 1, 2, 5) else np.float32))
                        for n, a in enumerate(arrays)))

    def _sources(self, target: np.ndarray, deformed: np.ndarray, drawn: DrawnLabels, random: np.random.Generator
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[.., 2] entries of the bank from which each `target` is to be found, their distances and errors (pixels);
        deformed: which are found from themselves.
        """
        depths, pairs = self.stack.depths, self.pairs
        sources, gaps = (np.repeat(target[..., None], 2, axis=-1) for _ in range(2))
        gaps = gaps.astype(np.float64)
        errors = np.zeros(gaps.shape)
        width = float(np.median(np.diff(depths[drawn.planes]))) if len(drawn.planes) > 1 else float(depths[-1])
        pitch = float(np.median(np.diff(depths)))
        for at in np.ndindex(target.shape):
            mine = np.flatnonzero(pairs.target == target[at])
            if deformed[at] or not len(mine):
                near = pitch * random.integers(1, max(round(width / pitch), 2))
                gaps[at] = near, max(width - near, pitch)
                errors[at] = self.error * (gaps[at] / self.apart) ** self.config.growth
            else:
                pair = random.choice(mine, p=pairs.weight[mine] / pairs.weight[mine].sum())
                both = [int(each[pair]) for each in (pairs.first, pairs.second)]
                sources[at] = [self.entries[one, int(target[at])] for one in both]
                gaps[at] = np.abs(depths[drawn.planes[both]] - depths[drawn.planes[target[at]]])
            if random.random() < 0.5:
                sources[at], gaps[at], errors[at] = sources[at][::-1], gaps[at][::-1], errors[at][::-1]
        return sources, gaps, errors

    def at(self, step: Tensor, part: int) -> Batch:
        """The patches of part of a step; step: (1,) its number."""
        draw = _Draws(*(each[step][0, part] for each in self.draws))
        rows, columns = self.patch
        bend = functional.interpolate(draw.bend, size=(rows, columns), mode="bicubic", align_corners=True)
        grid = torch.stack(torch.meshgrid(*(torch.arange(n, device=bend.device) - 0.5 * (n - 1) for n in
                                            (rows, columns)), indexing="ij"), dim=-1)
        at = torch.einsum("rcx,nyx->nrcy", grid, draw.turn) + draw.centre[:, None, None] + bend.movedim(1, 3)
        window = _Window(draw.centre, self.patch, self.stack.images.shape[-2:])
        images = window.of(self.stack.images, self.stack.around(draw.plane)).flatten(1, 2)
        images = _sampled(images.float(), window.places(at)) * draw.contrast[:, None, None, None]
        images = images + draw.brightness[:, None, None, None]
        shifts = functional.interpolate(draw.deformations, size=(rows, columns), mode="bicubic", align_corners=True)
        carried = []
        for side in (0, 1):
            shift = shifts[:, 2 * side:2 * side + 2].movedim(1, 3) * draw.errors[:, side, None, None, None]
            distance = _sampled(STEP * window.of(self.bank, draw.sources[:, side]).float(), window.places(at + shift))
            carried.append(distance + (draw.errors[:, side, None] * draw.swelling[:, side])[:, :, None, None])
        nearest = [at[..., n].round().long().clamp(0, side - 1) for n, side in
                   enumerate(self.stack.images.shape[-2:])]
        numbers = self.numbers[:, draw.target[:, None, None], nearest[0], nearest[1]].movedim(0, 1).long() - 1
        points = self.stack.points(at, draw.plane) + draw.jitter[:, None, None]
        return Batch(images, torch.stack(carried, dim=1), draw.gaps, points, numbers)


class _Window:
    """Boxes of pixels around the centres of patches, large enough for what patches may sample; borders are repeated."""

    def __init__(self, centre: Tensor, patch: list[int], shape: torch.Size) -> None:
        self.pixels, self.first = [], []
        for axis in (0, 1):
            size = math.ceil(1.5 * patch[axis]) + 16
            first = centre[:, axis] - size // 2
            here = first[:, None] + torch.arange(size, device=centre.device)
            self.pixels.append(here.clamp(0, shape[axis] - 1))
            self.first.append(first)

    def of(self, images: Tensor, numbers: Tensor) -> Tensor:
        """[B, ..., row, column] the windows of `images` [n, ..., row, column] of these `numbers` (B, ...)."""
        rows, columns = (each.reshape(len(each), *[1] * (numbers.dim() - 1), *shape) for each, shape in
                         zip(self.pixels, ((-1, 1), (1, -1)), strict=True))
        found = images.movedim(1, 3)[numbers[..., None, None], rows, columns]
        return found.movedim(-1, numbers.dim())

    def places(self, at: Tensor) -> Tensor:
        """`at` [B, row, column, 2], rows and columns, as `functional.grid_sample` wants them in the windows."""
        places = [2.0 * (at[..., axis] - self.first[axis][:, None, None]) / (self.pixels[axis].shape[1] - 1) - 1.0
                  for axis in (1, 0)]
        return torch.stack(places, dim=-1)


def _sampled(images: Tensor, at: Tensor) -> Tensor:
    return functional.grid_sample(images, at, mode="bilinear", padding_mode="border", align_corners=True)


def _within(drawn: DrawnLabels, config: ExampleConfig) -> np.ndarray:
    """Indices of so many of the drawn slices, spread over them, that labels carried between these fit into memory."""
    each = (drawn.channels.count - 1) * int(np.prod(drawn.numbers.shape[2:])) * 5  # four sources and itself
    count, most = len(drawn.planes), max(config.most_bytes // max(each, 1), 3)
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def _bank(drawn: DrawnLabels, pairs: _Pairs) -> tuple[np.ndarray, dict[tuple[int, int], int]]:
    """Signed distances [entry, label, row, column]: those of the slices themselves, then carried ones.

    Returns:
        The bank, and (from, to) -> entry.
    """
    wanted: dict[int, set[int]] = {}
    for target, *ends in zip(pairs.target.tolist(), pairs.first.tolist(), pairs.second.tolist(), strict=True):
        for end in ends:
            wanted.setdefault(end, set()).add(target)
    entries, carried = dict[tuple[int, int], int](), list[np.ndarray]()
    for source, targets in sorted(wanted.items()):
        places = drawn.places(source, drawn.planes[sorted(targets)].tolist())
        for target in sorted(targets):
            entries[source, target] = len(drawn.planes) + len(carried)
            carried.append(drawn.carried(source, places[int(drawn.planes[target])]))
    return np.concatenate([drawn.distances, *([np.stack(carried)] if carried else [])]), entries


def _typical_error(drawn: DrawnLabels, bank: np.ndarray, entries: dict[tuple[int, int], int],
                   depths: np.ndarray) -> tuple[float, float]:
    """Pixels by which borders are off after being carried to other labelled slices, and how far (pixels) these are."""
    errors, apart = [], []
    for (source, target), entry in entries.items():
        own = drawn.distances[target]
        near = np.abs(own.astype(np.int16)) <= 1.0 / STEP
        near[[n for n in range(len(near)) if drawn.channels.is_background(n + 1)]] = False
        if near.any():
            apart_by = STEP * np.abs(bank[entry][near].astype(np.float32) - own[near])
            errors.append(float(apart_by.clip(max=_FARTHEST).mean()))
            apart.append(float(abs(depths[drawn.planes[source]] - depths[drawn.planes[target]])))
    if not errors:
        return 1.0, 1.0
    return float(np.mean(errors)), float(np.mean(apart))
