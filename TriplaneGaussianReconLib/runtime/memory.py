"""The memory model: how much there is to work in, what the stages take, and what to do where it does not suffice.

All sizes are bytes.  `jobs.estimates` tells users what to expect before anything starts.  Importing this module loads
no torch.
"""
from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..errors import is_lack
from .memory_limits import free_memory, held_memory

if TYPE_CHECKING:
    import numpy as np
    import torch

T = TypeVar("T")

MEBIBYTE = 2 ** 20

# Shares of what is free now that one reconstruction may plan with.  The rest is for other programs, for what no
# estimate knows, and on the host for the result itself.
HOST_SHARE, DEVICE_SHARE = 0.5, 0.8
# More than that is not planned with for a slab: larger ones are hardly faster.
MOST_AT_A_TIME = 4096 * MEBIBYTE

# Dense channels that are drawn at a time; their labels are decoded before the next planes are drawn.
RASTER_BYTES = 128 * MEBIBYTE
# Parameters of the Gaussians that are drawn together.
CLOUD_BYTES = 512 * MEBIBYTE
# What one call on a GPU may work with, see `threads.shares`.
CALL_BYTES = 400 * MEBIBYTE

# Peaks that were measured.
_FITTING_PER_GAUSSIAN, _FITTING_PER_SLOT, _FITTING_PER_PIXEL = 250, 40, 40
_PLACEMENT_PER_PIXEL, _PLACEMENT_PER_LABELLED_PIXEL = 240, 600
EXPECTED_ERROR_PER_POINT = 200
_STACKS_PER_ENTRY, _STACKS_PER_VOXEL = 8, 340


def parameter_bytes(gaussians: int, slots: int) -> int:
    """Return the size of `GaussianParameters`: ten numbers per Gaussian, and value, slope and channel of each slot."""
    return gaussians * (40 + 20 * slots)


def fitting_bytes(pixels: int, layers: np.ndarray, planes: np.ndarray, label_slots: int) -> np.ndarray:
    """Return (gap,), the peak of fitting each gap.

    Args:
        pixels: Pixels of one plane.
        layers: (gap,) layers of Gaussians inside each gap, one Gaussian per pixel.
        planes: (gap,) planes on which each gap is predicted.
        label_slots: Label slots of a Gaussian.
    """
    gaussians = (1 + layers) * (_FITTING_PER_GAUSSIAN + label_slots * _FITTING_PER_SLOT)
    peaks: np.ndarray = pixels * (gaussians + (planes + 1) * _FITTING_PER_PIXEL)
    return peaks


def placement_bytes(pixels: int, layers: int, has_labels: bool) -> int:
    """Return the peak of placing Gaussians on one observed slice and on the layers in the gap after it."""
    return (_PLACEMENT_PER_LABELLED_PIXEL if has_labels else _PLACEMENT_PER_PIXEL) * (1 + layers) * pixels


def stacks_bytes(entries: float, voxels: float, has_matrix: bool) -> float:
    """Return the peak of solving for a lattice that several stacks see.

    Args:
        entries: Pairs of a pixel and a Gaussian that it sees.
        voxels: Of the lattice.
        has_matrix: Whether these pairs are kept, as on a CPU.
    """
    return has_matrix * _STACKS_PER_ENTRY * entries + _STACKS_PER_VOXEL * voxels


def budget(device: torch.device, limit: int | None = None) -> int:
    """Return the bytes that may be planned with on `device`.

    On a GPU, a limit set by `torch.cuda.set_per_process_memory_fraction` is kept.

    Args:
        device: Where the work is done.
        limit: Bytes of the host that this process may hold at its peak, all that it holds already included; None for
            what is free.  Memory of a GPU is not the host's.
    """
    if device.type != "cuda":
        free = free_memory()
        return int(HOST_SHARE * (free if limit is None else max(min(free, limit - held_memory()), 0)))
    import torch

    free, total = torch.cuda.mem_get_info(device)
    ours, used = torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
    allowed = torch.cuda.get_per_process_memory_fraction(device.index or 0) * total
    return int(DEVICE_SHARE * max(min(free + ours, allowed) - used, 0))


def with_less_memory(work: Callable[[], T], otherwise: Callable[[], T], device: torch.device) -> T:
    """Return what `work` returns or, where memory does not suffice for it, what `otherwise` returns.

    Everything that `work` held on `device` is given back before `otherwise` is called.  Other errors are passed on.

    Example:
        >>> def too_large():
        ...     raise MemoryError
        >>> import torch
        >>> with_less_memory(too_large, lambda: "half of it", torch.device("cpu"))
        'half of it'
    """
    try:
        return work()
    except Exception as error:
        if not is_lack(error):
            raise
    # Outside the handler: the error's traceback keeps alive everything that was being worked on.
    release(device)
    return otherwise()


def release(device: torch.device) -> None:
    """Give back what is held without being used."""
    gc.collect()
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
