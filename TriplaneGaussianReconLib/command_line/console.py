"""What a person sees of the program: results on standard output, everything else on standard error.

All text passes through the functions below: text of others cannot steer the terminal, and whatever becomes of the
terminal, the work goes on.
"""
from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ..errors import OutputError, cause
from ..runtime.progress import Progress, seconds_left
from ..runtime.standard_streams import SteadyStream, visible
from .messages import Place, is_quiet, tell
from .words import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

_BETWEEN_LINES = 60.0  # seconds between two lines about a stage, where there is no bar


def note(text: str) -> None:
    """Tell the user something on the side, in one line; `--quiet` leaves it out."""
    tell(logging.INFO, text)


def detail(text: str) -> None:
    """Tell something that only `--verbose` shows."""
    tell(logging.DEBUG, text)


def warn(text: str) -> None:
    """Warn the user, in one line."""
    tell(logging.WARNING, f"warning: {text}")


def fail(text: str) -> None:
    """Tell what went wrong, in one line."""
    tell(logging.ERROR, text)


def say(text: str) -> None:
    """Sum up for the user what is in the results, in one line; `--quiet` leaves it out."""
    tell(logging.INFO, text, Place.RESULTS)


def result(content: str | RenderableType) -> None:
    """Print what the command is for: lines of text, or a table.

    Raises:
        OutputError: It did not arrive, for another reason than that the reader had enough.
    """
    if isinstance(content, str):
        print(visible(content, lines=True), flush=True)
        tell(logging.INFO, content, Place.LOG)
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
    tell(logging.INFO, "".join(piece.text for piece in pieces), Place.LOG)


@contextmanager
def shown_progress(expected: float | None = None) -> Iterator[Callable[[Progress], None]]:
    """Show progress on standard error: a line for each stage, and on a terminal a bar below.

    Args:
        expected: Seconds that the whole is expected to take, if that is known.

    Yields:
        What to call with each step of progress.
    """
    if is_quiet() or not sys.stderr.isatty():
        yield Stages(expected, _BETWEEN_LINES)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(10), TaskProgressColumn(),
               TextColumn("{task.fields[detail]}"), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0, detail="", left="")
        stages = Stages(expected)

        def show(progress: Progress) -> None:
            stages(progress)
            detail = f"step {progress.step}/{progress.steps}" if progress.steps > 1 else ""
            bar.update(task, description=f"stage {progress.number}/{progress.count}", completed=progress.done,
                       detail=detail, left=stages.left(progress))

        yield show


class Stages:
    """Tells each stage once, with the seconds since now and those that are left, and how far it is from time to time.

    Attributes:
        expected: Seconds that the whole is expected to take, if that is known.
        pause: Seconds after which a stage that goes on is told again.
        clock: Tells seconds.
    """

    def __init__(self, expected: float | None = None, pause: float = float("inf"),
                 clock: Callable[[], float] = time.perf_counter) -> None:
        self.expected, self.pause, self.clock = expected, pause, clock
        self._start, self._told, self._last = clock(), set[str](), 0.0

    def __call__(self, progress: Progress) -> None:
        seconds, is_new = self.clock() - self._start, progress.stage not in self._told
        if not is_new and seconds - self._last < self.pause:
            return
        self._told.add(progress.stage)
        self._last = seconds
        left = self.left(progress)
        note(f"{seconds:7.1f} s  {progress.title}{', ' * bool(left)}{left}")

    def left(self, progress: Progress) -> str:
        """How long it will still take, in words; empty while that is not known."""
        left = seconds_left(self.clock() - self._start, progress.done, self.expected)
        return "" if left is None else f"about {duration(left)} left"


def announce_stop() -> None:
    """Say that a signal was heard; called in the middle of anything."""
    # Not print: the signal may have come in the middle of one, and Python refuses a second.
    with suppress(OSError):  # the terminal may be what is gone
        os.write(2, b"Stopping after this step. Press Ctrl-C again to stop at once.\n")
