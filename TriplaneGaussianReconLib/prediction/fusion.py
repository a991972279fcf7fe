"""Which prediction to believe pixel by pixel: candidates and line prior, fused by a network learnt on the same volume.

Each way to predict a gap fails elsewhere: straight interpolation at structures that move, displacement where it finds
none, the line prior where the volume is not the same in all directions.  How they fail shows where they disagree, and
what to make of it is learnt on virtual stacks: a first dense estimate is sliced across its rows and columns, as far
apart as the real slices are, and every prediction is made there as it is on the real stack.  What lies between virtual
slices is known on the lines where real trusted slices cross it, so the network learns at the true gap, from what was
seen.  It mixes the predictions of a pixel with weights that sum to 1 and adds a residual.  Predicted planes lack the
noise of slices: as much is added before virtual slices are cut, so that they are as rough as those it will see.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..config.presets import NetworkConfig
from ..registration.optical_flow import SMALLEST_SIDE, Motion, correspond
from ..runtime.image_operations import constants, transferred
from ..runtime.threads import serial_torch, shares, workers
from ..self_supervised.networks import ResidualNetwork, TrainedNetwork
from ..self_supervised.optimizers import learn, repeatable
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import SMALL_ERROR, SuperResolution
from . import interpolators as interpolation
from .interpolators import INTERPOLATIONS, Neighbours, candidates

# The candidates that are fused; the others are mixtures of these or nearly the same.
FUSED = ("linear", "pchip", "flow", "gated_cubic", "gated_smooth")
# With the line prior along rows and along columns, which come last.
INPUTS = len(FUSED) + 2
# Where learning starts from: logits of the weights.
FIRST_BELIEF = {"gated_cubic": 0.5}
FIRST_BELIEF_IN_LINES = 1.5
# How much stronger the network sees where predictions disagree than what they agree upon.
CONTRAST = 4.0
# Side (pixels) of the square pieces on which the network learns.
PIECE = 48
# What an error counts where the truth is itself a prediction; 1 on lines that were seen.  Less lets the network learn
# the noise of the few lines seen in small volumes.
UNSEEN = 0.3
# Pixels of virtual slices count as nearly square up to this ratio of their sides (2, and what rounding adds).
SQUARE = 2.01
# Slices thicker than so many pixels are averages: virtual slices are thinner than they.
THICK = 1.5
# By what share of their mean the widths of gaps may differ and still be even.
EVEN = 0.01
# A stack with fewer gaps, real or virtual, teaches too little.
FEWEST_GAPS = 3
# What is left of an image by this is noise more than anything else; the variance of white noise stays (Immerkaer,
# Computer Vision and Image Understanding, 1996).
ROUGHNESS = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
ROUGHNESS_SCALE = 1.0 / 6.0
# At most so many predicted pixels of each virtual stack are kept to learn from: the gaps in its middle.
MOST_PIXELS = 2 ** 24


@dataclass(frozen=True)
class LearnedFusion(TrainedNetwork):
    """A network that has learnt what to make of predictions.

    views: 1, 2 to see the slices in both orders, 4 to exchange rows and columns as well, 8 to turn the planes about as
        well, 16 to mirror them as well.
    """

    def fuse(self, predictions: Tensor) -> Tensor:
        """Fuse predictions [gap, INPUTS, T, row, column], as `features` gives them -> [gap, T, row, column].

        They lie on the network's device.  One gap is worked on at a time: the bits do not depend on how many there are.
        """
        with torch.no_grad():
            return torch.cat([self._mean_view(each[None]) for each in predictions])

    def _mean_view(self, predictions: Tensor) -> Tensor:
        result = torch.zeros_like(predictions[:, 0])
        for view in range(self.views):
            backwards, exchanged, turned, mirrored = (bool(view & bit) for bit in (1, 2, 4, 8))
            mirror = [axis for axis, wanted in ((-2, turned != mirrored), (-1, turned)) if wanted]
            seen = predictions.flip(mirror)
            seen = _exchanged(seen).transpose(-2, -1) if exchanged else seen
            fused = _fused(self.network, seen.flip(2) if backwards else seen)
            fused = fused.flip(1) if backwards else fused
            result += (fused.transpose(-2, -1) if exchanged else fused).flip(mirror)
        return result / self.views


def applies(rows: int, columns: int, pitches: tuple[float, float], positions: np.ndarray, planes_per_gap: int,
            thickness: float) -> bool:
    """Whether virtual stacks would resemble the stack of slices of `rows` x `columns` pixels.

    pitches: mm between rows and between columns.  positions: (plane,) mm, ascending.  planes_per_gap: how many planes
    the dense estimate has inside each gap.  thickness: mm, of the slices.
    """
    widths = np.diff(positions)
    if planes_per_gap < 1 or len(widths) < FEWEST_GAPS or np.ptp(widths) > EVEN * widths.mean():
        return False
    width = float(widths.mean())
    plane, count = width / (planes_per_gap + 1), len(widths) * (planes_per_gap + 1) + 1
    sides = plane / np.array(pitches)
    extents = (np.array([rows, columns]) - 1) * pitches
    return bool((sides <= SQUARE).all() and (sides >= 1.0 / SQUARE).all() and thickness <= THICK * min(pitches)
                and min(count, rows, columns) >= SMALLEST_SIDE and extents.min() >= FEWEST_GAPS * width)


def features(slices: Tensor, positions: np.ndarray, found: Motion, gaps: np.ndarray, fractions: np.ndarray,
             prior: SuperResolution) -> Tensor:
    """Everything that is known about `gaps`: what each of FUSED predicts, then the line prior along either axis.

    slices: [plane, row, column] on the device of `found` and `prior`.  positions: (plane,) mm, ascending.  fractions:
    (gap, T) of the gaps' widths, or (T,) for all.
    Returns [gap, INPUTS, T, row, column] on that device; the bits do not depend on how many gaps are asked for at once.
    """
    by_candidate = candidates(slices, positions, found, Neighbours.around(gaps, len(positions)), fractions)
    context = SliceContext.around(gaps, positions, fractions, prior.size)
    by_line = torch.cat([prior.directions(slices, context.only(np.array([n]))) for n in range(len(gaps))], dim=1)
    return torch.stack([*(by_candidate[INTERPOLATIONS.index(name)] for name in FUSED), *by_line], dim=1)


def working_memory(planes: int, pixels: int) -> int:
    """Bytes that `features` needs per gap, predicted on `planes` planes of `pixels`."""
    return interpolation.working_memory(planes, pixels) + 4 * (INPUTS + 4) * planes * pixels


def learn_fusion(dense: Tensor, every: int, spacing: tuple[float, float, float], prior: SuperResolution,
                 effort: NetworkConfig, seed: int, tick: Callable[[int, int, float], None]) -> LearnedFusion:
    """Learn to fuse from a first dense estimate [plane, row, column], evenly spaced, on the device of `prior`.

    every: from one trusted slice in it to the next, in planes; the first and the last plane are trusted.  spacing: mm
    between planes, rows and columns; `applies` tells whether it will do.  tick: called with step, steps and loss before
    every virtual stack (the loss is then nan) and every step, may raise to stop.
    """
    generator = torch.Generator().manual_seed(seed)
    pieces = _Pieces(dense, roughened(dense, every, generator), every, _stacks(dense, every, spacing), prior, effort,
                     generator, lambda: tick(0, effort.steps, math.nan))
    wanted = every - 1
    network = ResidualNetwork(INPUTS * wanted, (INPUTS + 1) * wanted, effort.width, effort.blocks, (3, 3), generator)
    beliefs = [*(FIRST_BELIEF.get(name, 0.0) for name in FUSED), FIRST_BELIEF_IN_LINES, FIRST_BELIEF_IN_LINES, 0.0]
    network.last.bias.data.copy_(torch.tensor(beliefs).repeat_interleave(wanted))  # type: ignore[union-attr]
    network = network.to(dense.device)

    def loss_at(step: Tensor) -> Tensor:
        predictions, truth, weights = pieces.at(step)
        wrong = torch.sqrt((_fused(network, predictions) - truth) ** 2 + SMALL_ERROR ** 2)
        return (weights * wrong.mean(dim=1)).sum() / weights.sum()

    with serial_torch():
        learn(network.others, loss_at, effort.steps, effort.rate,
              lambda step, loss: tick(step, effort.steps, loss), network.inner)
    return LearnedFusion(network, effort.views)


def roughened(dense: Tensor, every: int, generator: torch.Generator) -> Tensor:
    """A dense estimate [plane, row, column] with noise on its predicted planes, which makes them as rough as the
    trusted ones: every `every`th from the first on.  The generator's numbers are the CPU's: the same on every device.
    """
    with repeatable(dense.device):
        variances = torch.stack([_roughness(plane) for plane in dense])
    is_predicted = torch.arange(len(dense), device=dense.device) % every != 0
    lacking = (variances[~is_predicted].mean() - variances[is_predicted].mean()).clamp(min=0.0).sqrt()
    result = dense.clone()
    for number, plane in enumerate(result):
        if number % every:
            plane += lacking * torch.randn(plane.shape, generator=generator).to(dense.device)
    return result


def _roughness(image: Tensor) -> Tensor:
    """Variance of the noise of an image [row, column], its finest detail included."""
    kernel = ROUGHNESS_SCALE * torch.tensor(ROUGHNESS, device=image.device)
    left: Tensor = functional.conv2d(image[None, None], kernel[None, None])
    return (left ** 2).mean()


@dataclass(frozen=True)
class _VirtualStack:
    """Slices across an axis of the dense estimate.

    axis: 1 across rows, 2 across columns.  positions: (plane,) mm.  places: (plane,), the same in pixels.
    """

    axis: int
    positions: np.ndarray
    places: np.ndarray

    def between(self, fractions: np.ndarray) -> np.ndarray:
        """(gap, T) pixels: where the planes at fractions (T,) of all gaps lie."""
        inside: np.ndarray = self.places[:-1, None] + fractions * np.diff(self.places)[:, None]
        return inside


def _stacks(dense: Tensor, every: int, spacing: tuple[float, float, float]) -> list[_VirtualStack]:
    """Virtual stacks across rows and across columns, at two offsets each, gaps as wide as the real ones."""
    result, width = [], every * spacing[0]
    for axis in (1, 2):
        ratio, length = width / spacing[axis], dense.shape[axis]
        most = max(MOST_PIXELS // ((every - 1) * dense.numel() // length), FEWEST_GAPS)
        for offset in (0, int(ratio / 2)):
            gaps = int((length - 1 - offset) / ratio + 1e-6)
            first = max(gaps - most, 0) // 2
            numbers = np.arange(first, first + min(gaps, most) + 1)
            result.append(_VirtualStack(axis, numbers * width, np.minimum(offset + numbers * ratio, length - 1.0)))
    return result


class _Pieces:
    """Square pieces of virtual planes, drawn at random before learning begins: the same on every device."""

    def __init__(self, dense: Tensor, rough: Tensor, every: int, stacks: list[_VirtualStack], prior: SuperResolution,
                 effort: NetworkConfig, generator: torch.Generator, tick: Callable[[], None]) -> None:
        self.device, self.every = dense.device, every
        shapes = [np.delete(dense.shape, stack.axis) for stack in stacks]
        counts = [len(stack.positions) - 1 for stack in stacks]
        sizes = np.repeat([shape.prod() for shape in shapes], counts)  # by gap, of all stacks
        lengths = np.repeat([shape[1] for shape in shapes], counts)
        # All predictions and the truth of a pixel lie together; half precision is far finer than any noise.
        self.pixels = torch.empty(int(sizes.sum()), (INPUTS + 1) * (every - 1), dtype=torch.float16, device=self.device)
        gaps = list(self.pixels.split(sizes.tolist()))
        for stack, count in zip(stacks, counts, strict=True):
            tick()
            _fill(gaps[:count], dense, rough, stack, np.arange(1, every) / every, prior)
            del gaps[:count]
        self.side = min(PIECE, *dense.shape)
        self.table = self._drawn(np.cumsum(sizes) - sizes, lengths, dense.shape[0], effort, generator)

    def _drawn(self, starts: np.ndarray, lengths: np.ndarray, rows: int, effort: NetworkConfig,
               generator: torch.Generator) -> list[Tensor]:
        """[step, piece] tensors: where the image starts in `pixels` and its columns, first row and column, and views.
        """
        random = torch.rand(4, effort.steps, effort.batch, generator=generator, dtype=torch.float64)
        gap = (len(starts) * random[0]).long()
        start, columns = torch.from_numpy(starts)[gap], torch.from_numpy(lengths)[gap]
        row, column = ((n - self.side + 1) * r for n, r in ((rows, random[1]), (columns, random[2])))
        drawn = start, columns, row.long(), column.long(), (16 * random[3]).long()
        return [numbers.to(self.device) for numbers in drawn]

    def at(self, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions [piece, INPUTS, T, row, column], the truth [piece, T, row, column] and its weights [piece, row,
        column] of a step (1,)."""
        start, columns, row, column, views = (numbers[step][0][:, None, None] for numbers in self.table)
        backwards, exchanged, upside_down, mirrored = (views // bit % 2 == 1 for bit in (1, 2, 4, 8))
        along = torch.arange(self.side, device=self.device)
        down, across = torch.where(exchanged, along, along[:, None]), torch.where(exchanged, along[:, None], along)
        last = self.side - 1
        row = row + torch.where(upside_down, last - down, down)
        column = column + torch.where(mirrored, last - across, across)
        values = self.pixels[start + row * columns + column].movedim(-1, 1).float()
        values = values.unflatten(1, (INPUTS + 1, self.every - 1))
        backwards, exchanged = backwards[..., None, None], exchanged[..., None, None]
        values = torch.where(backwards, values.flip(2), values)
        predictions, truth = values[:, :-1], values[:, -1]
        predictions = torch.where(exchanged, _exchanged(predictions), predictions)
        return predictions, truth, torch.where(row % self.every == 0, 1.0, UNSEEN)


def _fill(gaps: list[Tensor], dense: Tensor, rough: Tensor, stack: _VirtualStack, fractions: np.ndarray,
          prior: SuperResolution) -> None:
    """Predict the gaps of a virtual stack; write predictions and truth into `gaps`, each [pixel, (INPUTS + 1) T].

    The slices are cut from the `rough` estimate, the truth from the `dense` one.
    """
    volume, truth = dense.movedim(stack.axis, 0), stack.between(fractions)
    slices = _planes_at(rough.movedim(stack.axis, 0), stack.places)
    found = correspond(slices.cpu().numpy()).on(dense.device)

    def several(numbers: np.ndarray) -> None:
        predictions = features(slices, stack.positions, found, numbers, fractions, prior)
        for number, each in zip(numbers, predictions, strict=True):
            known = torch.cat([each, _planes_at(volume, truth[number])[None]])
            gaps[number].copy_(known.flatten(0, 1).flatten(1).T)

    size = working_memory(len(fractions), slices[0].numel())
    with serial_torch(), ThreadPoolExecutor(workers(dense.device)) as pool:
        list(pool.map(several, shares(np.arange(len(gaps)), size, dense.device)))


def _planes_at(volume: Tensor, places: np.ndarray) -> Tensor:
    """[n, ...]: `volume` [plane, ...] at places (n,), linear between planes."""
    lower = np.clip(np.floor(places + 1e-6).astype(int), 0, len(volume) - 1)
    upper, share = np.minimum(lower + 1, len(volume) - 1), np.maximum(places - lower, 0.0)
    first = volume[transferred(lower, volume.device)]
    if share.max() < 1e-3:
        return first
    return torch.lerp(first, volume[transferred(upper, volume.device)], constants(share, volume.device)[:, None, None])


def _fused(network: ResidualNetwork, predictions: Tensor) -> Tensor:
    """Mix predictions [n, INPUTS, T, row, column] as the network says -> [n, T, row, column]."""
    planes, mean = predictions.shape[2], predictions.mean(dim=1, keepdim=True)
    seen = torch.cat([mean, CONTRAST * (predictions[:, 1:] - mean)], dim=1)
    answer = network(seen.flatten(1, 2))
    logits, residual = answer[:, :-planes], answer[:, -planes:]
    weights = functional.softmax(logits.unflatten(1, (INPUTS, planes)), dim=1)
    return (weights * predictions).sum(dim=1) + residual


def _exchanged(predictions: Tensor) -> Tensor:
    """Predictions [n, INPUTS, ...] with the line prior's two directions in the other order."""
    return torch.cat([predictions[:, :-2], predictions[:, -2:].flip(1)], dim=1)
