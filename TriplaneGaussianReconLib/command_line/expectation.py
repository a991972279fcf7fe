"""What is said, and asked, of time and memory before a command starts."""
from __future__ import annotations

import sys
from collections.abc import Sequence

from ..errors import Cancelled
from ..jobs.costs import DeviceKind
from ..jobs.estimates import Estimate
from ..runtime.devices import SelectedDevice
from ..runtime.memory_limits import free_memory, held_memory
from ..runtime.processors import usable_threads
from ..runtime.standard_streams import visible
from .console import note
from .messages import is_quiet
from .words import duration, memory_size

LONG = 1800.0  # seconds; what takes longer is asked about


def expect(expected: Estimate, limit: int | None) -> float:
    """Tell what a reconstruction will take and, where that is long, ask whether to go on.

    Args:
        expected: On this computer.
        limit: Bytes of the host that may be held; None for what is free.

    Returns:
        The expected seconds.

    Raises:
        Cancelled: The user does not want it.
    """
    held = min(expected.memory_bytes, held_memory() + free_memory() if limit is None else limit)
    guess = "" if expected.is_measured else ", as a guess"
    gpu = f", {memory_size(expected.gpu_memory_bytes)} of the GPU" if expected.gpu_memory_bytes else ""
    note(f"About {duration(expected.seconds)} and {memory_size(held)}{gpu} on this computer ({_threads()}){guess}.")
    _ask(expected.seconds)
    return expected.seconds


def fewer_steps(seconds: float, steps: int) -> str | None:
    """What to say to who would have to wait long for a training of so many steps; None where there is nothing to."""
    if seconds <= LONG or not steps:
        return None
    few = max(1, int(steps * LONG / seconds))
    return (f"With --steps {few} it would take about {duration(seconds * few / steps)}, and be less exact on the used "
            "slices.")


def expect_presets(names: Sequence[str], expected: Sequence[float]) -> None:
    """Tell how long the presets among methods will take, and ask likewise."""
    if expected:
        note(f"About {duration(sum(expected))} on this computer ({_threads()}) for {', '.join(names)}; other methods "
             "come on top.")
        _ask(sum(expected))


def kind_of(selected: SelectedDevice) -> DeviceKind:
    """The kind of a device, for estimates."""
    return "cuda" if selected.device.type == "cuda" else "cpu"


def _threads() -> str:
    count = usable_threads()
    return f"{count} thread{'s' * (count != 1)}"


def _ask(seconds: float) -> None:
    """Ask whether to go on where that takes long and somebody is there to answer; raises Cancelled if not."""
    if seconds < LONG or is_quiet() or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return
    print(visible(f"This takes about {duration(seconds)}. Go on? [y/N] "), end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Cancelled("Nothing was done.")
