"""Labels on slices whose image is known and on which none were drawn."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..config.labels import LabelConfig
from ..config.presets import Preset
from ..data.images import Segment
from ..data.model_space import ModelSpaceData
from ..labels.signed_distance import signed_distance
from ..runtime.progress import Tick


@dataclass(frozen=True)
class Completed:
    """Labels on all planes of the primary stack.

    Attributes:
        layers: [layer, plane, row, column] label values, of the type that was given.
        certainty: [plane, row, column] float32, probability of the label that was chosen; 1 where labels were given.
        next_slices: Numbers of planes on which labels would help most if they were drawn, the best first.
        methods: Share of each method, by its name.
        hidden_dice: Mean Dice of slices that were hidden and filled; None where nothing could be hidden.
    """

    layers: np.ndarray
    certainty: np.ndarray
    next_slices: tuple[int, ...]
    methods: Mapping[str, float]
    hidden_dice: float | None


def complete(observed: ModelSpaceData, preset: Preset, seed: int, device: torch.device, tick: Tick) -> Completed:
    """Fill labels by shape-based interpolation: signed distances are linear in depth, the largest wins.

    Args:
        observed: The observed slices; `labelled` of the primary stack tells where labels are known.
        preset: What decides about labels.
        seed: Of random numbers.
        device: Where to compute.
        tick: Called after each plane; may raise to stop.
    """
    stack, offsets = observed.stacks[0], observed.planes.offsets
    assert stack.layers is not None and stack.labelled is not None, "there is something to fill, and to fill it from"
    layers, certainty = stack.layers.copy(), np.ones(stack.image.shape, np.float32)
    known, unknown = np.flatnonzero(stack.labelled), np.flatnonzero(~stack.labelled)
    for number, plane in enumerate(unknown.tolist()):
        after = int(np.searchsorted(known, plane))
        beside = known[[max(after - 1, 0), min(after, len(known) - 1)]].tolist()
        share = float(np.interp(offsets[plane], offsets[beside], (0.0, 1.0))) if beside[0] != beside[1] else 0.0
        for layer, values in enumerate(layers):
            ends = [stack.layers[layer, end] for end in beside]
            values[plane], sure = _between(ends, share, layer, observed.segments, preset.labels)
            certainty[plane] = np.minimum(certainty[plane], sure)
        tick(number + 1, len(unknown))
    doubt = (1.0 - certainty).sum(axis=(1, 2), dtype=np.float64)
    order = sorted(unknown.tolist(), key=lambda plane: -doubt[plane])
    return Completed(layers, certainty, tuple(order), {"shape": 1.0}, None)


def _between(ends: list[np.ndarray], share: float, layer: int, segments: tuple[Segment, ...], config: LabelConfig
             ) -> tuple[np.ndarray, np.ndarray]:
    """Label values [row, column] of one layer at `share` of the way between two slices, and their probability."""
    values = np.array([0, *(s.value for s in segments if s.layer == layer)], ends[0].dtype)
    present = values[[value == 0 or any((end == value).any() for end in ends) for value in values]]
    distances = np.stack([(1 - share) * signed_distance(ends[0] == value, config)
                          + share * signed_distance(ends[1] == value, config) for value in present])
    best, ordered = distances.argmax(axis=0), np.sort(distances, axis=0)
    margin = ordered[-1] - ordered[-2] if len(present) > 1 else np.full(ends[0].shape, np.inf, np.float32)
    return present[best], (1.0 / (1.0 + np.exp(-margin))).astype(np.float32)
