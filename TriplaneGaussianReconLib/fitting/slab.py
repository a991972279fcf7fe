"""One slab: what is predicted there, where its Gaussians start, what they are fitted to, and what comes out."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..data.gap_sampling import layer_stride
from ..data.model_space import ModelSpaceData, ModelSpaceStack
from ..data.slabs import Slab
from ..gaussians.blind_start import at_random, on_grid
from ..gaussians.cloud import GaussianParameters, Gaussians
from ..gaussians.placement import Gaps, along_displacement
from ..labels.channels import LabelChannels
from ..model.shards import by_labels
from ..prediction.expected_error import coarsened
from ..prediction.predict import Prediction, corrected, predict
from ..registration.optical_flow import Correspondence
from ..rendering.planes import image_of
from ..rendering.renderer import Renderer
from ..runtime.image_operations import transferred
from ..runtime.progress import Tick
from .refine import WantedLayers
from .residual import Residual, residual_of
from .targets import TargetPlanes
from .task import Task

Stage = Callable[[str], AbstractContextManager[Tick]]  # enters the stage of that name

# Gaps on either side of one that are looked at when it is predicted: of the six slices around it two lie beyond.
_LOOKED_AT = 2


@dataclass(frozen=True)
class FittedSlab:
    """The core of a slab.

    Attributes:
        clouds: Its Gaussians, none of them empty.
        complete_below: Depth (mm) that the support of no Gaussian of a later slab reaches.
        error: [gap, coarse row, coarse column] expected half-way through each gap, input units.
        residuals: One per observed stack.
    """

    clouds: list[GaussianParameters]
    complete_below: float
    error: np.ndarray
    residuals: list[Residual]


@dataclass(frozen=True)
class PreparedSlab:
    """A slab before it is fitted.

    Attributes:
        task: What is the same for all slabs.
        slab: Which gaps.
        observed: The observed slices of core and halo.
        predictions: One per gap of core and halo.
        start: The Gaussians to begin with.
    """

    task: Task
    slab: Slab
    observed: ModelSpaceData
    predictions: list[Prediction]
    start: GaussianParameters

    @classmethod
    def of(cls, task: Task, slab: Slab, known: Mapping[int, Prediction], device: torch.device, stage: Stage
           ) -> PreparedSlab:
        """Predict the gaps of a slab, and place its Gaussians.

        Args:
            task: What is the same for all slabs.
            slab: Which gaps.
            known: Predictions of some gaps, which are not made again.
            device: Where to work and to keep the result.
            stage: Enters a stage of the reconstruction.
        """
        observed, (first, last) = task.observed.near(slab), slab.near
        correspondence = Correspondence(task.correspondence.displacement[first:last],
                                        task.correspondence.confidence[first:last])
        with stage("prediction") as tick:
            unknown = [gap for gap in range(first, last) if gap not in known]
            by_gap = {**known, **dict(zip(unknown, _predicted(task, unknown, device, tick), strict=True))}
            predictions = [by_gap[gap] for gap in range(first, last)]
        preset = task.preset
        with stage("initialization"):
            if preset.initialization != "correspondence":
                place = {"grid": on_grid, "random": at_random}[preset.initialization]
                pixels = round(float(np.ptp(observed.box, axis=0).max()) / observed.pixel)
                blind = replace(preset.blind, size=min(preset.blind.size, pixels),
                                intensity=preset.blind.intensity - observed.intensity.background)
                start = place(observed.box, float(np.median(np.diff(observed.planes.offsets))),
                              task.channels.count if task.is_semantic else 1, task.seed, blind, device)
            else:
                gaps = Gaps(observed.planes, observed.slices, correspondence, tuple(p.images for p in predictions),
                            observed.intensity.background, observed.stacks[0].layers, task.channels,
                            task.label_super_resolutions, preset.labels, preset.flow, observed.thickness)
                start = along_displacement(gaps, preset.in_plane_sigma, preset.depth_sigmas, preset.opacity,
                                           (float(observed.box[0, 2]), float(observed.box[1, 2])), preset.placement,
                                           device)
        return cls(task, slab, observed, predictions, start)

    @property
    def span(self) -> tuple[float, float]:
        """The depths (mm) of the core."""
        return self.slab.span(self.task.observed.planes.offsets)

    def by_gap(self) -> dict[int, Prediction]:
        """The prediction of each gap of core and halo, by its number."""
        return dict(zip(range(*self.slab.near), self.predictions, strict=True))

    def wanted(self) -> WantedLayers:
        """What Gaussians that were placed along the displacement are to draw on their layers."""
        observed, background, device = self.observed, self.observed.intensity.background, self.start.centres.device
        carrying = [slice(None, None, layer_stride(len(p.planes))) for p in self.predictions]
        origins = np.concatenate([observed.planes.origins, *(
            p.planes.origins[some] for p, some in zip(self.predictions, carrying, strict=True))])
        images = torch.cat([torch.from_numpy(observed.slices).to(device), *(
            p.images[some] for p, some in zip(self.predictions, carrying, strict=True))]) - background
        order = np.argsort(origins[:, 2], kind="stable")
        planes, weights = replace(observed.planes, origins=origins), None
        if observed.mask is not None and observed.stacks[0].weights is not None:
            held = observed.mask.at(planes.points())
            held = np.concatenate([observed.stacks[0].weights, held[len(observed.planes):]]).astype(np.float32)
            weights = torch.from_numpy(held[order]).to(device)
        return WantedLayers(planes.subset(order), images[transferred(order, device)], weights, observed.stacks[1:],
                            background)

    def targets(self) -> list[TargetPlanes]:
        """What Gaussians are trained on: observed slices, and predicted planes of lower weight."""
        task, background, device = self.task, self.observed.intensity.background, self.start.centres.device
        targets = []
        for stack in self.observed.stacks:
            image = torch.from_numpy(stack.image - background).to(device)
            masks, labelled = _masks(stack, task.channels, device) if task.is_semantic else (None, None)
            targets.append(TargetPlanes.uniform(stack.planes, image, 1.0, masks, stack.weights, labelled, background))
        weight = task.preset.predicted_weight
        if weight:
            planes = replace(self.observed.planes, origins=np.concatenate([p.planes.origins for p in self.predictions]))
            image = torch.cat([p.images for p in self.predictions]) - background
            mask = self.observed.mask
            shares = None if mask is None else mask.at(planes.points())
            targets.append(TargetPlanes.uniform(planes, image, weight, shares=shares, background=background))
        return targets

    def finished(self, fitted: GaussianParameters, renderer: Renderer) -> FittedSlab:
        """Return what the fitted Gaussians contribute to the result."""
        with torch.no_grad():
            drawn = fitted.drawn()
            return FittedSlab(self._core(fitted), self._complete_below(fitted),
                              self._expected_error(drawn.image_only(), replace(renderer, channel_count=1)),
                              self._residuals(drawn, replace(renderer, channel_count=self.task.channels.count)))

    def _residuals(self, drawn: Gaussians, renderer: Renderer) -> list[Residual]:
        """How exactly each observed stack is reproduced within the core."""
        task, stacks = self.task, [stack.between(*self.span) for stack in self.observed.stacks]
        return [residual_of(renderer.in_chunks(drawn, stack.planes), stack, self.span, task.observed.intensity,
                            task.channels) for stack in stacks]

    def _core(self, fitted: GaussianParameters) -> list[GaussianParameters]:
        """The Gaussians that the slab contributes to the model: all as they are, or gap by gap, labelled ones apart."""
        if self.slab.is_everything:
            return [fitted]
        low, high = self.span
        borders = torch.tensor([low, *self.slab.borders(self.task.observed.planes.offsets), high],
                               device=fitted.centres.device)
        gap = torch.bucketize(self.start.centres[:, 2].contiguous(), borders, right=True)
        clouds = (fitted.subset(torch.nonzero(gap == n)[:, 0]) for n in range(1, len(borders)))
        return [shard for cloud in clouds for shard in by_labels(cloud)]

    def _complete_below(self, fitted: GaussianParameters) -> float:
        """Where the support of Gaussians beyond the core begins (mm), judged by those of the halo."""
        _, end = self.span
        beyond = fitted.centres[:, 2] >= end
        support = self.task.preset.cutoff ** 0.5 * fitted.log_depths.exp()
        lowest = torch.where(beyond, fitted.centres[:, 2] - support, torch.inf).min()
        return min(float(lowest), end)

    def _expected_error(self, drawn: Gaussians, renderer: Renderer) -> np.ndarray:
        """Expected error half-way through each gap of the core, coarse, input units.

        |model - truth| <= |model - prediction| + |prediction - truth|.
        """
        slab, scale = self.slab, self.task.observed.intensity
        all_core = self.predictions[slab.first - slab.near[0]:slab.stop - slab.near[0]]
        filled = np.flatnonzero([len(p.planes) for p in all_core])
        core = [all_core[n] for n in filled]
        nothing = coarsened(np.zeros((1, *self.observed.planes.shape[1:]), np.float32), self.task.preset.expected_error)
        if not core:
            return np.repeat(nothing, len(all_core), axis=0)
        middles = replace(self.observed.planes,
                          origins=np.stack([p.planes.origins[len(p.planes) // 2] for p in core]))
        errors = []
        for indices, raster in renderer.in_chunks(drawn, middles):
            predicted = torch.stack([p.images[len(p.images) // 2] for p in core[indices]]).cpu().numpy()
            expected = torch.stack([p.expected_error for p in core[indices]]).cpu().numpy()
            apart = np.abs(image_of(raster, scale) - scale.to_input(predicted))
            errors.append(coarsened(expected * np.float32(scale.scale) + apart, self.task.preset.expected_error))
        result = np.repeat(nothing, len(all_core), axis=0)
        result[filled] = np.concatenate(errors)
        return result


def _predicted(task: Task, gaps: Sequence[int], device: torch.device, tick: Tick) -> list[Prediction]:
    """Predict gaps, ascending, from the slices around them."""
    if not gaps:
        return []
    observed, found = task.observed, task.correspondence
    first, last = max(gaps[0] - _LOOKED_AT, 0), min(gaps[-1] + 1 + _LOOKED_AT, len(observed.planes) - 1)
    predictions = predict(observed.planes.subset(slice(first, last + 1)), observed.slices[first:last + 1],
                          observed.plane_counts[first:last],
                          Correspondence(found.displacement[first:last], found.confidence[first:last]), task.ensemble,
                          lambda done: tick(round(100 * done), 100), device, task.super_resolutions, task.fusion,
                          [gap - first for gap in gaps])
    return corrected(predictions, observed.stacks[1:], task.preset.crossing) if observed.stacks[1:] else predictions


def _masks(stack: ModelSpaceStack, channels: LabelChannels, device: torch.device
           ) -> tuple[Tensor | None, Tensor | None]:
    """Masks of the labels on the planes that carry some, and the numbers of these planes, None for all."""
    if stack.layers is None or (stack.labelled is not None and not stack.labelled.any()):
        return None, None
    if stack.labelled is None:
        return torch.from_numpy(channels.one_hot(stack.layers)).to(device), None
    labelled = np.flatnonzero(stack.labelled)
    masks = channels.one_hot(stack.layers[:, labelled])
    return torch.from_numpy(masks).to(device), torch.from_numpy(labelled).to(device)
