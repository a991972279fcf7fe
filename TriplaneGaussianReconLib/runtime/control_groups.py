"""The control groups above this process, versions 1 and 2: what a container or a cluster allows it."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Literal

PROCESS = Path("/proc/self")
"""The folder in which the system tells about the process."""
Version = Literal["cgroup", "cgroup2"]  # as mounts name them


def groups(controller: str, process: Path = PROCESS) -> Iterator[tuple[Path, Version]]:
    """Yield the folder of each group around the process, the innermost first, as far as there are any.

    Args:
        controller: `memory` or `cpu`: what the groups limit.
        process: See `PROCESS`.
    """
    with suppress(OSError, ValueError):
        mounts = [line.split() for line in (process / "mountinfo").read_text(encoding="utf-8").splitlines()]
        for line in (process / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            version: Version | None = "cgroup" if controller in controllers.split(",") else None
            version = "cgroup2" if not controllers else version
            for mount in mounts:
                if mount[mount.index("-") + 1] == version and (
                        version == "cgroup2" or controller in mount[-1].split(",")):
                    inner = _within(group, mount[3])
                    for folder in (inner, *inner.parents):
                        yield Path(mount[4]) / folder, version


def text_of(path: Path) -> str:
    """What is in a file; nothing where there is none."""
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


def _within(group: str, root: str) -> PurePosixPath:
    """Return where a group is below a mount that shows the groups from `root` on; the mount itself if that is unknown.

    Seen from inside a container its group may have the host's name, or one that begins with `/..`.
    """
    try:
        below = PurePosixPath(group).relative_to(root)
    except ValueError:
        return PurePosixPath()
    return PurePosixPath() if ".." in below.parts else below
