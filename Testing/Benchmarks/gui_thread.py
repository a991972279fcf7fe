"""How long the thread of the user interface is busy at a stretch, told by what it was doing.

What the module does in pieces between turns of the event loop (`run.steps`) is told by where the work stood after each
piece; a click is one piece; so is each drawing of a view, which is done as the application does it: once the event loop
has its turn, after something has asked for it.
"""
from __future__ import annotations

import linecache
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# What is written here is looked for in the line where a piece ended, the first that is found is the step.
STEPS = {
    "yield from self._writeJob(": "writing the job",
    'images["volume"] = ': "volume: copy",
    'images["confidence"] = ': "error map: copy",
    'images["certainty"] = ': "certainty: copy",
    "segmentation = yield from": "segmentation: copy and import",
    "yield from _emptied(": "deleting files",
    "yield from readSegmentation(": "reading the input's segments",
    "yield from segments_on_slices(": "reading the input's segments",
    "yield Pause.UNTIL_RESUMED": "starting a process",
    "labelsOf(": "Show 3D: labels to files",
    "surfaceFrom(": "Show 3D: reading surfaces",
    "self._shown(": "Show 3D: into the views",
}
LAST = {"ReconstructionRun._work": "into the scene, and the panel", "SurfaceMaking._work": "Show 3D: the end",
        "presenceOf": "reading the input's segments"}
DRAWING = "drawing"


@dataclass
class Step:
    """What one step took: pieces, seconds in all, and the longest piece on the clock and on the processor."""

    pieces: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    of_processor: float = 0.0


class GuiThread:
    """Counts what the thread of the user interface does."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}

    @contextmanager
    def doing(self, name: str | Callable[[], str]) -> Iterator[None]:
        """Count what is done within as one piece of a step; a callable is asked for its name afterwards."""
        start, processor = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.count(name if isinstance(name, str) else name(), time.perf_counter() - start,
                       time.thread_time() - processor)

    def count(self, name: str, seconds: float, of_processor: float) -> None:
        """Count a piece of a step that took so long."""
        step = self.steps.setdefault(name, Step())
        step.pieces, step.seconds = step.pieces + 1, step.seconds + seconds
        step.longest, step.of_processor = max(step.longest, seconds), max(step.of_processor, of_processor)

    def watch(self, steps: Any) -> None:
        """Count the pieces of everything that goes through `run.steps.Steps`, the class, from now on."""
        go, thread = steps._go, self

        def counted(self: Any, step: Callable[[], Any]) -> None:
            with thread.doing(lambda: step_of(self._work)):
                go(self, step)

        steps._go = counted

    def table(self) -> str:
        """All steps, in milliseconds."""
        lines = [f"{'step':34} {'pieces':>6} {'in all ms':>10} {'longest ms':>11} {'of processor ms':>16}"]
        for name, step in self.steps.items():
            lines.append(f"{name:34} {step.pieces:6} {1000 * step.seconds:10.0f} {1000 * step.longest:11.0f} "
                         f"{1000 * step.of_processor:16.0f}")
        return "\n".join(lines)


def step_of(work: Any) -> str:
    """The step that a generator is in, see `STEPS`."""
    inner = work
    while inner is not None and inner.gi_frame is not None:
        line = linecache.getline(inner.gi_code.co_filename, inner.gi_frame.f_lineno)
        for text, name in STEPS.items():
            if text in line:
                return name
        inner = inner.gi_yieldfrom
    return "between steps" if work.gi_frame is not None else LAST.get(work.__qualname__, work.__qualname__)
