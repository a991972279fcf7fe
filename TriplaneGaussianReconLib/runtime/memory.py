"""How much memory there is to work in, and what counts as too little."""
from __future__ import annotations

import gc

import torch

# Shares of what is free now that one reconstruction may plan with.  The rest is for other programs, for what no
# estimate knows, and on the host for the result itself.
HOST_SHARE, DEVICE_SHARE = 0.5, 0.8


def budget(device: torch.device) -> int:
    """Bytes that may be planned with on `device`.

    On a GPU a limit set by `torch.cuda.set_per_process_memory_fraction` is kept.
    """
    if device.type != "cuda":
        import psutil

        return int(HOST_SHARE * psutil.virtual_memory().available)
    free, total = torch.cuda.mem_get_info(device)
    ours, used = torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
    allowed = torch.cuda.get_per_process_memory_fraction(device.index or 0) * total
    return int(DEVICE_SHARE * max(min(free + ours, allowed) - used, 0))


def is_lack(error: BaseException) -> bool:
    """Whether `error` says that there is not enough memory, on the host or on a GPU."""
    # torch has no class of its own for the host's memory.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in ("allocate memory", "out of memory")))


def release(device: torch.device) -> None:
    """Give back what is held without being used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
