"""Labels on slices whose image is known and on which none were drawn."""
from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..config.label_completion import LabelCompletionConfig
from ..config.labels import LabelConfig
from ..data.model_space import ModelSpaceData
from ..labels.channels import LabelChannels
from ..runtime.progress import Tick
from ..runtime.threads import serial_torch, workers
from .arbitration import Candidates, weights_of
from .carrying import DrawnLabels, Motions
from .examples import Examples
from .network import CompletionNetwork
from .next_slices import next_slices
from .stack import CompletionStack
from .trained import TrainedLabels, scan_of
from .training import PARTS, train

_UNFIT = "What was learnt before is of another image, other segments or another preset; the labels are learnt anew."


@dataclass(frozen=True)
class Completed:
    """Labels on all planes of the primary stack.

    Attributes:
        layers: [layer, plane, row, column] label values, of the type that was given.
        certainty: [plane, row, column] float32, probability of the label that was chosen; 1 where labels were given.
        next_slices: Numbers of planes on which labels would help most if they were drawn, the best first.
        learnt: What was learnt about the labels, how much each method counts, and how good they are.
        is_warm: Whether that started from what an earlier run learnt.
        notes: What the user should know.
    """

    layers: np.ndarray
    certainty: np.ndarray
    next_slices: tuple[int, ...]
    learnt: TrainedLabels
    is_warm: bool = False
    notes: tuple[str, ...] = ()


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
        start: What an earlier run on this scan learnt: fewer steps then do.  A warning and a note tell if it is of
            another image, other segments or another preset, and it is not used.
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
    notes: tuple[str, ...] = ()
    if start is not None and start.scan != scan:
        start, notes = None, (_UNFIT,)
        warnings.warn(_UNFIT, RuntimeWarning, stacklevel=2)
    layers, certainty = stack.layers.copy(), np.ones(stack.image.shape, np.float32)
    doubt = dict[int, float]()
    with serial_torch():  # else the last bits would depend on the number of processors
        trained = _Training(images, drawn, config, seed, tick).run(scan, start)
        for plane, chosen, probability, doubt[plane] in _filled(trained, np.flatnonzero(~stack.labelled), device):
            tick(config.steps, config.steps)
            layers[:, plane, window[0], window[1]] = channels.values(chosen, len(layers), layers.dtype)
            certainty[plane, window[0], window[1]] = probability.min(axis=0)
    return Completed(layers, certainty, next_slices(doubt, planes, images.depths), trained.learnt, start is not None,
                     notes)


def _filled(trained: _Trained, planes: np.ndarray, device: torch.device
            ) -> Iterator[tuple[int, np.ndarray, np.ndarray, float]]:
    """Labels of `planes`, gap after gap; several gaps at a time on a CPU.

    Yields:
        Plane, and what `Candidates.chosen` returns.
    """
    drawn = trained.candidates.drawn.planes
    gaps = np.split(planes, np.flatnonzero(np.diff(np.searchsorted(drawn, planes))) + 1)

    def fill(gap: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray, float]]:
        candidates = replace(trained.candidates, places={})  # of its own, as it is changed
        return [(plane, *candidates.chosen(plane, trained.learnt.methods)) for plane in gap.tolist()]

    with ThreadPoolExecutor(workers(device)) as pool:
        for found in pool.map(fill, gaps):
            yield from found


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
        config, drawn, everything = self.config, self.drawn, np.arange(len(self.drawn.planes))
        with torch.random.fork_rng(devices=[]):  # the caller's own random numbers go on as they were
            torch.manual_seed(self.seed)
            network = CompletionNetwork(drawn.channels, self.images.box, config.network)
        if start is not None:
            start.put_into(network)
        network = network.to(self.images.images.device)
        generator = torch.Generator().manual_seed(self.seed)
        methods, dice = (start.methods, start.hidden_dice) if start else ({"network": 1.0}, None)
        hidden = everything[2:-1:3] if start is None and config.judged else everything[:0]
        first = round((1.0 - config.again) * config.steps) if start else 0
        if len(hidden):
            first, shown = round(config.judged * config.steps), drawn.only(np.setdiff1d(everything, hidden))
            self._train(network, (0, first), shown, generator)
            methods, dice = weights_of(Candidates(self.images, shown, network), drawn.only(hidden))
        self._train(network, (first, config.steps), drawn, generator)
        return _Trained(Candidates(self.images, drawn, network), TrainedLabels.of(network, scan, methods, dice))

    def _train(self, network: CompletionNetwork, span: tuple[int, int], drawn: DrawnLabels,
               generator: torch.Generator) -> None:
        if span[0] < span[1]:
            examples = Examples(self.images, drawn, span[1] - span[0], PARTS, self.config.batch // PARTS,
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
