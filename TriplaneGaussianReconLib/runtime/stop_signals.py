"""Signals that ask a process to stop: Ctrl-C, SIGTERM, and SIGHUP when a terminal is closed."""
from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # the last is Windows' Ctrl-Break, and the end of a console
STOP_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


@contextmanager
def interruptible() -> Iterator[None]:
    """Let each of `STOP_SIGNALS` raise KeyboardInterrupt, as Ctrl-C does."""
    with _handled(signal.default_int_handler):
        yield


@contextmanager
def stoppable(announce: Callable[[], object] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Turn the first of `STOP_SIGNALS` into a request; a second one interrupts at once.

    Args:
        announce: Called from the signal's handler, so possibly in the middle of anything.

    Yields:
        A function that tells whether a signal has asked to stop.
    """
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        _handle(signal.default_int_handler)
        announce()

    with _handled(on_signal):
        yield stop.is_set


def ignore_stop_signals() -> None:
    """Let none of these signals do anything any more, for the short while in which a process ends."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handled(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread only
        yield
        return
    former = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        _handle(handler)
        yield
    finally:
        for number, previous in former.items():
            if previous is not None:  # None: it is not Python that handles it
                signal.signal(number, previous)


def _handle(handler: Handler) -> None:
    """Set the handler, except for signals that the process was started to ignore, as nohup does with SIGHUP.

    Ctrl-C is always handled.
    """
    for number in STOP_SIGNALS:
        former = signal.getsignal(number)
        if former is not None and (former != signal.SIG_IGN or number == signal.SIGINT):
            signal.signal(number, handler)
