"""How many threads this process is to use: as many as it may have processors, or fewer where somebody said so.

Needs no other package, so that it can be settled before libraries that start threads are loaded.
"""
from __future__ import annotations

import math
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError
from .control_groups import PROCESS, groups, text_of

# What libraries ask for their number of threads when they are loaded, those of processes that this one starts too.
# Not numba's, whose threads are not used: it refuses another number once it has begun.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
              "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def usable_threads() -> int:
    """Return how many threads to use: `usable_processors`, or fewer where OMP_NUM_THREADS or `limited_threads` says so.

    Example:
        >>> 1 <= usable_threads() <= (os.cpu_count() or 1)
        True
    """
    return min(usable_processors(), _number_in("OMP_NUM_THREADS") or sys.maxsize)


def usable_processors(process: Path = PROCESS) -> int:
    """Return how many processors this process may use, at least one.

    That is the least of those it may run on (`taskset`), what its control groups allow (a container's share), and
    SLURM's processors of a task.  process: see `control_groups.PROCESS`.
    """
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = _number_in("SLURM_CPUS_PER_TASK") or present
    return max(1, min([present, granted, *map(math.ceil, _quotas(process))]))


@contextmanager
def limited_threads(asked: int | None = None) -> Iterator[int]:
    """Let torch, and libraries and processes that start meanwhile, use no more threads than they may.

    Args:
        asked: How many threads to use; None for `usable_threads`.

    Yields:
        How many there are: no more than there are processors, of which a warning tells.

    Raises:
        InputError: It is no positive number.
    """
    if asked is not None and asked < 1:
        raise InputError(f"The number of threads must be a whole number from 1 on, not {asked}.")
    if asked is not None and asked > (most := usable_processors()):
        warnings.warn(f"{asked} threads were asked for, and this process may use {most} processor"
                      f"{'s' * (most != 1)}; went on with {most}.", RuntimeWarning, stacklevel=3)
        asked = most
    count = usable_threads() if asked is None else asked
    former, torch = {name: os.environ.get(name) for name in _VARIABLES}, sys.modules.get("torch")
    threads = 0 if torch is None else torch.get_num_threads()
    if asked is not None or count < (os.cpu_count() or 1):  # else libraries know best: which processors are real cores
        os.environ.update(dict.fromkeys(_VARIABLES, str(count)))
    if torch is not None:
        torch.set_num_threads(min(count, threads) if asked is None else count)
    try:
        yield count
    finally:
        for name, value in former.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if torch is not None:
            torch.set_num_threads(threads)


def _number_in(variable: str) -> int | None:
    """What a variable of the environment says; OpenMP has a number for each level of nesting."""
    number = os.environ.get(variable, "").partition(",")[0].strip()
    return int(number) or None if re.fullmatch("[0-9]{1,6}", number) else None


def _quotas(process: Path) -> Iterator[float]:
    """Yield how many processors' time each control group allows."""
    for folder, version in groups("cpu", process):
        with suppress(OSError, ValueError):
            if version == "cgroup2":
                quota, period = (text_of(folder / "cpu.max") or "max 1").split()
            else:
                quota, period = (text_of(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
            if quota not in ("max", "-1", ""):
                yield int(quota) / int(period)
