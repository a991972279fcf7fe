"""Which method to believe: simple ones and the network, compared on labelled slices that were hidden from all."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..data.probabilities import WHOLE
from .carrying import STEP, DrawnLabels
from .network import CompletionNetwork
from .stack import CompletionStack

_AHEAD = 16  # planes whose places on drawn slices are found at a time
_ROUNDS = 50  # of expectation and maximisation
_LEAST = 0.02
METHODS = "nearest", "shape", "carried", "network"


@dataclass(frozen=True)
class Chosen:
    """The labels of a slice.

    Attributes:
        numbers: [layer, row, column] the likeliest labels, as of `LabelChannels.numbered`.
        probabilities: [layer, row, column] theirs, float32.
        wrong: (label,) pixels that are expected to be wrong.
        size: (label,) pixels, of what is chosen and of what is expected together.  The background, the first of a
            layer, counts for nothing: its numbers are 0.
        percent: [label, row, column] uint8, probabilities of the labels that were asked for.
    """

    numbers: np.ndarray
    probabilities: np.ndarray
    wrong: np.ndarray
    size: np.ndarray
    percent: np.ndarray


@dataclass(frozen=True)
class Candidates:
    """What each method says about labels on a slice.

    Attributes:
        stack: the images.
        drawn: the labels that the methods may look at.
        network: trained, or being trained.
        places: (plane, drawn slice) -> where the pixels of the one lie on the other, of those that were found last.
    """

    stack: CompletionStack
    drawn: DrawnLabels
    network: CompletionNetwork
    places: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, repr=False)

    def log_probabilities(self, plane: int, methods: Iterable[str] = METHODS) -> dict[str, Tensor]:
        """Natural logarithms of probabilities [label, row, column] by method.

        Args:
            plane: number of a slice that is not drawn on, as far as the methods know.
            methods: those that are asked for, of `METHODS`.
        """
        drawn, depths, device = self.drawn, self.stack.depths, self.stack.images.device
        after = int(np.searchsorted(drawn.planes, plane))
        sides = [max(after - 1, 0), min(after, len(drawn.planes) - 1)]
        apart = torch.tensor(np.abs(depths[drawn.planes[sides]] - depths[plane])[None], dtype=torch.float32)
        nearest, apart = int(apart.argmin()), apart.to(device)
        straight = _on(device, [drawn.distances[side] for side in sides])[None]
        carried = _on(device, self._carried_to(plane, sides))[None]
        found = dict[str, Tensor]()
        with torch.no_grad():
            for method in methods:
                if method == "network":
                    found[method] = self.network(*self.stack.inputs(plane, carried, apart))[0][0]
                else:
                    distances = {"nearest": straight[:, [nearest, nearest]], "shape": straight, "carried": carried}
                    found[method] = self.network.prior(distances[method], apart)[0]
        return found

    def _carried_to(self, plane: int, sides: list[int]) -> list[np.ndarray]:
        """Labels of the drawn slices `sides`, carried to a plane.

        Planes are asked for in order.  Where the next ones come from is found with it, for all slices on the way to
        them have to be passed anyway.
        """
        if any((plane, side) not in self.places for side in sides):
            first, last = self.drawn.planes[sides].tolist()
            end = last if first < plane < last else first if plane < first else len(self.stack.images)
            self.places.clear()
            for side in set(sides):
                places = self.drawn.places(side, range(plane, min(plane + _AHEAD, end)))
                self.places.update({(to, side): at for to, at in places.items()})
        return [self.drawn.carried(side, self.places[plane, side]) for side in sides]

    def chosen(self, plane: int, weights: Mapping[str, float], wanted: Sequence[int] = ()) -> Chosen:
        """Choose labels by a mixture of all methods.

        Args:
            plane: as for `log_probabilities`.
            weights: share of each method.
            wanted: channels of the labels whose probabilities are asked for.
        """
        found = self.log_probabilities(plane, [name for name, weight in weights.items() if weight])
        mixed = torch.stack([weights[name] * each.exp() for name, each in found.items()]).sum(dim=0)
        numbers, probabilities, wrong, size = [], [], torch.zeros(len(mixed)), torch.zeros(len(mixed))
        for layer in self.network.layers:
            best = mixed[layer].max(dim=0)
            numbers.append(best.indices + layer.start + 1)
            probabilities.append(best.values)
            wrong[layer], size[layer] = _expected(mixed[layer], best.indices)
        percent = (WHOLE * mixed[[number - 1 for number in wanted]]).round().clamp(0, WHOLE).to(torch.uint8)
        told = torch.stack(numbers), torch.stack(probabilities), wrong, size, percent
        return Chosen(*(each.cpu().numpy() for each in told))


def _expected(mixed: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """`wrong` and `size` as of `Chosen`, of one layer."""
    taken = torch.zeros_like(mixed).scatter_(0, chosen[None], 1.0)
    wrong, size = (taken * (1.0 - mixed) + (1.0 - taken) * mixed).sum(dim=(1, 2)), (mixed + taken).sum(dim=(1, 2))
    wrong[0] = size[0] = 0.0
    return wrong.cpu(), size.cpu()


def weights_of(candidates: Candidates, hidden: DrawnLabels) -> tuple[dict[str, float], float]:
    """Weigh the methods by how likely they think the labels of slices that were hidden from them.

    Args:
        candidates: the methods.
        hidden: what is drawn on these slices.

    Returns:
        Share of each method, and mean Dice of their mixture on the hidden slices.
    """
    likelihoods = []
    for number, plane in enumerate(hidden.planes.tolist()):
        found = candidates.log_probabilities(plane)
        truth = torch.from_numpy(hidden.numbers[:, number].astype(np.int64) - 1).to(found["network"].device)
        each = torch.stack([found[name].gather(0, truth).exp() for name in METHODS]).flatten(1)
        likelihoods.append(each[:, (each.amin(dim=0) < 0.9)].cpu().double())
    known = torch.cat(likelihoods, dim=1).clamp(min=1e-6)
    shares = torch.full((len(METHODS),), 1.0 / len(METHODS), dtype=torch.float64)
    for _ in range(_ROUNDS if known.shape[1] else 0):
        parts = shares[:, None] * known
        shares = (parts / parts.sum(dim=0)).mean(dim=1)
    shares = torch.where(shares < _LEAST, 0.0, shares)  # what hardly counts is not worth its time
    weights = {name: round(float(share), 3) for name, share in zip(METHODS, shares / shares.sum(), strict=True)}
    return weights, _dice(candidates, hidden, weights)


def _dice(candidates: Candidates, hidden: DrawnLabels, weights: Mapping[str, float]) -> float:
    """Mean Dice of all labels on the hidden slices."""
    found = np.stack([candidates.chosen(plane, weights).numbers for plane in hidden.planes.tolist()], axis=1)
    scores = []
    for number in np.unique(hidden.numbers):
        if not hidden.channels.is_background(int(number)):
            a, b = hidden.numbers == number, found == number
            scores.append(2.0 * (a & b).sum() / (a.sum() + b.sum()))
    return float(np.mean(scores)) if scores else 1.0


def _on(device: torch.device, distances: list[np.ndarray]) -> Tensor:
    """Signed distances in steps, on `device` in pixels."""
    return STEP * torch.from_numpy(np.stack(distances)).to(device).float()
