"""What is expected between the observed slices before any Gaussian is placed."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ..config.prediction import CrossingConfig
from ..data.gap_sampling import evenly
from ..data.geometry import PlaneStack
from ..data.model_space import ModelSpaceStack
from ..registration.optical_flow import Correspondence, Motion
from ..runtime.image_operations import CPU, blurred, constants, transferred
from ..runtime.threads import serial_torch, shares, workers
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import SuperResolution
from .ensemble import EnsembleWeights
from .fusion import LearnedFusion, features
from .fusion import working_memory as fusion_memory
from .interpolators import SLICES_AROUND, member_predictions, working_memory

NONE: Mapping[int, SuperResolution] = MappingProxyType({})


@dataclass(frozen=True)
class Prediction:
    """What is expected between two observed slices, in the model's frame and units, on one device.

    Attributes:
        planes: where the n images lie, evenly spaced inside the gap.
        images: [n, row, column].
        expected_error: [row, column], half-way through the gap.
    """

    planes: PlaneStack
    images: Tensor
    expected_error: Tensor


def predict(planes: PlaneStack, slices: np.ndarray, counts: np.ndarray, found: Correspondence,
            ensemble: EnsembleWeights, tick: Callable[[float], None], device: torch.device = CPU,
            super_resolutions: Mapping[int, SuperResolution] = NONE, fusion: LearnedFusion | None = None,
            gaps: Sequence[int] | None = None) -> list[Prediction]:
    """Predict gaps of a stack.

    Many gaps are worked on at a time; the result depends on how many by rounding alone (1e-6 of the range, with a
    network on the CPU).

    Args:
        planes: of the stack.
        slices: [plane, row, column] float32 in [0, 1].
        counts: (gap,) on how many planes each is predicted, evenly spaced; it may be none.
        found: displacement across the gaps.
        ensemble: how the members are mixed.
        tick: called with the fraction done, may raise to stop.
        device: where the work is done and the predictions stay.
        super_resolutions: by the number of planes in a gap, the networks trained for such gaps.
        fusion: what takes their place, if that was trained.
        gaps: numbers of those that are predicted; all of them by default.

    Returns:
        One for each of `gaps`.
    """
    gaps = range(len(counts)) if gaps is None else gaps
    work = _Work(planes, torch.from_numpy(slices).to(device), found.on(device), ensemble,
                 {count: network.on(device) for count, network in super_resolutions.items()},
                 fusion.on(device) if fusion is not None else None)
    bridged = np.array([count in work.super_resolutions and work.super_resolutions[count].bridges(width)
                        for count, width in zip(counts.tolist(), np.diff(planes.offsets), strict=True)])
    is_wanted = np.isin(np.arange(len(counts)), gaps)
    calls = [call for count, is_bridged in np.unique(np.stack([counts, bridged], axis=1), axis=0).tolist()
             for call in shares(np.flatnonzero(is_wanted & (counts == count) & (bridged == is_bridged)),
                                work.memory(count), device)]
    result: dict[int, Prediction] = {}
    with serial_torch(), ThreadPoolExecutor(workers(device)) as pool:
        done = pool.map(lambda call: work.predictions(call, int(counts[call[0]]), bool(bridged[call[0]])), calls)
        for call, predictions in zip(calls, done, strict=True):
            tick(len(result) / len(gaps))
            result.update(zip(call.tolist(), predictions, strict=True))
    return [result[gap] for gap in gaps]


@dataclass(frozen=True)
class _Work:
    """A stack on a device, and all that predicts its gaps; as the arguments of `predict`."""

    planes: PlaneStack
    slices: Tensor
    motion: Motion
    ensemble: EnsembleWeights
    super_resolutions: Mapping[int, SuperResolution]
    fusion: LearnedFusion | None

    def memory(self, count: int) -> int:
        """Bytes needed per gap that is predicted on `count` planes."""
        pixels = self.slices[0].numel()
        return (working_memory(count, pixels) if self.fusion is None
                else fusion_memory(count, pixels, self.fusion.config))

    def predictions(self, gaps: np.ndarray, count: int, is_bridged: bool) -> list[Prediction]:
        """Those of gaps that all have `count` planes, and that networks bridge or do not bridge."""
        planes, fractions = self.planes, evenly(count)
        if not count:
            nothing = self.slices.new_zeros(1, *self.slices.shape[1:])
            return [Prediction(planes.subset(slice(0, 0)), nothing[:0], nothing[0]) for _ in gaps]
        super_resolved = self._super_resolved(gaps, fractions, self.super_resolutions[count]) if is_bridged else None
        context = SliceContext.around(gaps, planes.offsets, fractions, SLICES_AROUND)
        by_member = member_predictions(self.slices, self.motion, context, self.ensemble.config.smoothing,
                                       super_resolved)
        before, after = (transferred(gaps + shift, self.slices.device) for shift in (0, 1))
        errors = self.ensemble.expected_error(by_member[:, :, count // 2], self.slices[after] - self.slices[before],
                                              self.motion.confidence[before])
        ways = fractions[:, None] * (planes.origins[gaps + 1] - planes.origins[gaps])[:, None]
        return [Prediction(replace(planes, origins=origins), *each) for origins, *each in zip(
            planes.origins[gaps, None] + ways, self.ensemble.mixture(by_member), errors, strict=True)]

    def _super_resolved(self, gaps: np.ndarray, fractions: np.ndarray, network: SuperResolution) -> Tensor:
        """[gap, T, row, column]: super-resolution, or the fusion of it with the interpolators."""
        positions = self.planes.offsets
        if self.fusion is None:
            return network.predict(self.slices, SliceContext.around(gaps, positions, fractions, network.size))
        return self.fusion.fuse(features(self.slices, positions, self.motion, gaps, fractions, network,
                                         self.fusion.config, self.ensemble.config.smoothing))


def corrected(predictions: list[Prediction], crossing: Sequence[ModelSpaceStack],
              config: CrossingConfig) -> list[Prediction]:
    """Correct predictions where observed slices of other orientations cross them.

    On a crossed pixel the observed value replaces the prediction; around it the residual fades (normalised
    convolution).

    Args:
        predictions: of all gaps.
        crossing: the further stacks; their pixels without data correct nothing.
        config: how far a correction reaches.
    """
    held = [slice(None) if stack.weights is None else stack.weights.ravel() > 0 for stack in crossing]
    points = np.concatenate([s.planes.points().reshape(-1, 3)[some] for s, some in zip(crossing, held, strict=True)])
    values = np.concatenate([s.image.ravel()[some] for s, some in zip(crossing, held, strict=True)])
    order = np.argsort(points[:, 2], kind="stable")
    points, values = points[order], values[order]
    return [_corrected(prediction, points, values, config) for prediction in predictions]


def _corrected(prediction: Prediction, points: np.ndarray, values: np.ndarray, config: CrossingConfig) -> Prediction:
    """Correct one prediction by the `values` observed at `points` (n, 3) mm, ascending in z."""
    planes, images = prediction.planes, prediction.images.clone()
    half = 0.5 * (planes.offsets[1] - planes.offsets[0]) if len(planes) > 1 else 0.5 * float(
        np.linalg.norm(planes.column_step))
    inverse = np.linalg.inv(np.stack([planes.column_step[:2], planes.row_step[:2]]))
    size = planes.rows * planes.columns
    for number, origin in enumerate(planes.origins):
        near = slice(*np.searchsorted(points[:, 2], [origin[2] - half, origin[2] + half]))
        columns, rows = np.round((points[near, :2] - origin[:2]) @ inverse).astype(int).T
        inside = (rows >= 0) & (rows < planes.rows) & (columns >= 0) & (columns < planes.columns)
        pixels = rows[inside] * planes.columns + columns[inside]
        sums = [np.bincount(pixels, weights, minlength=size) for weights in (None, values[near][inside])]
        count, total = constants(np.reshape(sums, (2, planes.rows, planes.columns)), images.device)
        residual = total - count * images[number]
        correction = blurred(residual, config.reach) / (blurred(count, config.reach) + config.fading)
        images[number] = torch.where(count > 0, total / count.clamp(min=1.0), images[number] + correction)
    return replace(prediction, images=images)
