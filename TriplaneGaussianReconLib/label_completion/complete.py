"""Labels on slices whose image is known and on which none were drawn."""
from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..config.label_completion import HIDDEN, LabelCompletionConfig
from ..config.labels import LabelConfig
from ..data.model_space import ModelSpaceData
from ..data.probabilities import WHOLE
from ..labels.channels import LabelChannels
from ..runtime.progress import Tick
from ..runtime.threads import serial_torch, workers
from ..self_supervised.minimise import PARTS
from .arbitration import Candidates, Chosen, weights_of
from .carrying import DrawnLabels, Motions
from .examples import Examples
from .network import CompletionNetwork
from .next_slices import next_slices
from .stack import CompletionStack
from .trained import TrainedLabels, scan_of
from .training import train

_UNFIT = "What was learnt before is of another image, other segments or another preset; the labels are learnt anew."


@dataclass(frozen=True)
class Completed:
    """Labels on all planes of the primary stack.

    Attributes:
        layers: [layer, plane, row, column] label values, of the type that was given.
        certainty: [plane, row, column] float32, probability of the label that was chosen; 1 where labels were given.
        next_slices: Numbers of planes on which labels would help most if they were drawn, the best first.
        learnt: What was learnt about the labels, how much each method counts, and how good they are.
        percent: [segment, plane, row, column] uint8, probability of each segment, 0 or 100 where labels were given;
            None unless it was asked for.
        is_warm: Whether that started from what an earlier run learnt.
        notes: What the user should know.
    """

    layers: np.ndarray
    certainty: np.ndarray
    next_slices: tuple[int, ...]
    learnt: TrainedLabels
    percent: np.ndarray | None = None
    is_warm: bool = False
    notes: tuple[str, ...] = ()


def complete(observed: ModelSpaceData, config: LabelCompletionConfig, labels: LabelConfig, seed: int,
             device: torch.device, tick: Tick, start: TrainedLabels | None = None, probabilities: bool = False
             ) -> Completed:
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
        probabilities: Whether those of every segment are wanted.
    """
    stack, scan, notes = observed.stacks[0], scan_of(observed, config.network), tuple[str, ...]()
    assert stack.layers is not None and stack.labelled is not None, "there is something to fill, and to fill it from"
    channels, planes = LabelChannels(observed.segments), np.flatnonzero(stack.labelled)
    window = _window(stack.layers[:, planes], config.margin)
    images, drawn = _prepared(observed, window, channels, config, labels, device)
    if start is not None and start.scan != scan:
        start, notes = None, (_UNFIT,)
        warnings.warn(_UNFIT, RuntimeWarning, stacklevel=2)
    layers, certainty = stack.layers.copy(), np.ones(stack.image.shape, np.float32)
    doubts, wanted = dict[int, tuple[np.ndarray, np.ndarray]](), channels.of_segments if probabilities else []
    percent = np.zeros((len(wanted), *stack.image.shape), np.uint8)
    for number, given in zip(wanted, percent, strict=True):
        given[planes] = WHOLE * channels.mask(stack.layers[:, planes], number)
    with serial_torch():  # else the last bits would depend on the number of processors
        trained = _Training(images, drawn, config, seed, tick).run(scan, start)
        for plane, found in _filled(trained, np.flatnonzero(~stack.labelled), wanted, device):
            tick(config.steps, config.steps)
            layers[:, plane, window[0], window[1]] = channels.values(found.numbers, len(layers), layers.dtype)
            certainty[plane, window[0], window[1]] = found.probabilities.min(axis=0)
            percent[:, plane, window[0], window[1]], doubts[plane] = found.percent, (found.wrong, found.size)
    return Completed(layers, certainty, next_slices(_doubt(doubts, drawn), planes, images.depths), trained.learnt,
                     percent if probabilities else None, start is not None, notes)


def _prepared(observed: ModelSpaceData, window: tuple[slice, slice], channels: LabelChannels,
              config: LabelCompletionConfig, labels: LabelConfig, device: torch.device
              ) -> tuple[CompletionStack, DrawnLabels]:
    """The images and the drawn labels, as far as they lie in `window`."""
    stack = observed.stacks[0].cut(slice(None), *window)
    assert stack.layers is not None and stack.labelled is not None
    images = CompletionStack.of(stack.image, stack.planes, observed.box, observed.pixel, config.network.neighbours,
                                device)
    motions, planes = Motions.between(images.images[:, 1].cpu().numpy(), config.flow), np.flatnonzero(stack.labelled)
    return images, DrawnLabels(planes, channels.numbered(stack.layers[:, planes]), channels, motions, labels)


def _doubt(doubts: Mapping[int, tuple[np.ndarray, np.ndarray]], drawn: DrawnLabels) -> dict[int, float]:
    """What each slice adds to 1 - Dice of the whole stack, summed over labels; doubts: `wrong` and `size` by plane."""
    size = 2.0 * np.bincount(drawn.numbers.ravel(), minlength=drawn.channels.count)[1:]
    size = np.maximum(size + sum(each for _, each in doubts.values()), 1.0)
    return {plane: float((wrong / size).sum()) for plane, (wrong, _) in doubts.items()}


def _filled(trained: _Trained, planes: np.ndarray, wanted: Sequence[int], device: torch.device
            ) -> Iterator[tuple[int, Chosen]]:
    """Labels of `planes`, gap after gap; several gaps at a time on a CPU."""
    drawn = trained.candidates.drawn.planes
    gaps = np.split(planes, np.flatnonzero(np.diff(np.searchsorted(drawn, planes))) + 1)

    def fill(gap: np.ndarray) -> list[tuple[int, Chosen]]:
        candidates = replace(trained.candidates, places={})  # of its own, as it is changed
        return [(plane, candidates.chosen(plane, trained.learnt.methods, wanted)) for plane in gap.tolist()]

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
        unjudged = {"carried": round(1.0 - config.trusted, 3), "network": config.trusted}
        methods, dice = (start.methods, start.hidden_dice) if start else (unjudged, None)
        hidden = everything[HIDDEN] if start is None and config.judged else everything[:0]
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
