"""What is expected between the trusted slices before any Gaussian is placed."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ..data.gap_sampling import evenly
from ..data.geometry import PlaneStack
from ..registration.optical_flow import Correspondence
from ..runtime.image_operations import CPU, blurred, constants
from ..runtime.threads import serial_torch, shares, workers
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import SuperResolution
from .ensemble import EnsembleWeights
from .fusion import LearnedFusion, features
from .fusion import working_memory as fusion_memory
from .interpolators import Neighbours, candidates, working_memory

NONE: Mapping[int, SuperResolution] = MappingProxyType({})
# How far (pixels, standard deviation) a correction by a crossing slice reaches.
CORRECTION_REACH = 1.0


@dataclass(frozen=True)
class Prediction:
    """The space between two trusted slices.

    planes: where the n images lie, evenly spaced inside the gap.  images: [n, row, column].
    expected_error: [row, column], half-way through the gap.  All in the model's frame and units, on one device.
    """

    planes: PlaneStack
    images: Tensor
    expected_error: Tensor


def predict(planes: PlaneStack, slices: np.ndarray, counts: np.ndarray, found: Correspondence,
            ensemble: EnsembleWeights, tick: Callable[[float], None], device: torch.device = CPU,
            priors: Mapping[int, SuperResolution] = NONE, fusion: LearnedFusion | None = None) -> list[Prediction]:
    """Predict every gap of `slices` [plane, row, column].

    counts: (gap,) on how many planes, evenly spaced.  priors: by the number of planes in a gap, those that have learnt
    to bridge such gaps.  fusion: what takes their place, if that was learnt.  device: where the work is done and the
    predictions stay.  Many gaps are worked on at a time; the result depends on how many by rounding alone (1e-6 of the
    range, with a prior on the CPU).
    """
    positions = planes.offsets
    trusted, motion = torch.from_numpy(slices).to(device), found.on(device)
    priors, fusion = {count: prior.on(device) for count, prior in priors.items()}, fusion and fusion.on(device)
    bridged = np.array([count in priors and priors[count].bridges(width)
                        for count, width in zip(counts.tolist(), np.diff(positions), strict=True)])

    def learnt(gaps: np.ndarray, fractions: np.ndarray, prior: SuperResolution) -> Tensor:
        if fusion is None:
            return prior.predict(trusted, SliceContext.around(gaps, positions, fractions, prior.size))
        return fusion.fuse(features(trusted, positions, motion, gaps, fractions, prior))

    def several(gaps: np.ndarray) -> list[Prediction]:
        """Those of gaps that all have the same number of planes, and all a prior or none."""
        count = int(counts[gaps[0]])
        fractions = evenly(count)
        taught = learnt(gaps, fractions, priors[count]) if bridged[gaps[0]] else None
        by_candidate = candidates(trusted, positions, motion, Neighbours.around(gaps, len(slices)), fractions, taught)
        errors = ensemble.expected_error(by_candidate[:, :, count // 2])
        ways = fractions[:, None] * (planes.origins[gaps + 1] - planes.origins[gaps])[:, None]
        return [Prediction(replace(planes, origins=origins), *each) for origins, *each in zip(
            planes.origins[gaps, None] + ways, ensemble.mixture(by_candidate), errors, strict=True)]

    needed = working_memory if fusion is None else fusion_memory
    calls = [call for count, taught in np.unique(np.stack([counts, bridged], axis=1), axis=0).tolist()
             for call in shares(np.flatnonzero((counts == count) & (bridged == taught)),
                                needed(count, slices[0].size), device)]
    result: dict[int, Prediction] = {}
    with serial_torch(), ThreadPoolExecutor(workers(device)) as pool:
        for gaps, predictions in zip(calls, pool.map(several, calls), strict=True):
            tick(len(result) / len(counts))
            result.update(zip(gaps.tolist(), predictions, strict=True))
    return [result[gap] for gap in range(len(counts))]


def corrected(predictions: list[Prediction], crossing: Sequence[tuple[PlaneStack, np.ndarray]]) -> list[Prediction]:
    """Correct the predictions where trusted slices of other orientations cross them.

    crossing: (planes, pixels [plane, row, column]) per further stack.  On a crossed pixel the observed value replaces
    the prediction; around it the residual fades (normalised convolution).
    """
    points = np.concatenate([planes.points().reshape(-1, 3) for planes, _ in crossing])
    values = np.concatenate([pixels.ravel() for _, pixels in crossing])
    order = np.argsort(points[:, 2], kind="stable")
    points, values = points[order], values[order]
    return [_corrected(prediction, points, values) for prediction in predictions]


def _corrected(prediction: Prediction, points: np.ndarray, values: np.ndarray) -> Prediction:
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
        correction = blurred(residual, CORRECTION_REACH) / (blurred(count, CORRECTION_REACH) + 0.05)
        images[number] = torch.where(count > 0, total / count.clamp(min=1.0), images[number] + correction)
    return replace(prediction, images=images)
