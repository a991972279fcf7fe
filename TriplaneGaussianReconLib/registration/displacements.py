"""Displacements between any two slices of a stack, found in the background by threads of their own."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ..config.registration import FlowConfig
from ..runtime.processors import usable_threads
from ..runtime.threads import serial_opencv
from .optical_flow import Correspondence, correspond


@dataclass(frozen=True)
class Displacements:
    """Displacements between slices of a stack, each of which is found once.

    Attributes:
        slices: [plane, row, column] float32 in [0, 1].
        config: of the optical flow and its confidence.
        pool: whose threads find them.
        known: by the number of the first slice and the step to the second, what was asked for.
    """

    slices: np.ndarray
    config: FlowConfig
    pool: ThreadPoolExecutor
    known: dict[tuple[int, int], Future[Correspondence]] = field(default_factory=dict)

    def ask(self, firsts: Sequence[int], step: int) -> None:
        """Begin to find the displacements from each of the slices `firsts` to that `step` slices farther on."""
        for first in firsts:
            if (first, step) not in self.known:
                self.known[first, step] = self.pool.submit(self._found, first, step)

    def take(self, firsts: Sequence[int], step: int) -> Iterator[Correspondence]:
        """Yield these displacements in turn, of one gap each, and forget them."""
        self.ask(firsts, step)
        for first in firsts:
            yield self.known.pop((first, step)).result()

    def _found(self, first: int, step: int) -> Correspondence:
        return correspond(np.clip(self.slices[[first, first + step]], 0.0, 1.0), self.config)


@contextmanager
def displacements(slices: np.ndarray, config: FlowConfig) -> Iterator[Displacements]:
    """Yield the displacements between slices; at the end what is not yet begun is given up."""
    pool = ThreadPoolExecutor(usable_threads())
    with serial_opencv():
        try:
            yield Displacements(slices, config, pool)
        finally:
            pool.shutdown(cancel_futures=True)
