"""Half precision (bfloat16) for convolutions, where the processor computes with it."""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

# Channels from which on half precision is faster, conversions included; measured on an Intel Xeon and an NVIDIA H200.
_LEAST_WIDTH = {"cpu": 16, "cuda": 48}


def in_half_precision(device: torch.device, width: int) -> AbstractContextManager[object]:
    """Let convolutions take bfloat16 numbers, whose products are added up in float32.

    It does nothing where that would be slower.

    Args:
        device: Where is computed.
        width: Channels of the convolutions.
    """
    if width < _LEAST_WIDTH.get(device.type, 0) or not has_half_precision(device.type):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


@cache
def has_half_precision(kind: str) -> bool:
    """Whether a device of this kind, such as `cpu` or `cuda`, has instructions for bfloat16."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # There is no public way to ask; versions of torch without this one compute in single precision.
    is_supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return kind == "cpu" and is_supported is not None and bool(is_supported())
