"""Single-threaded library calls in a thread pool."""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import cv2
import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.runtime.memory import CALL_BYTES
from TriplaneGaussianReconLib.runtime.threads import MOST_WORKERS, serial_opencv, serial_torch, shares, workers


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


def test_one_call_at_a_time_on_a_gpu() -> None:
    assert 1 <= workers(torch.device("cpu")) <= MOST_WORKERS
    assert workers(torch.device("cuda")) == 1


def test_calls_get_one_item_on_the_cpu_and_as_many_as_memory_allows_on_a_gpu() -> None:
    """In order and about equal."""
    items, gpu = np.array([3, 1, 4, 1, 5]), torch.device("cuda")
    sizes = {"cpu": [1] * 5, 1: [5], CALL_BYTES // 5: [5], CALL_BYTES // 2: [2, 2, 1], 2 * CALL_BYTES: [1] * 5}
    for size, expected in sizes.items():
        found = shares(items, 1 if size == "cpu" else int(size), torch.device("cpu") if size == "cpu" else gpu)
        assert [len(share) for share in found] == expected
        np.testing.assert_array_equal(np.concatenate(found), items)
    assert shares(items[:0], 1, gpu) == [] == shares(items[:0], 1, torch.device("cpu"))
