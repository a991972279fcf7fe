"""Labels on slices whose image is known and on which none were drawn."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..config.label_completion import LabelCompletionConfig
from ..config.presets import Preset
from ..data.model_space import ModelSpaceData
from ..labels.channels import LabelChannels
from ..runtime.progress import Tick
from .arbitration import Candidates, weights_of
from .carrying import DrawnLabels, Motions
from .examples import Examples
from .network import CompletionNetwork
from .stack import CompletionStack
from .training import PARTS, train


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
    """Fill labels on the slices that carry none, guided by their image.

    Args:
        observed: The observed slices; `labelled` of the primary stack tells where labels are known.
        preset: What decides about labels.
        seed: Of random numbers.
        device: Where to compute.
        tick: Called before each step; may raise to stop.
    """
    stack, config = observed.stacks[0], preset.label_completion
    assert stack.layers is not None and stack.labelled is not None, "there is something to fill, and to fill it from"
    channels = LabelChannels(observed.segments)
    window = _window(stack.layers[:, stack.labelled], config.margin)
    cut = stack.cut(slice(None), *window)
    images = CompletionStack.of(cut.image, cut.planes, observed.pixel, config.network.neighbours, device)
    planes = np.flatnonzero(stack.labelled)
    motions = Motions.between(images.images[:, 1].cpu().numpy(), config.flow)
    assert cut.layers is not None
    drawn = DrawnLabels(planes, channels.numbered(cut.layers[:, planes]), channels, motions, preset.labels)
    learnt, weights, dice = _learnt(images, drawn, config, seed, device, tick)
    layers, certainty = stack.layers.copy(), np.ones(stack.image.shape, np.float32)
    doubt = {}
    for plane in np.flatnonzero(~stack.labelled).tolist():
        chosen, probability = learnt.chosen(plane, np.arange(len(planes)), weights)
        layers[(slice(None), plane, *window)] = channels.values(chosen, len(layers), layers.dtype)
        certainty[(plane, *window)] = probability.min(axis=0)
        doubt[plane] = float((1.0 - certainty[plane]).sum(dtype=np.float64))
    return Completed(layers, certainty, tuple(sorted(doubt, key=lambda n: -doubt[n])), weights, dice)


def _learnt(images: CompletionStack, drawn: DrawnLabels, config: LabelCompletionConfig, seed: int,
            device: torch.device, tick: Tick) -> tuple[Candidates, dict[str, float], float | None]:
    """Train the network, at first without some labelled slices, on which it is then compared with other methods."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # the caller's own random numbers go on as they were
        torch.manual_seed(seed)
        network = CompletionNetwork(drawn.channels, images.box, config.network).to(device)
    candidates = Candidates(images, drawn, network)
    everything = np.arange(len(drawn.planes))
    hidden = everything[2:-1:3]
    judged = round(config.judged * config.steps) if len(hidden) else 0
    spans = [((0, judged), np.setdiff1d(everything, hidden))] if judged else []
    weights, dice = {"network": 1.0}, None
    for span, usable in [*spans, ((judged, config.steps), everything)]:
        examples = Examples(images, drawn, usable, span[1] - span[0], PARTS, config.batch // PARTS, config.examples,
                            generator)
        train(network, examples, span, config, tick)
        if span[1] == judged:
            weights, dice = weights_of(candidates, hidden, usable)
    return candidates, weights, dice


def _window(layers: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The part of a slice that holds all labels [layer, plane, row, column], and `margin` pixels around it."""
    found = []
    for axis in (2, 3):
        at = np.flatnonzero(layers.any(axis=tuple({0, 1, 2, 3} - {axis})))
        first, last = (at[0], at[-1]) if len(at) else (0, layers.shape[axis] - 1)
        found.append(slice(max(int(first) - margin, 0), int(last) + margin + 1))
    return found[0], found[1]
