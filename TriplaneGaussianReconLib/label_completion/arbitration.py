"""Which method to believe: simple ones and the network, compared on labelled slices that were hidden from all."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .carrying import STEP, DrawnLabels
from .network import CompletionNetwork
from .stack import CompletionStack

_ROUNDS = 50  # of expectation and maximisation
METHODS = "nearest", "shape", "carried", "network"


@dataclass(frozen=True)
class Candidates:
    """What each method says about labels on a slice.

    Attributes:
        stack: the images.
        drawn: the labels on some slices.
        network: trained, or being trained.
    """

    stack: CompletionStack
    drawn: DrawnLabels
    network: CompletionNetwork

    def log_probabilities(self, plane: int, usable: np.ndarray) -> dict[str, Tensor]:
        """Natural logarithms of probabilities [label, row, column] by method.

        Args:
            plane: number of the slice.
            usable: (slice,) indices of the drawn slices that may be looked at, ascending.
        """
        drawn, depths, device = self.drawn, self.stack.depths, self.stack.images.device
        after = int(np.searchsorted(drawn.planes[usable], plane))
        sides = usable[[max(after - 1, 0), min(after, len(usable) - 1)]].tolist()
        gaps = torch.tensor(np.abs(depths[drawn.planes[sides]] - depths[plane]), dtype=torch.float32)
        straight = _on(device, [drawn.distances[side] for side in sides])
        carried = _on(device, [drawn.carried(side, [plane])[plane] for side in sides])
        number = torch.tensor([plane], device=device)
        images = self.stack.images[self.stack.around(number)[0]].flatten(0, 1)
        at = torch.stack(torch.meshgrid(*(torch.arange(float(n), device=device) for n in images.shape[-2:]),
                                        indexing="ij"), dim=-1)
        apart = gaps[None].to(device)
        with torch.no_grad():
            found, prior = self.network(images[None], carried[None], apart, self.stack.points(at[None], number))
            nearest = straight[int(gaps.argmin())]
            return {"nearest": self.network.prior(torch.stack([nearest, nearest])[None], apart)[0],
                    "shape": self.network.prior(straight[None], apart)[0], "carried": prior[0], "network": found[0]}

    def mixed(self, plane: int, usable: np.ndarray, weights: dict[str, float]) -> Tensor:
        """[label, row, column] probabilities as a mixture of all methods."""
        found = self.log_probabilities(plane, usable)
        total = torch.zeros_like(found["network"])
        for name, weight in weights.items():
            if weight:
                total += weight * found[name].exp()
        return total

    def chosen(self, plane: int, usable: np.ndarray, weights: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """[layer, row, column] numbers of the likeliest labels, as of `LabelChannels.numbered`; their probabilities."""
        mixed = self.mixed(plane, usable, weights)
        best = [mixed[layer].max(dim=0) for layer in self.network.layers]
        numbers = torch.stack([each.indices + layer.start + 1 for each, layer in
                               zip(best, self.network.layers, strict=True)])
        return numbers.cpu().numpy(), torch.stack([each.values for each in best]).cpu().numpy()


def weights_of(candidates: Candidates, hidden: np.ndarray, usable: np.ndarray) -> tuple[dict[str, float], float]:
    """Weigh the methods by how likely they think the labels of slices that were hidden.

    Args:
        candidates: the methods.
        hidden: (slice,) indices of drawn slices to find.
        usable: (slice,) of those that they may be found from.

    Returns:
        Share of each method, and mean Dice of their mixture on the hidden slices.
    """
    truth, likelihoods = candidates.drawn.numbers, []
    for one in hidden.tolist():
        found = candidates.log_probabilities(int(candidates.drawn.planes[one]), usable)
        numbers = torch.from_numpy(truth[:, one].astype(np.int64) - 1).to(found["network"].device)
        each = torch.stack([found[name].gather(0, numbers).exp() for name in METHODS]).flatten(1)
        likelihoods.append(each[:, (each.amin(dim=0) < 0.9)].cpu().double())
    known = torch.cat(likelihoods, dim=1).clamp(min=1e-6)
    shares = torch.full((len(METHODS),), 1.0 / len(METHODS), dtype=torch.float64)
    for _ in range(_ROUNDS if known.shape[1] else 0):
        parts = shares[:, None] * known
        shares = (parts / parts.sum(dim=0)).mean(dim=1)
    weights = dict(zip(METHODS, [round(float(share), 3) for share in shares], strict=True))
    return weights, _dice(candidates, hidden, usable, weights)


def _dice(candidates: Candidates, hidden: np.ndarray, usable: np.ndarray, weights: dict[str, float]) -> float:
    """Mean Dice of all labels on the hidden slices."""
    drawn = candidates.drawn
    found = np.stack([candidates.chosen(int(drawn.planes[one]), usable, weights)[0] for one in hidden.tolist()], axis=1)
    truth = drawn.numbers[:, hidden]
    scores = []
    for number in np.unique(truth):
        if drawn.channels.is_background(int(number)):
            continue
        a, b = truth == number, found == number
        scores.append(2.0 * (a & b).sum() / (a.sum() + b.sum()))
    return float(np.mean(scores)) if scores else 1.0


def _on(device: torch.device, distances: list[np.ndarray]) -> Tensor:
    """Signed distances in steps, on `device` in pixels."""
    return STEP * torch.from_numpy(np.stack(distances)).to(device).float()
