"""Progress, cancellation and timing of one reconstruction."""
from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import Cancelled

# The stages of a reconstruction in order, with their usual share of the time.
STAGES = {"correspondence": 0.03, "learning": 0.33, "arbitration": 0.05, "fusion": 0.12, "labels": 0.12,
          "prediction": 0.05, "initialization": 0.06, "training": 0.06, "refinement": 0.1, "rendering": 0.08}


@dataclass(frozen=True)
class Progress:
    """Where a reconstruction is.

    Attributes:
        stage: one of `STAGES`.
        fraction: how much of the stage is done, 0 to 1.  Work in several slabs comes back to a stage, whose fraction
            then goes on from where it was.
        step: of the stage.
        steps: how many steps the stage has; 0 where they are not counted.
        loss: what is being minimised, where there is such a thing.
        done: how much of everything is done, 0 to 1.
    """

    stage: str
    fraction: float
    step: int = 0
    steps: int = 0
    loss: float | None = None
    done: float = 0.0


class Tick(Protocol):
    """Reports step `step` of `steps`; raises Cancelled when asked to stop."""

    def __call__(self, step: int, steps: int, loss: float | None = None, /) -> None: ...


class Run:
    """Reports what is being done, stops when asked to, and notes how long each stage took."""

    def __init__(self, progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool] | None,
                 skipped: Collection[str] = ()) -> None:
        self._progress, self._should_stop = progress or (lambda _: None), should_stop or (lambda: False)
        self._shares = {stage: share for stage, share in STAGES.items() if stage not in skipped}
        self._fractions = dict.fromkeys(STAGES, 0.0)
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self.losses: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """What each stage has taken."""
        return {name: round(seconds, 3) for name, seconds in self._seconds.items()}

    @contextmanager
    def stage(self, name: str, part: int = 0, of: int = 1) -> Iterator[Tick]:
        """Work on a stage, or on one of several equal parts of it."""
        def report(fraction: float, step: int = 0, steps: int = 0, loss: float | None = None) -> None:
            self._fractions[name] = max(self._fractions[name], (part + fraction) / of)
            done = sum(share * self._fractions[stage] for stage, share in self._shares.items())
            done /= sum(self._shares.values())
            self._progress(Progress(name, self._fractions[name], step, steps, loss, done))

        def tick(step: int, steps: int, loss: float | None = None, /) -> None:
            if self._should_stop():
                raise Cancelled("Stopped on request; nothing was written.")
            if loss is not None and np.isfinite(loss):
                self.losses[name] = float(loss)
            report(step / max(steps, 1), step, steps, loss)

        start = time.perf_counter()
        try:
            tick(0, 1)
            yield tick
            report(1.0)
        finally:
            self._seconds[name] += time.perf_counter() - start
