"""How much memory may be planned with, what counts as too little, and what is done then."""
from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from repository import ROOT

from TriplaneGaussianReconLib.errors import OutputError, is_lack, stems_from_lack
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.jobs.failures import FailureKind, explained
from TriplaneGaussianReconLib.runtime.memory import budget, parameter_bytes, with_less_memory
from TriplaneGaussianReconLib.runtime.memory_limits import held_memory

GIGABYTE = 10 ** 9


def test_half_of_what_the_host_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=6 * GIGABYTE))
    assert budget(torch.device("cpu")) == 3 * GIGABYTE


def test_what_this_process_holds_counts_against_its_limit() -> None:
    held, cpu = held_memory(), torch.device("cpu")
    assert budget(cpu, limit=1) == 0
    assert budget(cpu, limit=held + 400_000_000) == pytest.approx(200_000_000, abs=50_000_000)
    assert budget(cpu, limit=2 ** 60) == pytest.approx(budget(cpu), rel=0.2)


@pytest.mark.parametrize(("free", "reserved", "used", "fraction", "expected"), [
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


def itk() -> None:
    import SimpleITK

    SimpleITK.Image([2 ** 15] * 3, SimpleITK.sitkFloat64)


def opencv() -> None:
    import cv2

    cv2.resize(np.zeros((4, 4)), (2 ** 20, 2 ** 20))


def thread_with_an_impossible_stack() -> None:
    former = threading.stack_size(2 ** 46)
    try:
        threading.Thread(target=int).start()
    finally:
        threading.stack_size(former)


def process_that_is_refused() -> None:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def library_that_cannot_be_mapped() -> None:
    raise ImportError("libblas.so.3: failed to map segment from shared object: Cannot allocate memory")


def cpp_library() -> None:
    raise RuntimeError("std::bad_alloc")


@pytest.mark.parametrize("work", [itk, opencv, thread_with_an_impossible_stack, process_that_is_refused,
                                  library_that_cannot_be_mapped, cpp_library])
def test_every_library_has_its_words_for_a_lack(work: Callable[[], None]) -> None:
    """The first three really fail; the others are as they were seen."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which it is is the library's
        work()
    assert is_lack(raised.value), raised.value
    outer = OutputError("It was not written. Give another format.")
    outer.__cause__ = raised.value
    assert stems_from_lack(outer) and explained(outer).kind is FailureKind.MEMORY


def test_the_other_way_is_gone_only_where_memory_does_not_suffice() -> None:
    def fail(error: Exception) -> str:
        raise error

    cpu = torch.device("cpu")
    assert with_less_memory(lambda: "whole", lambda: "less", cpu) == "whole"
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")):
        assert with_less_memory(lambda e=error: fail(e), lambda: "less", cpu) == "less"  # type: ignore[misc]
    for other in (RuntimeError("an illegal memory access"), ValueError("no")):
        with pytest.raises(type(other)):
            with_less_memory(lambda e=other: fail(e), lambda: "less", cpu)  # type: ignore[misc]


def test_what_was_worked_on_is_gone_before_less_is_tried() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def work() -> bool:
        large = torch.zeros(1000)
        alive.append(weakref.ref(large))
        raise MemoryError

    assert with_less_memory(work, lambda: alive[0]() is None, torch.device("cpu"))


def test_the_size_of_parameters_is_what_they_take() -> None:
    parameters = GaussianParameters(torch.zeros(7, 3), torch.zeros(7, 2), torch.zeros(7, 3), torch.zeros(7),
                                    torch.zeros(7), torch.zeros(7, 2), torch.zeros(7, 2, 3),
                                    torch.zeros(7, 2, dtype=torch.int32))
    assert parameter_bytes(7, 2) == sum(tensor.nbytes for tensor in parameters.tensors().values())


def test_the_memory_model_needs_no_torch() -> None:
    code = ("import sys, TriplaneGaussianReconLib.runtime.memory as memory; "
            "print('torch' in sys.modules, memory.is_lack(MemoryError()))")
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert printed.split() == ["False", "True"]
