"""How much memory may be planned with, and what counts as too little."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from TriplaneGaussianReconLib.runtime.memory import budget, is_lack

GIGABYTE = 10 ** 9


def test_half_of_what_the_host_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=6 * GIGABYTE))
    assert budget(torch.device("cpu")) == 3 * GIGABYTE


@pytest.mark.parametrize("free, reserved, used, fraction, expected", [
    (10, 0, 0, 1.0, 8.0),  # an empty card
    (4, 6, 1, 1.0, 7.2),  # torch holds 6, of which it uses 1
    (20, 2, 1, 0.25, 4.0),  # 6 of 24 are allowed, 1 is used
    (1, 6, 6, 0.25, 0.0)])  # everything that is allowed is used
def test_most_of_what_the_gpu_has_left(monkeypatch: pytest.MonkeyPatch, free: float, reserved: float, used: float,
                                       fraction: float, expected: float) -> None:
    """With stand-ins for what torch says about a card of 24 GB."""
    answers: dict[str, Any] = {"mem_get_info": (free * GIGABYTE, 24 * GIGABYTE), "memory_reserved": reserved * GIGABYTE,
                               "memory_allocated": used * GIGABYTE, "get_per_process_memory_fraction": fraction}
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, answer=answer: answer)
    assert budget(torch.device("cuda")) == pytest.approx(expected * GIGABYTE, abs=1)


def test_lack_of_memory_is_told_from_other_errors() -> None:
    for allocate in (torch.empty, np.empty):
        with pytest.raises((MemoryError, RuntimeError)) as raised:
            allocate(2 ** 46)
        assert is_lack(raised.value)
    assert is_lack(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_lack(RuntimeError("CUDA error: an illegal memory access")) and not is_lack(ValueError("no"))
