"""Single-threaded library calls in a thread pool, so that results repeat bit by bit."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch

from .memory import CALL_BYTES
from .processors import usable_threads

# Each call on the CPU holds whole images: memory must not grow with the number of cores.
MOST_WORKERS = 8

_TASKS_PER_THREAD = 8  # more than one, to even out the load


def workers(device: torch.device) -> int:
    """How many calls to run at a time on `device`; one call keeps a GPU busy."""
    return min(usable_threads(), MOST_WORKERS) if device.type == "cpu" else 1


def shares(items: np.ndarray, size: int, device: torch.device) -> list[np.ndarray]:
    """Split items of work among calls.

    On the CPU each call gets one item, which stays in the cache.  On a GPU it gets as many as CALL_BYTES allow, because
    starting an operation takes longer than an item.

    Args:
        items: (n,) numbers of the items.
        size: Bytes that each item needs.
        device: Where the calls compute.

    Returns:
        The items of each call, in order.
    """
    calls = len(items) if device.type == "cpu" else min(-(-len(items) * size // CALL_BYTES), len(items))
    return np.array_split(items, calls) if calls else []


def in_parallel(kernel: Callable[..., None], count: int, *arguments: Any) -> None:
    """Run `kernel(begin, end, *arguments)` over `count` independent items, on as many threads as torch uses.

    These are plain threads, because numba's would compete with torch's own.
    """
    threads = torch.get_num_threads()
    if threads == 1 or count < 2:
        kernel(0, count, *arguments)
        return
    borders = np.linspace(0, count, min(count, _TASKS_PER_THREAD * threads) + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        tasks = [pool.submit(kernel, begin, end, *arguments) for begin, end in pairwise(borders)]
        for task in tasks:
            task.result()


def serial_opencv() -> AbstractContextManager[None]:
    """Let OpenCV use one thread per call.

    OpenCV splits work by the threads that happen to be free, and the last bits follow the split.
    """
    return _serial(cv2.getNumThreads, cv2.setNumThreads)


def serial_torch() -> AbstractContextManager[None]:
    """Let torch use one thread per call, on this thread and on those that are started meanwhile.

    Otherwise each of many Python threads starts as many threads of torch again.
    """
    return _serial(torch.get_num_threads, torch.set_num_threads)


@contextmanager
def _serial(count: Callable[[], int], change: Callable[[int], None]) -> Iterator[None]:
    """Use one thread, and restore their number afterwards."""
    threads = count()
    change(1)
    try:
        yield
    finally:
        change(threads)
