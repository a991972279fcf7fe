"""One thread per call, many calls at a time: as fast as the other way round, and it repeats bit by bit."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch

# Calls at a time that each hold whole images on the CPU: memory must not grow with the number of cores.
MOST_WORKERS = 8


def workers(device: torch.device) -> int:
    """How many calls to run at a time on `device`: a GPU is busy with one."""
    return min(os.cpu_count() or 1, MOST_WORKERS) if device.type == "cpu" else 1


@contextmanager
def serial_opencv() -> Iterator[None]:
    """Let OpenCV use one thread per call.

    It splits work by the threads that happen to be free, and the last bits follow the split.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


@contextmanager
def serial_torch() -> Iterator[None]:
    """Let torch use one thread per call, on this thread and on those that are started meanwhile.

    Otherwise each of many Python threads brings as many threads of torch again.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
