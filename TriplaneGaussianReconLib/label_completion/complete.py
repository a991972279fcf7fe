"""Labels on slices whose image is known and on which none were drawn."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..config.label_completion import LabelCompletionConfig
from ..config.labels import LabelConfig
from ..data.model_space import ModelSpaceData
from ..labels.channels import LabelChannels
from ..runtime.progress import Tick
from .arbitration import Candidates, weights_of
from .carrying import DrawnLabels, Motions
from .examples import Examples
from .network import CompletionNetwork
from .next_slices import next_slices
from .stack import CompletionStack
from .trained import TrainedLabels, scan_of
from .training import PARTS, train


@dataclass(frozen=True)
class Completed:
    """Labels on all planes of the primary stack.

    Attributes:
        layers: [layer, plane, row, column] label values, of the type that was given.
        certainty: [plane, row, column] float32, probability of the label that was chosen; 1 where labels were given.
        next_slices: Numbers of planes on which labels would help most if they were drawn, the best first.
        learnt: What was learnt about the labels, how much each method counts, and how good they are.
    """

    layers: np.ndarray
    certainty: np.ndarray
    next_slices: tuple[int, ...]
    learnt: TrainedLabels


def complete(observed: ModelSpaceData, config: LabelCompletionConfig, labels: LabelConfig, seed: int,
             device: torch.device, tick: Tick, start: TrainedLabels | None = None) -> Completed:
    """Fill labels on the slices that carry none, guided by their image.

    Args:
        observed: The observed slices; `labelled` of the primary stack tells where labels are known.
        config: Of the network and its training.
        labels: Of signed distances.
        seed: Of random numbers.
        device: Where to compute.
        tick: Called before each step; may raise to stop.
        start: What an earlier run on this scan learnt: fewer steps then do. One of another scan is not used.
    """
    stack, scan = observed.stacks[0], scan_of(observed, config.network)
    assert stack.layers is not None and stack.labelled is not None, "there is something to fill, and to fill it from"
    channels, planes = LabelChannels(observed.segments), np.flatnonzero(stack.labelled)
    window = _window(stack.layers[:, planes], config.margin)
    cut = stack.cut(slice(None), *window)
    assert cut.layers is not None
    images = CompletionStack.of(cut.image, cut.planes, observed.box, observed.pixel, config.network.neighbours, device)
    motions = Motions.between(images.images[:, 1].cpu().numpy(), config.flow)
    drawn = DrawnLabels(planes, channels.numbered(cut.layers[:, planes]), channels, motions, labels)
    trained = _Training(images, drawn, config, seed, tick).run(scan, start if start and start.scan == scan else None)
    layers, certainty = stack.layers.copy(), np.ones(stack.image.shape, np.float32)
    doubt = dict[int, float]()
    for plane in np.flatnonzero(~stack.labelled).tolist():
        tick(config.steps, config.steps)
        chosen, probability, doubt[plane] = trained.candidates.chosen(plane, np.arange(len(planes)),
                                                                      trained.learnt.methods)
        layers[:, plane, window[0], window[1]] = channels.values(chosen, len(layers), layers.dtype)
        certainty[plane, window[0], window[1]] = probability.min(axis=0)
    return Completed(layers, certainty, next_slices(doubt, planes, images.depths), trained.learnt)


@dataclass(frozen=True)
class _Trained:
    """The methods with the network after its training, and what is kept of it."""

    candidates: Candidates
    learnt: TrainedLabels


@dataclass(frozen=True)
class _Training:
    """All that the network learns from; see `complete`."""

    images: CompletionStack
    drawn: DrawnLabels
    config: LabelCompletionConfig
    seed: int
    tick: Tick

    def run(self, scan: str, start: TrainedLabels | None) -> _Trained:
        """Train the network, at first without some labelled slices, on which it is then compared with other methods.

        Where there is a start, that was done before, and the last steps are enough.
        """
        config, everything = self.config, np.arange(len(self.drawn.planes))
        with torch.random.fork_rng(devices=[]):  # the caller's own random numbers go on as they were
            torch.manual_seed(self.seed)
            network = CompletionNetwork(self.drawn.channels, self.images.box, config.network)
        if start is not None:
            start.put_into(network)
        candidates = Candidates(self.images, self.drawn, network.to(self.images.images.device))
        generator = torch.Generator().manual_seed(self.seed)
        methods, dice = (start.methods, start.hidden_dice) if start else ({"network": 1.0}, None)
        hidden = everything[2:-1:3] if start is None and config.judged else everything[:0]
        first = round((1.0 - config.again) * config.steps) if start else 0
        if len(hidden):
            first, usable = round(config.judged * config.steps), np.setdiff1d(everything, hidden)
            self._train(network, (0, first), usable, generator)
            methods, dice = weights_of(candidates, hidden, usable)
        self._train(network, (first, config.steps), everything, generator)
        return _Trained(candidates, TrainedLabels.of(network, scan, methods, dice))

    def _train(self, network: CompletionNetwork, span: tuple[int, int], usable: np.ndarray,
               generator: torch.Generator) -> None:
        if span[0] < span[1]:
            examples = Examples(self.images, self.drawn, usable, span[1] - span[0], PARTS, self.config.batch // PARTS,
                                self.config.examples, generator)
            train(network, examples, span, self.config, self.tick)


def _window(layers: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The part of a slice that holds all labels [layer, plane, row, column], and `margin` pixels around it."""
    found = []
    for axis in (2, 3):
        at = np.flatnonzero(layers.any(axis=tuple({0, 1, 2, 3} - {axis})))
        first, last = (at[0], at[-1]) if len(at) else (0, layers.shape[axis] - 1)
        found.append(slice(max(int(first) - margin, 0), int(last) + margin + 1))
    return found[0], found[1]
