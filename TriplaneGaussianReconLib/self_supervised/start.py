"""What networks along lines start from: weights learnt on synthetic images alone, see `Resources/Start/learn_start.py`.

There are weights for each number S of slices around a gap.  A network that is trained for one volume takes them as its
own; what it is asked for is worked into its first and last layer:

- How wide the gap and how thick the slices are, in pixels, is the same for the whole volume: an offset of the first
  layer.  How the slices lie around a gap steers the network as ever.
- The last layer is a smooth function of where in the gap a plane is wanted, 0 on the slices on either side.
"""
from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .networks import ResidualNetwork

FILE = Path(__file__).with_name("start.safetensors")
FEATURES = 4  # numbers that describe a gap, see `features`
NARROWEST, WIDEST = 1.5, 22.0  # pixels, of the gaps that it was learnt for
WAVES = 4  # functions of the place in a gap, see `bumps`


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
    learnt, own = _learnt().get(size), network.state_dict()
    shapes = {name: tensor.shape for name, tensor in own.items() if not name.startswith(("last", "steering"))}
    if learnt is None or shapes != {name: learnt[name].shape for name in shapes if name in learnt}:
        return False
    blend = bumps(torch.from_numpy(fractions).float())
    steering = learnt["steering"]
    begun = {**learnt,
             "first.bias": learnt["first.bias"] + features(width, thickness) @ steering[size:],
             "steering": torch.cat([steering[:size], torch.zeros(len(fractions), steering.shape[1])]),
             "last.weight": torch.einsum("tk,k...->t...", blend, learnt["last.weight"]),
             "last.bias": blend @ learnt["last.bias"]}
    network.load_state_dict(begun)
    return True


@lru_cache(maxsize=1)
def _learnt() -> dict[int, dict[str, Tensor]]:
    """S -> weights of the network by their names."""
    from safetensors.torch import load_file

    result: dict[int, dict[str, Tensor]] = {}
    for name, tensor in load_file(FILE).items():
        size, _, parameter = name.partition(".")
        result.setdefault(int(size), {})[parameter] = tensor.float()
    return result
