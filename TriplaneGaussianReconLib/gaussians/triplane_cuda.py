"""`TriplaneField` on a GPU: sampling, fusion and decoder as one kernel forward, one backward (`triplane.cu`).

Gradients of texels are summed as scaled integers, those of the decoder block by block, so that they repeat bit by bit.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..cuda.program import Kernels, kernels
from ..cuda.source import Source

SMALLEST_EXTENT = 1e-6
"""Millimetres that a side of the field's box counts at least, so that a flat box divides nothing by 0."""

_DECODE_THREADS, _RESOLVE_THREADS = 128, 256  # of a block
_POINTS_PER_BLOCK, _BLOCKS_PER_PROCESSOR = 64, 6  # in the backward pass; a thread for each point
_PITCH = _POINTS_PER_BLOCK + 1  # of a row in shared memory: 32 rows of one column are in 32 banks
_LARGEST_SHARED = 48 * 1024  # bytes per block that every card has

TRIPLANE = Source(Path(__file__).parent, ("triplane.cu",), {
    "DECODE_THREADS": _DECODE_THREADS, "RESOLVE_THREADS": _RESOLVE_THREADS, "POINTS_PER_BLOCK": _POINTS_PER_BLOCK,
    "PITCH": _PITCH, "SMALLEST_EXTENT": SMALLEST_EXTENT})


def fits(features: int, hidden: int, outputs: int, concatenated: bool) -> bool:
    """Return whether a decoder of this size fits the shared memory of a block, in float32.

    Args:
        features: Of a texel.
        hidden: Units of the decoder.
        outputs: Numbers that it decodes.
        concatenated: Whether the decoder gets the features of the three planes, or their weighted sum.

    Example:
        >>> fits(features=8, hidden=16, outputs=1, concatenated=True)
        True
    """
    fused = 3 * features if concatenated else features
    rows = 2 * fused + 2 * hidden + outputs + (1 if concatenated else 3 * features)
    weights = hidden * (fused + 1) + outputs * (hidden + 1) + (0 if concatenated else 3 * features)
    return 4 * (rows * _PITCH + weights) + 3 * 16 * _POINTS_PER_BLOCK + 64 <= _LARGEST_SHARED


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, counts: tuple[int, int, int], points: Tensor, box: Tensor, texels: Tensor, hidden: Tensor,
                hidden_bias: Tensor, output: Tensor, output_bias: Tensor, limits: Tensor, fusion: Tensor | None
                ) -> Tensor:
        tensors = (points, box, texels, hidden, hidden_bias, output, output_bias, limits, fusion)
        residuals = points.new_empty(len(points), len(output))
        if len(points):
            _program(texels, hidden, output).launch("field_decode", -(-len(points) // _DECODE_THREADS),
                                                    _DECODE_THREADS, len(points), *counts, *tensors, residuals)
        ctx.save_for_backward(*tensors)
        ctx.counts = counts
        return residuals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        points, _, texels, hidden, _, output, _, _, fusion = tensors = ctx.saved_tensors
        gradient, program = gradient.contiguous(), _program(texels, hidden, output)
        blocks = _BLOCKS_PER_PROCESSOR * _processors(points.device)
        sizes = [hidden.numel(), len(hidden), output.numel(), len(output), 0 if fusion is None else fusion.numel()]
        partial = points.new_full((blocks, sum(sizes)), float("nan") if len(points) else 0.0)
        sums, of_texels = torch.zeros_like(texels, dtype=torch.int64), torch.zeros_like(texels)
        if len(points):
            largest = torch.zeros(1, device=points.device)
            program.launch("field_backward", blocks, _POINTS_PER_BLOCK, len(points), *ctx.counts, *tensors, gradient,
                           torch.linalg.vector_norm(gradient, float("inf")), largest, sums, partial)
            program.launch("field_resolve", -(-sums.numel() // _RESOLVE_THREADS), _RESOLVE_THREADS, sums.numel(),
                           len(points), largest, sums, of_texels)
        parts = partial.sum(0).split(sizes)
        return (None, None, None, of_texels, parts[0].view_as(hidden), parts[1], parts[2].view_as(output), parts[3],
                None, None if fusion is None else parts[4].view_as(fusion))


def _program(texels: Tensor, hidden: Tensor, output: Tensor) -> Kernels:
    sizes = {"FEATURES": texels.shape[1], "FUSED": hidden.shape[1], "HIDDEN": hidden.shape[0],
             "OUTPUTS": output.shape[0]}
    return kernels(texels.device, TRIPLANE, texels.dtype, sizes)


def _processors(device: torch.device) -> int:
    """Return how many multiprocessors the device has."""
    if device.type != "cuda":  # the kernels run on the processor, in tests
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def decode(points: Tensor, box: Tensor, planes: list[Tensor], hidden: Tensor, hidden_bias: Tensor, output: Tensor,
           output_bias: Tensor, limits: Tensor, fusion: Tensor | None) -> Tensor:
    """Decode bounded residuals; differentiable in everything but points, box and limits.

    Args:
        points: (N, 3) mm.
        box: (2, 3) mm, lowest and highest corner.
        planes: xy, yz, xz, each (1, F, texels along the second axis, texels along the first).
        hidden: (hidden, F or 3F) weights of the decoder's first layer.
        hidden_bias: (hidden,).
        output: (outputs, hidden) weights of its second layer.
        output_bias: (outputs,).
        limits: (outputs,) largest residuals.
        fusion: (3, F) weights of the planes, or None to concatenate them.

    Returns:
        Residuals (N, outputs).
    """
    texels = torch.cat([plane[0].flatten(1) for plane in planes], dim=1).T.contiguous()
    counts = (planes[0].shape[3], planes[0].shape[2], planes[1].shape[2])
    residuals: Tensor = _Decode.apply(counts, points.contiguous(), box, texels, hidden, hidden_bias, output,
                                      output_bias, limits, fusion)
    return residuals
