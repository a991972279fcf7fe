"""Fitting the Gaussians, slab by slab; the tri-plane field, which is global, learns from all slabs together."""
from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..config.presets import Preset
from ..data.gap_sampling import layer_count
from ..data.geometry import PlaneStack
from ..data.model_space import ModelSpaceData, ModelSpaceStack, depth_of_pixels, depth_range
from ..data.slabs import Slab
from ..errors import InputError
from ..gaussians.cloud import GaussianParameters
from ..gaussians.placement import Gaps, along_displacement, on_grid
from ..gaussians.triplane import TriplaneField
from ..labels.segmentation import MOST_SLOTS, LabelChannels
from ..model.shards import Shard, by_labels
from ..prediction.ensemble import EnsembleWeights
from ..prediction.expected_error import coarsened
from ..prediction.fusion import LearnedFusion
from ..prediction.predict import Prediction, corrected, predict
from ..rasterizer.modes import MODES
from ..registration.optical_flow import Correspondence
from ..rendering.rendering import rasters
from ..runtime.devices import SelectedDevice
from ..runtime.memory import is_lack, release
from ..runtime.progress import StageMonitor
from ..self_supervised.label_super_resolution import LabelSuperResolution
from ..self_supervised.optimizers import Adam, Plateau
from ..self_supervised.super_resolution import SuperResolution
from .training import Renderer, TargetPlanes, planes_loss, refine, train

# What fitting takes at its peak, measured: bytes per Gaussian, per label slot of a Gaussian, and per pixel of a plane.
BYTES_PER_GAUSSIAN, BYTES_PER_SLOT, BYTES_PER_PIXEL = 450, 40, 100


@dataclass(frozen=True)
class Task:
    """What is to be fitted: everything that is the same for all slabs."""

    trusted: ModelSpaceData
    found: Correspondence
    ensemble: EnsembleWeights
    priors: Mapping[int, SuperResolution]  # see `prediction.predict`, as for the next
    fusion: LearnedFusion | None
    label_priors: Mapping[int, LabelSuperResolution]  # see `initialization.Gaps`
    preset: Preset
    seed: int

    @property
    def channels(self) -> LabelChannels:
        """Which channel is which label."""
        return LabelChannels(self.trusted.segments)

    @property
    def can_be_cut(self) -> bool:
        """Whether slabs give the same result as the whole.

        They do where only the tri-plane field learns by descent, from squared errors: their gradients add up.
        """
        training = self.preset.training
        return (self.preset.initialization == "correspondence" and not MODES[self.preset.mode].is_ordered
                and set(training.learning_rates) <= {"field"} and training.image_loss == "squared"
                and not self.is_semantic)

    @property
    def is_semantic(self) -> bool:
        """Whether labels are trained, not just placed."""
        return bool(self.preset.training.semantic_loss and self.trusted.segments)

    def gap_bytes(self) -> np.ndarray:
        """(gap,) memory that fitting takes for each gap, with a Gaussian on every pixel."""
        planes = self.trusted.planes
        counts = self.trusted.plane_counts
        layers = np.array([layer_count(count) for count in counts])
        slots = MOST_SLOTS if self.trusted.segments else 0
        gaussians = (1 + layers) * (BYTES_PER_GAUSSIAN + slots * BYTES_PER_SLOT)
        pixels: np.ndarray = planes.rows * planes.columns * (gaussians + (counts + 1) * BYTES_PER_PIXEL)
        return pixels


@dataclass(frozen=True)
class Residual:
    """How far drawn pixels are from trusted ones, as sums; input units."""

    pixels: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    largest: float = 0.0
    labels: int = 0
    agreeing: int = 0

    def __add__(self, other: Residual) -> Residual:
        return Residual(self.pixels + other.pixels, self.absolute + other.absolute, self.squared + other.squared,
                        max(self.largest, other.largest), self.labels + other.labels, self.agreeing + other.agreeing)


@dataclass(frozen=True)
class Fitted:
    """The core of a slab.

    clouds: its Gaussians, none of them empty.  complete_below: depth (mm) that no Gaussian of a later slab reaches.
    error: [gap, coarse row, coarse column] expected half-way, input units.  residuals: one per trusted stack.
    """

    clouds: list[GaussianParameters]
    complete_below: float
    error: np.ndarray
    residuals: list[Residual]


@dataclass(frozen=True)
class _Prepared:
    """A slab before it is fitted: what is seen and predicted there, and the Gaussians to begin with."""

    slab: Slab
    trusted: ModelSpaceData
    predictions: list[Prediction]
    start: GaussianParameters


class Fitting:
    """Fits one slab after another.  A slab that does not fit into memory is halved; at last the CPU takes over."""

    def __init__(self, task: Task, slabs: list[Slab], chosen: SelectedDevice, may_leave_device: bool,
                 monitor: StageMonitor) -> None:
        self.task, self.slabs, self.chosen, self.notes = task, slabs, chosen, list[str]()
        self._may_leave_device, self._monitor = may_leave_device, monitor
        self._field = _field(task)
        self._whole: tuple[_Prepared, GaussianParameters] | None = None  # trained, where there is one slab
        self._sweeps, self._sweep = 1, 0

    def train(self) -> None:
        """Train the tri-plane field, and what else has a learning rate."""
        while len(self.slabs) == 1:
            if self._attempt(0, self._train_whole):
                return
        self._train_field()

    def fitted(self) -> Iterator[Fitted]:
        """Fit the slabs in turn."""
        number, result = 0, list[Fitted]()
        while number < len(self.slabs):
            if self._attempt(number, lambda n: result.append(self._fit(n))):
                yield result.pop()
                number += 1

    @property
    def renderer(self) -> Renderer:
        """How Gaussians are drawn while they are fitted."""
        preset, channels = self.task.preset, self.task.channels
        return Renderer(preset.mode, preset.cutoff, self.chosen.backend, channels.count if self.task.is_semantic else 1)

    def _attempt(self, number: int, work: Callable[[int], None]) -> bool:
        """Work on a slab; where memory does not suffice make the work smaller and return False."""
        try:
            work(number)
            return True
        except (MemoryError, RuntimeError) as error:
            if not is_lack(error):
                raise
        # Outside of the handler, which holds on to everything that was being worked on.
        self._whole = None
        release(self.chosen.device)
        self._make_room(number)
        return False

    def _make_room(self, number: int) -> None:
        slab, on_gpu = self.slabs[number], self.chosen.device.type == "cuda"
        halves = slab.halves() if self.task.can_be_cut else [slab]
        if len(halves) > 1:
            self.slabs[number:number + 1] = halves
            note = f"Memory did not suffice for {slab.stop - slab.first} gaps at a time; went on with half as many."
        elif on_gpu and self._may_leave_device:
            self.chosen = SelectedDevice("cpu", torch.device("cpu"), "CPU: the GPU has too little memory.")
            self._field.to("cpu")
            note = "The GPU has too little memory for this volume; went on with the CPU."
        else:
            remedy = "use device 'cpu', or crop" if on_gpu else "close other programs, or crop"
            cut = "" if self.task.can_be_cut else f" (the preset '{self.task.preset.name}' cannot be split)"
            raise InputError(f"There is not enough memory for this volume{cut}: {remedy} it to the part that matters.")
        self.notes.append(note)
        warnings.warn(note, RuntimeWarning, stacklevel=2)

    def _train_whole(self, number: int) -> None:
        prepared = self._prepared(number)
        preset, start = self.task.preset, prepared.start
        with self._monitor.stage("training") as tick:
            self._field.to(self.chosen.device)
            trained = train(start if self.task.is_semantic else start.image_only(), self._field, self._views(prepared),
                            self.renderer, preset.training, preset.triplane.total_variation, self.task.trusted.pixel,
                            tick)
        self._whole = prepared, trained

    def _train_field(self) -> None:
        """Adam on the field: the gradients of all slabs, each from its core's pixels alone, make one step."""
        training, field = self.task.preset.training, self._field.to("cpu")
        leaves = list(field.parameters())
        optimizer = Adam([(leaves, training.learning_rates.get("field", 0.0))])
        plateau = Plateau(optimizer.rates, training.patience)
        self._sweeps, loss = training.steps + 1, float("nan")
        for self._sweep in range(training.steps):
            variation = self.task.preset.triplane.total_variation * field.total_variation()
            for leaf, gradient in zip(leaves, torch.autograd.grad(variation, leaves, allow_unused=True), strict=True):
                leaf.grad = torch.zeros_like(leaf) if gradient is None else gradient
            losses, number = [float(variation.detach())], 0
            while number < len(self.slabs):
                number += self._attempt(number, lambda n, known=loss, all_=losses: all_.append(  # type: ignore[misc]
                    self._learn(n, known)))
            optimizer.step([leaf.grad for leaf in leaves])
            plateau.follow(torch.tensor(sum(losses)))
            loss = sum(losses)
        self._sweep = training.steps

    def _learn(self, number: int, loss_before: float) -> float:
        """Add the gradient of a slab to that of the field; returns the slab's share of the loss."""
        prepared, (part, of) = self._prepared(number, labelled=False), self._part(number, self._sweeps - 1)
        with self._monitor.stage("training", part, of) as tick:
            tick(0, 1, loss_before)
            field = copy.deepcopy(self._field).to(self.chosen.device)
            drawn = field.applied_to(prepared.start).drawn()
            loss = torch.zeros((), device=self.chosen.device)
            for view in self._views(prepared, self._span(prepared.slab)):
                loss = loss + planes_loss(self.renderer(drawn, view.planes), view, self.task.preset.training)
            gradients = torch.autograd.grad(loss, list(field.parameters()), allow_unused=True)
        for leaf, gradient in zip(self._field.parameters(), gradients, strict=True):
            if gradient is not None and leaf.grad is not None:
                leaf.grad += gradient.cpu()
        return float(loss.detach())

    def _fit(self, number: int) -> Fitted:
        prepared, trained = self._whole or (self._prepared(number), None)
        if trained is None:
            with torch.no_grad():
                trained = self._field.to(self.chosen.device).applied_to(prepared.start.image_only())
        part, of = self._part(number, 1)
        with self._monitor.stage("refinement", part, of) as tick:
            if self.task.preset.refinement_steps:
                trained = refine(trained, self._views(prepared), self.renderer, self.task.preset.refinement_steps, tick)
            if not self.task.is_semantic:
                trained = trained.with_labels_of(prepared.start)
            span = self._span(prepared.slab)
            residuals = [self._residual(stack, span, trained) for stack in prepared.trusted.stacks]
            return Fitted(self._core(prepared, trained), self._complete_below(span[1], trained),
                          self._error(prepared, trained), residuals)

    def _prepared(self, number: int, labelled: bool = True) -> _Prepared:
        """Predict, and place the Gaussians, with their labels or, which is quicker, without."""
        slab, task, device = self.slabs[number], self.task, self.chosen.device
        trusted, (first, last) = task.trusted.near(slab), slab.near
        found = Correspondence(task.found.displacement[first:last], task.found.confidence[first:last])
        part, of = self._part(number, self._sweeps)
        with self._monitor.stage("prediction", part, of) as tick:
            predictions = predict(trusted.planes, trusted.slices, trusted.plane_counts, found, task.ensemble,
                                  lambda done: tick(round(100 * done), 100), device, task.priors, task.fusion)
            if len(trusted.stacks) > 1:
                predictions = corrected(predictions, [(stack.planes, stack.image) for stack in trusted.stacks[1:]])
        preset = task.preset
        with self._monitor.stage("initialization", part, of):
            if preset.initialization == "grid":
                start = on_grid(trusted.box, preset.grid_size,
                                task.channels.count if preset.training.semantic_loss else 1, task.seed).to(device)
            else:
                layers = trusted.stacks[0].layers if labelled else None
                gaps = Gaps(trusted.planes, trusted.slices, found, tuple(p.images for p in predictions),
                            trusted.intensity.background, layers, task.channels, task.label_priors)
                start = along_displacement(gaps, preset.in_plane_sigma, preset.depth_sigmas, preset.opacity,
                                           (float(trusted.box[0, 2]), float(trusted.box[1, 2])), device)
        return _Prepared(slab, trusted, predictions, start)

    def _views(self, prepared: _Prepared, span: tuple[float, float] | None = None) -> list[TargetPlanes]:
        """What the Gaussians are fitted to.

        span: depths (mm) of the pixels that count; their weights are then such that the means of all slabs add up to
        that of the whole.
        """
        task, trusted, views = self.task, prepared.trusted, []
        background = trusted.intensity.background
        for stack, whole in zip(trusted.stacks, task.trusted.stacks, strict=True):
            masks = None
            if stack.layers is not None and task.is_semantic:
                masks = torch.from_numpy(self.task.channels.one_hot(stack.layers)).to(self.chosen.device)
            target = torch.from_numpy(stack.image - background).to(self.chosen.device)
            views.append(_view(stack.planes, target, 1.0, masks, span, whole.image.size))
        if task.preset.predicted_weight:
            planes = replace(trusted.planes, origins=np.concatenate([p.planes.origins for p in prepared.predictions]))
            images = torch.cat([p.images for p in prepared.predictions])
            views.append(_view(planes, images - background, task.preset.predicted_weight, None, span,
                               self._predicted_pixels()))
        return [view for view in views if len(view.planes)]

    def _predicted_pixels(self) -> int:
        planes = self.task.trusted.planes
        return planes.rows * planes.columns * int(self.task.trusted.plane_counts.sum())

    def _core(self, prepared: _Prepared, fitted: GaussianParameters) -> list[GaussianParameters]:
        """The Gaussians that a slab contributes to the model: all as they are, or gap by gap, labelled ones apart."""
        if prepared.slab.is_everything:
            return [fitted]
        offsets = self.task.trusted.planes.offsets
        low, high = self._span(prepared.slab)
        borders = torch.tensor([low, *prepared.slab.borders(offsets), high], device=fitted.centres.device)
        gap = torch.bucketize(prepared.start.centres[:, 2].contiguous(), borders, right=True)
        clouds = (fitted.subset(torch.nonzero(gap == n)[:, 0]) for n in range(1, len(borders)))
        return [part for cloud in clouds for part in by_labels(cloud)]

    def _complete_below(self, depth: float, fitted: GaussianParameters) -> float:
        """How far down the Gaussians beyond `depth` (mm) are felt, judged by those of the halo."""
        beyond = fitted.centres[:, 2] >= depth
        reach = self.task.preset.cutoff ** 0.5 * fitted.log_depths.exp()
        lowest = torch.where(beyond, fitted.centres[:, 2] - reach, torch.inf).min()
        return min(float(lowest), depth)

    def _error(self, prepared: _Prepared, fitted: GaussianParameters) -> np.ndarray:
        """Expected error half-way through each gap of the core, coarse, input units.

        |model - truth| <= |model - prediction| + |prediction - truth|.
        """
        slab, scale = prepared.slab, self.task.trusted.intensity
        core = prepared.predictions[slab.first - slab.near[0]:slab.stop - slab.near[0]]
        middles = replace(prepared.trusted.planes,
                          origins=np.stack([p.planes.origins[len(p.planes) // 2] for p in core]))
        result = []
        for some, raster in self._drawn(fitted.image_only(), middles, 1):
            drawn = scale.to_input(raster[:, 0].cpu().numpy() + np.float32(scale.background))
            predicted = torch.stack([p.images[len(p.images) // 2] for p in core[some]]).cpu().numpy()
            expected = torch.stack([p.expected_error for p in core[some]]).cpu().numpy()
            result.append(coarsened(expected * np.float32(scale.scale) + np.abs(drawn - scale.to_input(predicted))))
        return np.concatenate(result)

    def _residual(self, stack: ModelSpaceStack, span: tuple[float, float], fitted: GaussianParameters) -> Residual:
        """How exactly trusted slices are reproduced at depths (mm) within `span`."""
        total, scale, channels = Residual(), self.task.trusted.intensity, self.task.channels
        stack = stack.between(*span)
        for some, raster in self._drawn(fitted, stack.planes, channels.count):
            depths = depth_of_pixels(stack.planes.subset(some))
            inside = (depths >= span[0]) & (depths < span[1])
            drawn = scale.to_input(raster[:, 0].cpu().numpy() + np.float32(scale.background))
            difference = np.abs(drawn - scale.to_input(stack.image[some]))[inside]
            labels = agreeing = 0
            if stack.layers is not None and channels.segments:
                layers = stack.layers[:1 + max(s.layer for s in channels.segments), some]
                same = (channels.decode(raster, len(layers), layers.dtype) == layers)[:, inside]
                labels, agreeing = same.size, int(same.sum())
            total += Residual(difference.size, float(difference.sum(dtype=np.float64)),
                              float((difference ** 2).sum(dtype=np.float64)), float(difference.max(initial=0.0)),
                              labels, agreeing)
        return total

    def _drawn(self, fitted: GaussianParameters, planes: PlaneStack, channel_count: int
               ) -> Iterator[tuple[slice, Tensor]]:
        renderer = replace(self.renderer, channel_count=channel_count)
        return rasters(renderer, [Shard.of(fitted, renderer.cutoff)], planes, self.chosen.device)

    def _span(self, slab: Slab) -> tuple[float, float]:
        return slab.span(self.task.trusted.planes.offsets)

    def _part(self, number: int, sweeps: int) -> tuple[int, int]:
        """Which part this is of how many, where every slab is visited in each of `sweeps` sweeps."""
        return min(self._sweep, sweeps - 1) * len(self.slabs) + number, sweeps * len(self.slabs)


def _view(planes: PlaneStack, target: Tensor, weight: float, masks: Tensor | None, span: tuple[float, float] | None,
          whole: int) -> TargetPlanes:
    """The planes that have pixels within `span`, others of their pixels weighing nothing; see `Fitting._views`.

    whole: number of pixels of this view where there is one slab.
    """
    if span is None:
        return TargetPlanes(planes, target, torch.full((len(planes), 1, 1), weight, device=target.device), masks)
    depths = depth_range(planes)
    chosen = np.flatnonzero((depths[:, 1] >= span[0]) & (depths[:, 0] < span[1]))
    planes, target = planes.subset(chosen), target[torch.from_numpy(chosen).to(target.device)]
    pixels = depth_of_pixels(planes)
    share = weight * target.numel() / whole * ((pixels >= span[0]) & (pixels < span[1]))
    if len(share) and (share == share[0, 0, 0]).all():
        share = share[:, :1, :1]
    return TargetPlanes(planes, target, torch.from_numpy(share.astype(np.float32)).to(target.device), masks)


def _field(task: Task) -> TriplaneField:
    triplane = task.preset.triplane
    with torch.random.fork_rng(devices=[]):  # the caller's own random numbers go on as they were
        torch.manual_seed(task.seed)
        return TriplaneField(torch.from_numpy(task.trusted.box), triplane.residual_limits,
                             label_channels=task.channels.count - 1 if task.is_semantic else 0,
                             resolution=triplane.resolution, features=triplane.features, hidden=triplane.hidden,
                             fusion=triplane.fusion)
