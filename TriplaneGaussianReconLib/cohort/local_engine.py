"""Does cases on this computer: as many at a time as memory and processors allow, or one on each GPU."""
from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from statistics import median

from ..runtime.memory_limits import free_memory
from ..runtime.nvidia_driver import gpu_count
from ..runtime.processors import usable_threads
from .case import Place, do
from .limits import sample
from .manifest import Case
from .processes import processes
from .status import Row

_SAMPLE = 20  # cases that tell how many fit at a time
_VISIBLE = "CUDA_VISIBLE_DEVICES"
Listener = Callable[[Row], object]


class Room:
    """The memory that is free at first: who needs some holds it, or waits until others have given back enough.

    Whoever needs all of it, or more, waits until nobody else holds any.
    """

    def __init__(self, size: int) -> None:
        self._size, self._held, self._holders = size, 0, 0
        self._change = threading.Condition()

    @contextmanager
    def __call__(self, needed: int | None) -> Iterator[None]:
        """Hold the bytes that are needed, None for all."""
        size = self._size if needed is None else min(needed, self._size)
        with self._change:
            self._change.wait_for(lambda: not self._holders or self._held + size <= self._size)
            self._held, self._holders = self._held + size, self._holders + 1
        try:
            yield
        finally:
            with self._change:
                self._held, self._holders = self._held - size, self._holders - 1
                self._change.notify_all()


class LocalEngine:
    """Cases on this computer.

    workers: how many at a time; None for as many as suit it.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers

    def work(self, cases: Sequence[Case], output: Path, listen: Listener) -> None:
        """Do all cases; `listen` is called when one starts or ends, one call at a time.

        Raises:
            OutputError: Nothing can be written any more; what was begun is ended.
        """
        gpus = self._gpus(cases)
        free = free_memory()
        workers = self._workers or gpus or at_a_time(cases, free)
        threads = max(1, usable_threads() // workers)
        room, slots, lock, over = Room(free), SimpleQueue[int](), threading.Lock(), threading.Event()
        for number in range(workers):
            slots.put(number)

        def one(case: Case) -> None:
            slot = slots.get()
            try:
                tell(Row(case.name, "running"))
                visible = {_VISIBLE: _gpu(slot % gpus)} if gpus else None
                tell(Row.ended(case.name, do(case, Place(output, started, room, threads, visible, over.is_set))))
            finally:
                slots.put(slot)

        def tell(row: Row) -> None:
            with lock:
                if not over.is_set():
                    listen(row)

        with processes() as started, ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(one, case) for case in cases]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                over.set()
                pool.shutdown(wait=False, cancel_futures=True)
                started.close()
                raise

    @staticmethod
    def _gpus(cases: Sequence[Case]) -> int:
        """How many GPUs there are for these cases; none where all are told to do without."""
        return 0 if all(case.option("device") == "cpu" for case in cases) else gpu_count()


def at_a_time(cases: Sequence[Case], free: int) -> int:
    """Return how many cases are done at a time: as many as there are processors and as fit into `free` bytes."""
    needed = median(limits.memory for limits in sample(cases, _SAMPLE))
    return max(1, min(usable_threads(), len(cases), int(free // needed)))


def _gpu(number: int) -> str:
    """What CUDA is told to see, so that it sees this GPU alone of those that this process sees."""
    seen = [name for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return seen[number] if number < len(seen) else str(number)
