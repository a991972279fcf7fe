"""How much memory of the host this process can still get: what is free, and what its limits leave.

A container has less than its host (control groups, versions 1 and 2), and so has a process with limits of its own
(`ulimit -v`, `ulimit -d`).  What is beyond a group's limit gets the process killed, so the least of all counts.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_LEAST_LIMIT = 2 ** 30
_PROCESS = Path("/proc/self")
# Of each version: files with a limit, with the usage, and what of the usage the system gives back when it is needed.
_FILES = {"cgroup": (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
          "cgroup2": (("memory.max", "memory.high"), "memory.current", "inactive_file")}


def free_memory() -> int:
    """Return the bytes that this process can still get on the host."""
    import psutil

    return max(0, min([int(psutil.virtual_memory().available), *group_rooms(), *process_rooms()]))


def group_rooms(process: Path = _PROCESS) -> Iterator[int]:
    """Yield what each control group above this process leaves, as far as there are any.

    Args:
        process: The folder in which the system tells about the process.
    """
    with suppress(OSError, ValueError):
        mounts = [line.split() for line in (process / "mountinfo").read_text(encoding="utf-8").splitlines()]
        for line in (process / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            version = "cgroup" if "memory" in controllers.split(",") else "cgroup2" if not controllers else ""
            for mount in mounts:
                if version and mount[mount.index("-") + 1] == version and (
                        version == "cgroup2" or "memory" in mount[-1].split(",")):
                    yield from _rooms(Path(mount[4]), _within(group, mount[3]), version)


def _within(group: str, root: str) -> PurePosixPath:
    """Return where a group is below a mount that shows the groups from `root` on; the mount itself if that is unknown.

    Seen from inside a container its group may have the host's name, or one that begins with `/..`.
    """
    try:
        below = PurePosixPath(group).relative_to(root)
    except ValueError:
        return PurePosixPath()
    return PurePosixPath() if ".." in below.parts else below


def _rooms(mount: Path, group: PurePosixPath, version: str) -> Iterator[int]:
    """Yield what the group leaves, and each of those around it."""
    limits, used, reclaimable = _FILES[version]
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError):
            bounds = [text for name in limits if (text := _text(mount / folder / name)) not in ("", "max")]
            if bounds:
                statistics = dict(line.split() for line in _text(mount / folder / "memory.stat").splitlines())
                usage = int(_text(mount / folder / used)) - int(statistics.get(reclaimable, 0))
                yield min(map(int, bounds)) - max(usage, 0)


def _text(path: Path) -> str:
    """What is in a file; nothing where there is none."""
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


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
