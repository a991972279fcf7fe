"""Learned fusion: a network, trained on the same volume, that mixes the predictions of every pixel.

Each prediction fails elsewhere: straight interpolation at structures that move, displacement where it finds none, the
super-resolution where the volume is not the same in all directions.  Where the predictions disagree shows how they
fail.  What to make of it is learnt on virtual stacks: a first dense estimate is sliced across its rows and across its
columns, as far apart as the real slices are, and every prediction is made there as on the real stack.  What lies
between virtual slices is known on the lines where real observed slices cross it, so the network is trained at the true
gap, on what was observed.  It mixes the predictions of a pixel with weights that sum to 1 and adds a residual.
Predicted planes lack the noise of slices: as much is added before virtual slices are cut from them, so that these are
as rough as the slices that the network will see.
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

from ..config.prediction import FusionConfig
from ..config.registration import FlowConfig
from ..registration.optical_flow import Motion, correspond
from ..runtime.image_operations import constants, transferred
from ..runtime.threads import serial_torch, shares, workers
from ..self_supervised.augmentation import of_planes
from ..self_supervised.minimise import PARTS, minimise
from ..self_supervised.networks import ResidualNetwork, TrainedNetwork
from ..self_supervised.optimizers import repeatable
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import SuperResolution
from . import interpolators
from .interpolators import INTERPOLATORS, SLICES_AROUND, member_predictions

# What is left of an image by this kernel is mostly noise; the variance of white noise stays (Immerkaer, Computer Vision
# and Image Understanding, 1996).
ROUGHNESS = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
ROUGHNESS_SCALE = 1.0 / 6.0


@dataclass(frozen=True)
class LearnedFusion(TrainedNetwork):
    """A network trained to fuse predictions; for its augmentations see `augmentation.of_planes`."""

    config: FusionConfig

    def fuse(self, predictions: Tensor) -> Tensor:
        """Fuse predictions.

        One gap is worked on at a time: the bits do not depend on how many there are.

        Args:
            predictions: [gap, input, T, row, column] on the network's device, as `features` gives them.

        Returns:
            [gap, T, row, column].
        """
        with torch.no_grad():
            return torch.cat([self._mean(each[None]) for each in predictions])

    def _mean(self, predictions: Tensor) -> Tensor:
        """Mean over all augmentations."""
        result = torch.zeros_like(predictions[:, 0])
        for augmentation in of_planes(self.config.augmentations):
            seen = _exchanged(predictions) if augmentation.is_transposed else predictions
            result += augmentation.undone(_fused(self.network, augmentation.applied(seen), self.config))
        return result / self.config.augmentations


def features(slices: Tensor, positions: np.ndarray, found: Motion, gaps: np.ndarray, fractions: np.ndarray,
             super_resolution: SuperResolution, config: FusionConfig, smoothing: float) -> Tensor:
    """Everything that is fused: what the interpolators predict, then the super-resolution along either axis.

    The bits do not depend on how many gaps are asked for at once.

    Args:
        slices: [plane, row, column] on the device of `found` and `super_resolution`.
        positions: (plane,) mm, ascending.
        found: displacement across the gaps.
        gaps: (gap,) numbers of gaps.
        fractions: (gap, T) of the gaps' widths, or (T,) for all.
        super_resolution: trained for such gaps.
        config: its `interpolators` are fused.
        smoothing: see `member_predictions`.

    Returns:
        [gap, input, T, row, column] on that device.
    """
    context = SliceContext.around(gaps, positions, fractions, SLICES_AROUND)
    by_member = member_predictions(slices, found, context, smoothing)
    lines = SliceContext.around(gaps, positions, fractions, super_resolution.size)
    by_line = torch.cat([super_resolution.directions(slices, lines.only(np.array([n]))) for n in range(len(gaps))],
                        dim=1)
    return torch.stack([*(by_member[INTERPOLATORS.index(name)] for name in config.interpolators), *by_line], dim=1)


def working_memory(planes: int, pixels: int, config: FusionConfig) -> int:
    """Bytes that `features` needs per gap, predicted on `planes` planes of `pixels`."""
    return interpolators.working_memory(planes, pixels) + 4 * (config.inputs + 4) * planes * pixels


def learn_fusion(dense: Tensor, every: int, spacing: tuple[float, float, float], super_resolution: SuperResolution,
                 config: FusionConfig, flow: FlowConfig, smoothing: float, seed: int,
                 tick: Callable[[int, int, float], None]) -> LearnedFusion:
    """Train a network to fuse predictions.

    Args:
        dense: [plane, row, column] first dense estimate, evenly spaced, on the device of `super_resolution`.
        every: planes from one observed slice in it to the next; the first and the last plane are observed.
        spacing: mm between planes, rows and columns; see `data.trainable.trains_fusion`.
        super_resolution: trained for the gaps of the stack.
        config: of the network and its training.
        flow: of the displacement between virtual slices.
        smoothing: see `member_predictions`.
        seed: the same one gives the same network, on the CPU to the last bit.
        tick: called with step, steps and loss before every virtual stack (the loss is then nan) and before every step;
            may raise to stop.
    """
    generator = torch.Generator().manual_seed(seed)
    rough = roughened(dense, every, generator)
    predictor = _VirtualPredictor(dense, rough, every, super_resolution, config, flow, smoothing)
    sampler = _PatchSampler(predictor, _stacks(dense, every, spacing, config), generator,
                            lambda: tick(0, config.steps, math.nan))
    wanted, inputs = every - 1, config.inputs
    network = ResidualNetwork(inputs * wanted, (inputs + 1) * wanted, config.width, config.blocks, (3, 3), generator)
    of_lines = [config.first_logit_of_lines] * 2
    logits = [*(config.first_logits.get(name, 0.0) for name in config.interpolators), *of_lines, 0.0]
    network.last.bias.data.copy_(torch.tensor(logits).repeat_interleave(wanted))  # type: ignore[union-attr]
    network = network.to(dense.device)

    def loss_at(step: Tensor, part: slice) -> Tensor:
        predictions, truth, weights = sampler.at(step, part)
        wrong = torch.sqrt((_fused(network, predictions, config) - truth) ** 2 + config.small_error ** 2)
        return (weights * wrong.mean(dim=1)).sum() / weights.sum()

    with serial_torch():
        minimise(loss_at, network.others, config, tick, network.inner, PARTS)
    return LearnedFusion(network, config)


def roughened(dense: Tensor, every: int, generator: torch.Generator) -> Tensor:
    """Add noise to the predicted planes of a dense estimate, which makes them as rough as the observed ones.

    Args:
        dense: [plane, row, column].
        every: the first plane is observed, and every one of so many from there.
        generator: on the CPU, so that the noise is the same on every device.
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


def _stacks(dense: Tensor, every: int, spacing: tuple[float, float, float], config: FusionConfig
            ) -> list[_VirtualStack]:
    """Virtual stacks across rows and across columns, at two offsets each, gaps as wide as the real ones."""
    result, width = [], every * spacing[0]
    for axis in (1, 2):
        ratio, length = width / spacing[axis], dense.shape[axis]
        most = max(config.most_pixels // ((every - 1) * dense.numel() // length), config.fewest_gaps)
        for offset in (0, int(ratio / 2)):
            gaps = int((length - 1 - offset) / ratio + 1e-6)
            first = max(gaps - most, 0) // 2
            numbers = np.arange(first, first + min(gaps, most) + 1)
            result.append(_VirtualStack(axis, numbers * width, np.minimum(offset + numbers * ratio, length - 1.0)))
    return result


@dataclass(frozen=True)
class _VirtualPredictor:
    """Predicts the gaps of virtual stacks: their slices are cut from the `rough` estimate, the truth from the `dense`
    one; the others are as of `learn_fusion`.
    """

    dense: Tensor
    rough: Tensor
    every: int
    super_resolution: SuperResolution
    config: FusionConfig
    flow: FlowConfig
    smoothing: float

    def fill(self, gaps: list[Tensor], stack: _VirtualStack) -> None:
        """Predict the gaps of a stack; write predictions and truth into `gaps`, each [pixel, (inputs + 1) T]."""
        device, fractions = self.dense.device, np.arange(1, self.every) / self.every
        volume, truth = self.dense.movedim(stack.axis, 0), stack.between(fractions)
        slices = _planes_at(self.rough.movedim(stack.axis, 0), stack.places)
        found = correspond(slices.cpu().numpy(), self.flow).on(device)

        def several(numbers: np.ndarray) -> None:
            predictions = features(slices, stack.positions, found, numbers, fractions, self.super_resolution,
                                   self.config, self.smoothing)
            for number, each in zip(numbers, predictions, strict=True):
                known = torch.cat([each, _planes_at(volume, truth[number])[None]])
                gaps[number].copy_(known.flatten(0, 1).flatten(1).T)

        size = working_memory(len(fractions), slices[0].numel(), self.config)
        with serial_torch(), ThreadPoolExecutor(workers(device)) as pool:
            list(pool.map(several, shares(np.arange(len(gaps)), size, device)))


class _PatchSampler:
    """Square patches of virtual planes, drawn at random before training begins: the same on every device."""

    def __init__(self, predictor: _VirtualPredictor, stacks: list[_VirtualStack], generator: torch.Generator,
                 tick: Callable[[], None]) -> None:
        dense, self.config = predictor.dense, predictor.config
        self.device, self.every = dense.device, predictor.every
        shapes = [np.delete(dense.shape, stack.axis) for stack in stacks]
        counts = [len(stack.positions) - 1 for stack in stacks]
        sizes = np.repeat([shape.prod() for shape in shapes], counts)  # by gap, of all stacks
        lengths = np.repeat([shape[1] for shape in shapes], counts)
        # All predictions and the truth of a pixel lie together; half precision is far finer than any noise.
        self.pixels = torch.empty(int(sizes.sum()), (self.config.inputs + 1) * (self.every - 1), dtype=torch.float16,
                                  device=self.device)
        gaps = list(self.pixels.split(sizes.tolist()))
        for stack, count in zip(stacks, counts, strict=True):
            tick()
            predictor.fill(gaps[:count], stack)
            del gaps[:count]
        self.side = min(self.config.patch_side, *dense.shape)
        self.patches = self._draw(np.cumsum(sizes) - sizes, lengths, dense.shape[0], generator)

    def _draw(self, starts: np.ndarray, lengths: np.ndarray, rows: int, generator: torch.Generator) -> list[Tensor]:
        """[step, patch] tensors: where the image starts in `pixels`, its number of columns, the patch's first row and
        column, and in which of 16 ways it is read.
        """
        random = torch.rand(4, self.config.steps, self.config.batch, generator=generator, dtype=torch.float64)
        gap = (len(starts) * random[0]).long()
        start, columns = torch.from_numpy(starts)[gap], torch.from_numpy(lengths)[gap]
        row, column = ((n - self.side + 1) * r for n, r in ((rows, random[1]), (columns, random[2])))
        patches = start, columns, row.long(), column.long(), (16 * random[3]).long()
        return [numbers.to(self.device) for numbers in patches]

    def at(self, step: Tensor, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions [patch, input, T, row, column], the truth [patch, T, row, column] and its weights [patch, row,
        column] of some patches of a step (1,).
        """
        start, columns, row, column, ways = (numbers[step][0, part][:, None, None] for numbers in self.patches)
        backwards, exchanged, upside_down, mirrored = (ways // bit % 2 == 1 for bit in (1, 2, 4, 8))
        along = torch.arange(self.side, device=self.device)
        down, across = torch.where(exchanged, along, along[:, None]), torch.where(exchanged, along[:, None], along)
        last = self.side - 1
        row = row + torch.where(upside_down, last - down, down)
        column = column + torch.where(mirrored, last - across, across)
        values = self.pixels[start + row * columns + column].movedim(-1, 1).float()
        values = values.unflatten(1, (self.config.inputs + 1, self.every - 1))
        backwards, exchanged = backwards[..., None, None], exchanged[..., None, None]
        values = torch.where(backwards, values.flip(2), values)
        predictions, truth = values[:, :-1], values[:, -1]
        predictions = torch.where(exchanged, _exchanged(predictions), predictions)
        return predictions, truth, torch.where(row % self.every == 0, 1.0, self.config.unseen_weight)


def _planes_at(volume: Tensor, places: np.ndarray) -> Tensor:
    """[n, ...]: `volume` [plane, ...] at places (n,), linear between planes."""
    lower = np.clip(np.floor(places + 1e-6).astype(int), 0, len(volume) - 1)
    upper, share = np.minimum(lower + 1, len(volume) - 1), np.maximum(places - lower, 0.0)
    first = volume[transferred(lower, volume.device)]
    if share.max() < 1e-3:
        return first
    return torch.lerp(first, volume[transferred(upper, volume.device)], constants(share, volume.device)[:, None, None])


def _fused(network: ResidualNetwork, predictions: Tensor, config: FusionConfig) -> Tensor:
    """Mix predictions [n, input, T, row, column] as the network says -> [n, T, row, column]."""
    planes, mean = predictions.shape[2], predictions.mean(dim=1, keepdim=True)
    seen = torch.cat([mean, config.contrast * (predictions[:, 1:] - mean)], dim=1)
    answer = network(seen.flatten(1, 2))
    logits, residual = answer[:, :-planes], answer[:, -planes:]
    weights = functional.softmax(logits.unflatten(1, (config.inputs, planes)), dim=1)
    return (weights * predictions).sum(dim=1) + residual


def _exchanged(predictions: Tensor) -> Tensor:
    """Predictions [n, input, ...] with the two directions of the super-resolution in the other order."""
    return torch.cat([predictions[:, :-2], predictions[:, -2:].flip(1)], dim=1)
