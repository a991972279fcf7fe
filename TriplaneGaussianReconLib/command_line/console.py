"""What a person sees of a running reconstruction."""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol


class Step(Protocol):
    """What is shown of `reconstruction.Progress`."""

    @property
    def stage(self) -> str: ...
    @property
    def fraction(self) -> float: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def done(self) -> float: ...


def note(text: str) -> None:
    """Tell the user something on the side: standard output is for results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def shown_progress(stages: Iterable[str]) -> Iterator[Callable[[Step], None]]:
    """Yield a function that shows progress on stderr: a bar on a terminal, else one line per stage.

    stages: their names, in order.
    """
    if not sys.stderr.isatty():
        yield _lines(stages)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description:<14}"), BarColumn(10), TaskProgressColumn(),
               TextColumn("{task.fields[detail]}"), TimeElapsedColumn(),
               TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0, detail="")

        def show(progress: Step) -> None:
            detail = f"step {progress.step}/{progress.steps}" if progress.steps > 1 else ""
            detail += f", loss {progress.loss:.2g}" if progress.loss is not None else ""
            bar.update(task, description=progress.stage, completed=progress.done, detail=detail)

        yield show


def announce_stop() -> None:
    """Tell, in the middle of anything, that a signal was heard."""
    # Not print: the signal may have come in the middle of one, and Python refuses a second.
    with suppress(OSError):  # the terminal may be what is gone
        os.write(2, b"Stopping after this step. Press Ctrl-C again to stop at once.\n")


def _lines(stages: Iterable[str]) -> Callable[[Step], None]:
    start, names, shown = time.perf_counter(), list(stages), set[str]()

    def show(progress: Step) -> None:
        if progress.stage not in shown:
            shown.add(progress.stage)
            note(f"{time.perf_counter() - start:7.1f} s  stage {names.index(progress.stage) + 1} of {len(names)}: "
                 f"{progress.stage}")

    return show

