"""How much memory a process has held at most."""
from __future__ import annotations

import sys
from pathlib import Path


def peak_memory() -> int | None:
    """Bytes of host memory, libraries included, that this process or one that it has run held at most.

    None where the system does not tell; on Windows, of this process alone.
    """
    try:
        import resource
    except ImportError:
        return _peak_on_windows()
    in_bytes = 1 if sys.platform == "darwin" else 1024
    own, others = (resource.getrusage(which).ru_maxrss * in_bytes
                   for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    try:
        # On Linux, getrusage begins with the peak of the process that started this one.
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        own = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    return max(own, others)


def _peak_on_windows() -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    return psutil.Process().memory_info().peak_wset
