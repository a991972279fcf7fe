"""What networks along lines start from: weights learnt on synthetic images alone, see `Resources/Start/learn_start.py`.

For the image there are weights for each number S of slices around a gap; for labels there are weights that look at the
`LABEL_SLICES` nearest ones.  A network that is trained for one volume takes them as its own; what it is asked for is
worked into its first and last layer:

- How wide the gap and how thick the slices are, in pixels, is the same for the whole volume: an offset of the first
  layer.  How the slices lie around a gap steers the network as ever.
- The last layer is a smooth function of where in the gap a plane is wanted, 0 on the slices on either side.
- Labels are found with the image predicted at `LABEL_PLACES`; that on other planes is taken to them straight.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..data.gap_sampling import evenly
from .networks import ResidualNetwork

FILE = Path(__file__).with_name("start.safetensors")
FEATURES = 4  # numbers that describe a gap, see `features`
NARROWEST, WIDEST = 1.5, 22.0  # pixels, of the gaps that it was learnt for
WAVES = 4  # functions of the place in a gap, see `bumps`
LABEL_SLICES = 4
LABEL_PLACES = evenly(3)  # of a gap's width


def features(width: float, thickness: float) -> Tensor:
    """(FEATURES,) what is to be known of gaps `width` pixels wide between slices `thickness` pixels thick."""
    width = min(max(width, NARROWEST), WIDEST)  # what lies beyond was not learnt
    thickness = min(thickness, width)
    octaves = math.log2(width / 4.0)
    return torch.tensor([octaves, octaves ** 2, thickness / width, math.log2(max(thickness, 1.0))])


def bumps(fractions: Tensor) -> Tensor:
    """[..., WAVES] functions of `fractions` [...] of a gap's width, 0 where the slices on either side are."""
    place = 2.0 * fractions - 1.0
    return (1.0 - place ** 2)[..., None] * place[..., None] ** torch.arange(WAVES, device=fractions.device)


def begin(network: ResidualNetwork, size: int, fractions: np.ndarray, width: float, thickness: float) -> bool:
    """Give a new network the weights that were learnt.

    Args:
        network: its last `T` conditions and its outputs are the planes wanted, as many as `fractions`.
        size: number S of slices around each gap.
        fractions: (T,) of the gap's width, where planes are wanted.
        width: of the gaps, pixels.
        thickness: of the slices, pixels.

    Returns:
        Whether there are weights for such a network; if not, it stays as it is.
    """
    learnt, own = _learnt().get(str(size)), network.state_dict()
    if learnt is None or _blocks(learnt) != _blocks(own):
        return False
    _take(network, learnt, size, fractions, features(width, thickness))
    return True


def begin_labels(network: ResidualNetwork, size: int, fractions: np.ndarray, width: float, thickness: float) -> bool:
    """As `begin`, for a network that finds labels; see `LabelTrainer` for what it sees and what steers it."""
    learnt, own = _learnt().get("labels"), network.state_dict()
    if learnt is None or _blocks(learnt) != _blocks(own) or size < LABEL_SLICES:
        return False
    outer, inner = (size - LABEL_SLICES) // 2, LABEL_SLICES
    first = learnt["first.weight"]
    signs, images = (functional.pad(first[:, n:n + inner], (0, 0, 0, 0, outer, outer)) for n in (0, inner))
    course = torch.einsum("wp...,pt->wt...", first[:, 2 * inner:], straight_to_places(fractions))
    images[:, size // 2 - 1:size // 2 + 1] += course[:, [0, -1]]
    steering = functional.pad(learnt["steering"][:inner], (0, 0, outer, outer))
    learnt = {**learnt, "first.weight": torch.cat([signs, images, course[:, 1:-1]], dim=1),
              "steering": torch.cat([steering, learnt["steering"][inner:]])}
    _take(network, learnt, size, fractions, features(width, thickness))
    return True


def straight_to_places(fractions: np.ndarray) -> Tensor:
    """(LABEL_PLACES, T + 2) shares of both slices, first and last, and the planes at `fractions` (T,) between them."""
    knots = np.array([0.0, *fractions, 1.0])
    shares = [np.interp(LABEL_PLACES, knots, one) for one in np.eye(len(knots))]
    return torch.from_numpy(np.stack(shares, axis=1)).float()


def _blocks(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Shapes of what does not depend on what is wanted."""
    return {name: tensor.shape for name, tensor in weights.items()
            if not name.startswith(("first.weight", "last", "steering"))}


def _take(network: ResidualNetwork, learnt: Mapping[str, Tensor], size: int, fractions: np.ndarray, known: Tensor
          ) -> None:
    """Give `network` what was `learnt`; known: see `features`."""
    blend, steering = bumps(torch.from_numpy(fractions).float()), learnt["steering"]
    own = network.state_dict()["steering"]
    network.load_state_dict({
        **learnt, "first.bias": learnt["first.bias"] + known @ steering[size:],
        "steering": torch.cat([steering[:size], torch.zeros_like(own[size:])]),
        "last.weight": torch.einsum("tk,k...->t...", blend, learnt["last.weight"]),
        "last.bias": blend @ learnt["last.bias"]})


@lru_cache(maxsize=1)
def _learnt() -> dict[str, dict[str, Tensor]]:
    """S, or `labels` -> weights of the network by their names."""
    from safetensors.torch import load_file

    result: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(FILE).items():
        network, _, parameter = name.partition(".")
        result.setdefault(network, {})[parameter] = tensor.float()
    return result
