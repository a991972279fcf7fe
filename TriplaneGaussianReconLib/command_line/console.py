"""What a person sees of the program: results on standard output, everything else on standard error.

All text passes through `say`, `note`, `show` or `result`: text of others cannot steer the terminal, and whatever
becomes of the terminal, the work goes on.
"""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ..errors import OutputError, cause
from ..runtime.progress import Progress
from ..runtime.standard_streams import SteadyStream, visible

if TYPE_CHECKING:
    from rich.console import RenderableType


def note(text: str) -> None:
    """Tell the user something on the side, in one line."""
    print(visible(text), file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Sum up for the user what is in the results, in one line."""
    print(visible(text))


def result(content: str | RenderableType) -> None:
    """Print what the command is for: lines of text, or a table.

    Raises:
        OutputError: It did not arrive, for another reason than that the reader had enough.
    """
    if isinstance(content, str):
        print(visible(content, lines=True), flush=True)
    else:
        _show(content)
    stream = sys.stdout
    if isinstance(stream, SteadyStream) and stream.failure is not None and not stream.is_gone:
        raise OutputError(f"Nothing can be written to standard output: {cause(stream.failure)}. Send it to another "
                          "place.")


def _show(content: RenderableType) -> None:
    """Print with colours, but without what the text itself would do to the terminal."""
    from rich.console import Console
    from rich.segment import Segment, Segments

    console = Console()
    pieces = [piece for line in console.render_lines(content, pad=False, new_lines=True) for piece in line]
    console.print(Segments([Segment(visible(piece.text, lines=True), piece.style) for piece in pieces]), end="",
                  soft_wrap=True)
    sys.stdout.flush()


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
        tell = _lines(lambda text: bar.console.print(visible(text), markup=False, highlight=False))

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
