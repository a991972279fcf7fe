"""Densification and pruning at a fixed budget: Gaussians that add nothing become halves of those that struggle.

As in 3DGS, a Gaussian is wanted where the loss pulls hardest at its centre, and pruned where it draws nothing; as in
3DGS-MCMC (Kheradmand et al. 2024), their number stays.  So tensors keep their sizes, and recorded steps go on.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..config.presets import Relocation
from ..gaussians.cloud import GaussianParameters, Gaussians

_SMALLEST = 1e-30


def relocate(parameters: GaussianParameters, drawn: Gaussians, pulls: Tensor, moments: Sequence[Tensor],
             config: Relocation, generator: torch.Generator) -> None:
    """Move Gaussians in place; nothing waits for the device.

    Args:
        parameters: What is trained; every tensor is written to.
        drawn: The same as it is drawn now, which tells what adds nothing.
        pulls: (N,) at least 0, how hard the loss pulls at each centre.
        moments: (N, ...) each, what an optimiser remembers; begins anew for those that are changed.
        config: How many, and which.
        generator: On the CPU, so that the choice is the same on every device.
    """
    with torch.no_grad():
        count, device = max(1, int(config.share * len(parameters))), pulls.device
        use = drawn.weights * drawn.values[:, 0].abs()
        unused = torch.argsort(use, stable=True)[:count]
        # The largest of ln p + Gumbel noise are drawn with probability p, without replacement.
        noise = -torch.log(-torch.log(torch.rand(len(pulls), generator=generator).clamp(1e-7, 1.0 - 1e-7)))
        wanted = torch.log(pulls.clamp_min(_SMALLEST)) + noise.to(device)
        wanted[unused] = -torch.inf
        split = torch.argsort(wanted, descending=True, stable=True)[:count]
        moves = (use[unused] < config.unused) & (wanted[split] > math.log(_SMALLEST) + 20.0)
        offsets = _within(parameters.in_plane[split], torch.randn(count, 2, generator=generator).to(device))
        halves = _halved({name: tensor[split] for name, tensor in parameters.tensors().items()}, config)
        for sign, places in ((1.0, unused), (-1.0, split)):
            half = {**halves, "centres": halves["centres"] + sign * offsets}
            for name, tensor in parameters.tensors().items():
                _put(tensor, places, half[name], moves)
            for moment in moments:
                _put(moment, places, torch.zeros_like(moment[places]), moves)


def _within(in_plane: Tensor, normal: Tensor) -> Tensor:
    """(n, 3) mm, half of what `normal` (n, 2) is worth in the cross-section of a Gaussian: `L'^-1 normal`."""
    y = normal[:, 1] * torch.exp(-in_plane[:, 2])
    x = (normal[:, 0] - in_plane[:, 1] * y) * torch.exp(-in_plane[:, 0])
    return 0.5 * torch.stack([x, y, torch.zeros_like(x)], dim=1)


def _halved(tensors: Mapping[str, Tensor], config: Relocation) -> dict[str, Tensor]:
    """Gaussians of which two cover at the centre as much as one before: `(1 - half)^2 = 1 - whole`."""
    whole = torch.sigmoid(tensors["raw_weights"])
    half = whole / (1.0 + torch.sqrt(1.0 - whole))  # 1 - sqrt(1 - whole), without cancellation
    narrowing = math.log(config.narrowing)
    diagonal = tensors["in_plane"] + narrowing
    return {**tensors, "raw_weights": torch.logit(half, eps=1e-6),
            "in_plane": torch.stack([diagonal[:, 0], tensors["in_plane"][:, 1] * config.narrowing, diagonal[:, 2]], 1)}


def _put(tensor: Tensor, places: Tensor, new: Tensor, where: Tensor) -> None:
    """Write `new` (n, ...) to the `places` (n,) of a tensor, `where` (n,) says so."""
    shape = (-1,) + (1,) * (tensor.dim() - 1)
    tensor.index_copy_(0, places, torch.where(where.view(shape), new, tensor[places]))
