"""One thread per call, many calls at a time: as fast as the other way round, and it repeats bit by bit."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import cv2
import numpy as np
import torch

# Calls at a time that each hold whole images on the CPU: memory must not grow with the number of cores.
MOST_WORKERS = 8
# Bytes that one call on a GPU may work with.
MOST_BYTES = 400 * 2 ** 20


def workers(device: torch.device) -> int:
    """How many calls to run at a time on `device`: a GPU is busy with one."""
    return min(os.cpu_count() or 1, MOST_WORKERS) if device.type == "cpu" else 1


def shares(pieces: np.ndarray, size: int, device: torch.device) -> list[np.ndarray]:
    """Split `pieces` (numbers) of work, each of which needs `size` bytes, among calls.

    A GPU gets as many pieces at a time as MOST_BYTES allow, because starting an operation takes it longer than a piece.
    On the CPU each call gets one, which stays in the cache.
    """
    calls = len(pieces) if device.type == "cpu" else min(-(-len(pieces) * size // MOST_BYTES), len(pieces))
    return np.array_split(pieces, calls) if calls else []


def serial_opencv() -> AbstractContextManager[None]:
    """Let OpenCV use one thread per call.

    It splits work by the threads that happen to be free, and the last bits follow the split.
    """
    return _serial(cv2.getNumThreads, cv2.setNumThreads)


def serial_torch() -> AbstractContextManager[None]:
    """Let torch use one thread per call, on this thread and on those that are started meanwhile.

    Otherwise each of many Python threads brings as many threads of torch again.
    """
    return _serial(torch.get_num_threads, torch.set_num_threads)


@contextmanager
def _serial(count: Callable[[], int], change: Callable[[int], None]) -> Iterator[None]:
    """One thread, until the number of them is put back."""
    threads = count()
    change(1)
    try:
        yield
    finally:
        change(threads)
