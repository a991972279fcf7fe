"""Work in the thread of the user interface, in pieces between which the interface reacts."""
from __future__ import annotations

from collections.abc import Callable, Generator
from enum import Enum, auto
from typing import Any

from .python_process import SingleShot


class Pause(Enum):
    """What a generator yields to wait for `Steps.resume`; after anything else it goes on by itself."""

    UNTIL_RESUMED = auto()


Work = Generator[Any, None, Any]


class Steps:
    """Runs a generator piece by piece from the event loop, and tells once how it ended."""

    def __init__(self, work: Work, onEnd: Callable[[Any, Exception | None], None]) -> None:
        """Prepare to run.

        Args:
            work: The generator.
            onEnd: Called with what the generator returned and None, or with None and the exception that it raised.
        """
        self._work, self._onEnd = work, onEnd
        self._timer = SingleShot(0, self._next)
        self._isOver = self._isBusy = False
        self._reason: Exception | None = None

    def start(self) -> None:
        """Start, or go on after a pause; returns at once."""
        if not self._isOver:
            self._timer.start()

    resume = start

    def abort(self, error: Exception) -> None:
        """End the generator by raising `error` in it: now, or at its next step if it is busy."""
        if self._isBusy:
            self._reason = error
        elif not self._isOver:
            self._timer.stop()
            self._go(lambda: self._work.throw(error))

    def _next(self) -> None:
        if not self._isOver:
            self._go(lambda: next(self._work))

    def _go(self, step: Callable[[], Any]) -> None:
        self._isBusy = True
        try:
            yielded = step()
        except StopIteration as end:
            self._end(end.value, None)
        except Exception as error:  # noqa: BLE001 - whoever waits for the end is to know
            self._end(None, error)
        else:
            self._isBusy = False
            if self._reason is not None:
                self.abort(self._reason)
            elif yielded is not Pause.UNTIL_RESUMED:
                self._timer.start()

    def _end(self, result: Any, error: Exception | None) -> None:
        self._isOver = True
        self._onEnd(result, error)
