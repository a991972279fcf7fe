"""`GaussianParameters.drawn` on a GPU: one kernel forward, one backward (`activation.cu`)."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..cuda.program import kernels
from ..cuda.source import Source

_THREADS = 256  # of a block

ACTIVATION = Source(Path(__file__).parent, ("activation.cu",), {"THREADS": _THREADS})


class _Activate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """tensors: tilts, in_plane, log_depths, raw_weights."""
        tensors = tuple(tensor.contiguous() for tensor in tensors)
        count, like = len(tensors[0]), tensors[3]
        precisions, weights = like.new_empty(count, 6), torch.empty_like(like)
        _launch("activate", like, *tensors, precisions, weights)
        ctx.save_for_backward(*tensors)
        return precisions, weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, precision_gradient: Tensor, weight_gradient: Tensor) -> tuple[Tensor, ...]:
        tensors = ctx.saved_tensors
        gradients = tuple(torch.empty_like(tensor) for tensor in tensors)
        _launch("activate_backward", tensors[3], *tensors, precision_gradient.contiguous(),
                weight_gradient.contiguous(), *gradients)
        return gradients


def _launch(name: str, like: Tensor, *arguments: Tensor) -> None:
    if len(like):
        kernels(like.device, ACTIVATION, like.dtype).launch(name, -(-len(like) // _THREADS), _THREADS, len(like),
                                                            *arguments)


def activated(tilts: Tensor, in_plane: Tensor, log_depths: Tensor, raw_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Compute what is drawn from what is trained; differentiable.

    The arguments are fields of `GaussianParameters`, the results fields of `Gaussians`.

    Args:
        tilts: (N, 2).
        in_plane: (N, 3).
        log_depths: (N,).
        raw_weights: (N,).

    Returns:
        Precisions (N, 6) and weights (N,).
    """
    precisions, weights = _Activate.apply(tilts, in_plane, log_depths, raw_weights)
    return precisions, weights
