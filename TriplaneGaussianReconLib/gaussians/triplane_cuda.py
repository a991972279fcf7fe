"""`TriplaneField` for points on a GPU: sampling, fusion and decoder as one kernel forward, one backward.

Gradients of texels are summed as scaled integers, those of the decoder block by block, so that they repeat bit by bit.
"""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..cuda.program import Kernels, kernels, macros

_THREADS, _POINTS_PER_BLOCK, _BLOCKS_PER_PROCESSOR = 128, 64, 6
_LARGEST_SHARED = 48 * 1024  # bytes per block that every card has


def fits(features: int, hidden: int, outputs: int, concatenated: bool) -> bool:
    """Whether a decoder of this size (float32) fits the shared memory of a block."""
    fused = 3 * features if concatenated else features
    rows = 2 * fused + 2 * hidden + outputs + (1 if concatenated else 3 * features)
    weights = hidden * (fused + 1) + outputs * (hidden + 1) + (0 if concatenated else 3 * features)
    return 4 * (rows * (_POINTS_PER_BLOCK + 1) + weights) + 3 * 16 * _POINTS_PER_BLOCK + 64 <= _LARGEST_SHARED


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, counts: tuple[int, int, int], points: Tensor, box: Tensor, texels: Tensor, hidden: Tensor,
                hidden_bias: Tensor, output: Tensor, output_bias: Tensor, limits: Tensor, fusion: Tensor | None
                ) -> Tensor:
        tensors = (points, box, texels, hidden, hidden_bias, output, output_bias, limits, fusion)
        residuals = points.new_empty(len(points), len(output))
        if len(points):
            _program(texels, hidden, output).launch("field_decode", -(-len(points) // _THREADS), _THREADS, len(points),
                                                    *counts, *tensors, residuals)
        ctx.save_for_backward(*tensors)
        ctx.counts = counts
        return residuals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        points, _, texels, hidden, _, output, _, _, fusion = tensors = ctx.saved_tensors
        gradient, program_ = gradient.contiguous(), _program(texels, hidden, output)
        blocks = _BLOCKS_PER_PROCESSOR * _processors(points.device)
        sizes = [hidden.numel(), len(hidden), output.numel(), len(output), 0 if fusion is None else fusion.numel()]
        partial = points.new_full((blocks, sum(sizes)), float("nan") if len(points) else 0.0)
        sums, of_texels = torch.zeros_like(texels, dtype=torch.int64), torch.zeros_like(texels)
        if len(points):
            largest = torch.zeros(1, device=points.device)
            program_.launch("field_backward", blocks, _POINTS_PER_BLOCK, len(points), *ctx.counts, *tensors, gradient,
                            torch.linalg.vector_norm(gradient, float("inf")), largest, sums, partial)
            program_.launch("field_resolve", -(-sums.numel() // 256), 256, sums.numel(), len(points), largest, sums,
                            of_texels)
        parts = partial.sum(0).split(sizes)
        return (None, None, None, of_texels, parts[0].view_as(hidden), parts[1], parts[2].view_as(output), parts[3],
                None, None if fusion is None else parts[4].view_as(fusion))


def _program(texels: Tensor, hidden: Tensor, output: Tensor) -> Kernels:
    sizes = {"FEATURES": texels.shape[1], "FUSED": hidden.shape[1], "HIDDEN": hidden.shape[0],
             "OUTPUTS": output.shape[0]}
    defines = *macros(texels.dtype, "FIELD"), *((name, str(size)) for name, size in sizes.items())
    return kernels(texels.device, defines)


def _processors(device: torch.device) -> int:
    if device.type != "cuda":  # the kernels run on the processor, in tests
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def decode(points: Tensor, box: Tensor, planes: list[Tensor], hidden: Tensor, hidden_bias: Tensor, output: Tensor,
           output_bias: Tensor, limits: Tensor, fusion: Tensor | None) -> Tensor:
    """Return the bounded residuals (N, outputs) at `points` (N, 3), differentiable in everything but points and limits.

    box: (2, 3).  planes: xy, yz, xz, each (1, F, texels along the second axis, texels along the first).
    hidden, output: weights of the decoder's two layers.  fusion: (3, F) weights of the planes, or None to concatenate.
    """
    texels = torch.cat([plane[0].flatten(1) for plane in planes], dim=1).T.contiguous()
    counts = (planes[0].shape[3], planes[0].shape[2], planes[1].shape[2])
    residuals: Tensor = _Decode.apply(counts, points.contiguous(), box, texels, hidden, hidden_bias, output,
                                      output_bias, limits, fusion)
    return residuals
