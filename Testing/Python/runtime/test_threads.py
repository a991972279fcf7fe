"""One thread per call, many calls at a time."""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import cv2
import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.runtime.threads import (
    MOST_BYTES,
    MOST_WORKERS,
    serial_opencv,
    serial_torch,
    shares,
    workers,
)


@pytest.fixture(autouse=True)
def several_threads(keep_thread_counts: None) -> None:
    cv2.setNumThreads(3)
    torch.set_num_threads(3)


@pytest.mark.parametrize(("serial", "count"), [(serial_opencv, cv2.getNumThreads),
                                               (serial_torch, torch.get_num_threads)])
def test_one_thread_inside_and_as_before_outside(serial: Callable[[], AbstractContextManager[None]],
                                                 count: Callable[[], int]) -> None:
    with serial():
        assert count() == 1
        with ThreadPoolExecutor(2) as pool:
            assert pool.submit(count).result() == 1
    assert count() == 3
    with pytest.raises(ValueError, match="on purpose"), serial():
        raise ValueError("on purpose")
    assert count() == 3


def test_workers() -> None:
    assert 1 <= workers(torch.device("cpu")) <= MOST_WORKERS
    assert workers(torch.device("cuda")) == 1


def test_shares() -> None:
    """In order and about equal: one piece a call on the CPU, on a GPU as many as memory allows."""
    pieces, gpu = np.array([3, 1, 4, 1, 5]), torch.device("cuda")
    sizes = {"cpu": [1] * 5, 1: [5], MOST_BYTES // 5: [5], MOST_BYTES // 2: [2, 2, 1], 2 * MOST_BYTES: [1] * 5}
    for size, expected in sizes.items():
        found = shares(pieces, 1 if size == "cpu" else int(size), torch.device("cpu") if size == "cpu" else gpu)
        assert [len(share) for share in found] == expected
        np.testing.assert_array_equal(np.concatenate(found), pieces)
    assert shares(pieces[:0], 1, gpu) == [] == shares(pieces[:0], 1, torch.device("cpu"))
