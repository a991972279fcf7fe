"""What a person sees of a running reconstruction."""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ..runtime.progress import Progress


def note(text: str) -> None:
    """Tell the user something on the side; standard output is for results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def shown_progress() -> Iterator[Callable[[Progress], None]]:
    """Show progress on standard error: a line for each stage, and on a terminal a bar below.

    Yields:
        What to call with each step of progress.
    """
    if not sys.stderr.isatty():
        yield _lines(note)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(10), TaskProgressColumn(),
               TextColumn("{task.fields[detail]}"), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0, detail="")
        tell = _lines(lambda text: bar.console.print(text, markup=False, highlight=False))

        def show(progress: Progress) -> None:
            tell(progress)
            detail = f"step {progress.step}/{progress.steps}" if progress.steps > 1 else ""
            detail += f", loss {progress.loss:.2g}" if progress.loss is not None else ""
            bar.update(task, description=f"stage {progress.number}/{progress.count}", completed=progress.done,
                       detail=detail)

        yield show


def announce_stop() -> None:
    """Say that a signal was heard; called in the middle of anything."""
    # Not print: the signal may have come in the middle of one, and Python refuses a second.
    with suppress(OSError):  # the terminal may be what is gone
        os.write(2, b"Stopping after this step. Press Ctrl-C again to stop at once.\n")


def _lines(tell: Callable[[str], object]) -> Callable[[Progress], None]:
    """Return what tells each stage once, with the seconds since now."""
    start, told = time.perf_counter(), set[str]()

    def show(progress: Progress) -> None:
        if progress.stage not in told:
            told.add(progress.stage)
            tell(f"{time.perf_counter() - start:7.1f} s  {progress.title}")

    return show
