"""How much memory of the host this process can still get: what is free, and what its limits leave.

A container has less than its host (control groups, versions 1 and 2), and so has a process with limits of its own
(`ulimit -v`, `ulimit -d`).  What is beyond a group's limit gets the process killed, so the least of all counts.
"""
from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import InputError
from .control_groups import PROCESS, groups, text_of

_LEAST_LIMIT = 2 ** 30
# Bytes of a unit; what a program itself takes before it has seen any volume.
_UNITS = {"MB": 10 ** 6, "GB": 10 ** 9, "TB": 10 ** 12, "MIB": 2 ** 20, "GIB": 2 ** 30, "TIB": 2 ** 40}
LEAST_ALLOWED = 750 * 10 ** 6
# Of each version: files with a limit, with the usage, and what of the usage the system gives back when it is needed.
_FILES = {"cgroup": (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
          "cgroup2": (("memory.max", "memory.high"), "memory.current", "inactive_file")}


def free_memory() -> int:
    """Return the bytes that this process can still get on the host."""
    import psutil

    return max(0, min([int(psutil.virtual_memory().available), *group_rooms(), *process_rooms()]))


def allowed_bytes(amount: int | str) -> int:
    """Return the bytes that somebody allows a process to hold.

    Args:
        amount: Bytes, or a text with a unit: MB, GB or TB, or MiB, GiB or TiB.

    Raises:
        InputError: It has no unit that is known, or is less than the program takes without any volume.

    Example:
        >>> allowed_bytes("6GB"), allowed_bytes("1.5 GiB")
        (6000000000, 1610612736)
    """
    size = float(amount) if isinstance(amount, (int, float)) else _with_unit(amount)
    if not size >= LEAST_ALLOWED:
        raise InputError(f"'{amount}' of memory is less than the program itself takes, {LEAST_ALLOWED // 10 ** 6} MB. "
                         "Allow more.")
    return int(size)


def _with_unit(text: str) -> float:
    found = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+) ?([A-Za-z]*)", text.strip())
    if found is None or found[2].upper() not in ("", *_UNITS):
        raise InputError(f"'{text}' is no amount of memory. Write a number and a unit, such as 6GB, 5.5GiB or 900MB.")
    if not found[2]:
        raise InputError(f"'{text}' has no unit. Write for instance {text.strip()}GB or {text.strip()}MB.")
    return float(found[1]) * _UNITS[found[2].upper()]


def held_memory() -> int:
    """Return the bytes of the host that this process holds now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def group_rooms(process: Path = PROCESS) -> Iterator[int]:
    """Yield what each control group above this process leaves, as far as there are any.

    Args:
        process: The folder in which the system tells about the process.
    """
    for folder, version in groups("memory", process):
        limits, used, reclaimable = _FILES[version]
        with suppress(OSError, ValueError):
            bounds = [text for name in limits if (text := text_of(folder / name)) not in ("", "max")]
            if bounds:
                statistics = dict(line.split() for line in text_of(folder / "memory.stat").splitlines())
                usage = int(text_of(folder / used)) - int(statistics.get(reclaimable, 0))
                yield min(map(int, bounds)) - max(usage, 0)


def check_limits() -> None:
    """Raise MemoryError where a limit leaves so little that libraries crash or hang while they are loaded."""
    if any(limit < _LEAST_LIMIT for limit, _ in _limits()):
        raise MemoryError


def process_rooms() -> Iterator[int]:
    """Yield what the limits of this process leave of its address space and of its data."""
    for limit, is_of_data in _limits():
        import psutil

        mapped = psutil.Process().memory_info()
        yield limit - (getattr(mapped, "data", mapped.rss) if is_of_data else mapped.vms)


def _limits() -> Iterator[tuple[int, bool]]:
    """Yield the limits of this process in bytes, and whether they are about its data or its address space."""
    if sys.platform == "win32":
        return
    import resource

    for name in ("RLIMIT_AS", "RLIMIT_DATA"):
        limit = resource.getrlimit(getattr(resource, name))[0] if hasattr(resource, name) else resource.RLIM_INFINITY
        if limit != resource.RLIM_INFINITY:
            yield limit, name == "RLIMIT_DATA"
