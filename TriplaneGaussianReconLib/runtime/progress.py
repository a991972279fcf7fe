"""Progress, cancellation and timing of one reconstruction."""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ..config.stages import STAGES, Stage
from ..errors import Cancelled

# Where nothing was expected, the time left is told once this share is done and this many seconds have passed.
_TELLING_SHARE, _TELLING_SECONDS = 0.03, 1.0
_TRUSTED_SHARE = 0.4  # from which on what has passed alone tells how long the whole takes


@dataclass(frozen=True)
class Progress:
    """How far a reconstruction is.

    Attributes:
        stage: Name of the stage that is going on, one of `config.stages.STAGES`.
        number: Place of that stage among the stages of this reconstruction, counted from 1.
        count: How many stages this reconstruction has.
        step: How many steps of the stage are done. Work in several slabs comes back to a stage and counts anew.
        steps: How many steps the stage has; 0 or 1 where it is not divided.
        loss: The latest loss, where a stage has one.
        done: Share of the whole that is done, from 0 to 1.
    """

    stage: str
    number: int
    count: int
    step: int = 0
    steps: int = 0
    loss: float | None = None
    done: float = 0.0

    @property
    def title(self) -> str:
        """What users read, for example `stage 2 of 7: Learning from the scan's own slices`."""
        return f"stage {self.number} of {self.count}: {STAGES[self.stage].sentence}"


def seconds_left(seconds: float, done: float, expected: float | None = None) -> float | None:
    """Return how many seconds are left, or None while it is too early to tell.

    Args:
        seconds: That have passed.
        done: Share of the whole that is done.
        expected: Seconds that the whole was expected to take, if that is known; it counts in the beginning, and what
            has passed from then on.

    Example:
        >>> seconds_left(10.0, 0.5), seconds_left(0.0, 0.0, expected=40.0), seconds_left(0.5, 0.0)
        (10.0, 40.0, None)
    """
    if expected is None and (done < _TELLING_SHARE or seconds < _TELLING_SECONDS):
        return None
    trust = 1.0 if expected is None else min(done / _TRUSTED_SHARE, 1.0)
    whole = trust * seconds / max(done, 1e-3) + (1.0 - trust) * (expected or 0.0)
    return round(max(whole - seconds, whole * (1.0 - done) * 0.5, 0.0), 1)


class Tick(Protocol):
    """Reports that `step` of `steps` are done; raises Cancelled when asked to stop."""

    def __call__(self, step: int, steps: int, loss: float | None = None, /) -> None: ...


class StageMonitor:
    """Reports what is going on, stops when asked to, and notes how long each stage takes.

    Attributes:
        losses: Stage name -> its last finite loss.
    """

    def __init__(self, progress: Callable[[Progress], None] | None = None,
                 should_stop: Callable[[], bool] | None = None,
                 stages: Sequence[Stage] = tuple(STAGES.values())) -> None:
        """Prepare to watch.

        Args:
            progress: Called often.
            should_stop: Asked often; true stops the reconstruction.
            stages: Those that the reconstruction goes through, in order.
        """
        self._progress, self._should_stop = progress or (lambda _: None), should_stop or (lambda: False)
        self._shares = {stage.name: stage.share for stage in stages}
        self._numbers = {stage.name: number for number, stage in enumerate(stages, start=1)}
        self._fractions = dict.fromkeys(STAGES, 0.0)
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self.losses: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Stage name -> seconds it has taken, of all stages; 0 for those that are skipped."""
        return {name: round(seconds, 3) for name, seconds in self._seconds.items()}

    @contextmanager
    def stage(self, name: str, part: int = 0, of: int = 1) -> Iterator[Tick]:
        """Watch a stage, or one of several equal parts of it.

        Args:
            name: Of the stage.
            part: Number of the part, counted from 0.
            of: How many parts the stage has.

        Yields:
            What to call after each step.

        Raises:
            Cancelled: When asked to stop.
        """
        def report(fraction: float, step: int = 0, steps: int = 0, loss: float | None = None) -> None:
            self._fractions[name] = max(self._fractions[name], (part + fraction) / of)
            done = sum(share * self._fractions[stage] for stage, share in self._shares.items())
            done /= sum(self._shares.values())
            self._progress(Progress(name, self._numbers[name], len(self._numbers), step, steps, loss, done))

        def tick(step: int, steps: int, loss: float | None = None, /) -> None:
            if self._should_stop():
                raise Cancelled("Stopped on request; nothing was written.")
            if loss is not None:
                loss = float(loss) if math.isfinite(loss) else None
            if loss is not None:
                self.losses[name] = loss
            report(step / max(steps, 1), step, steps, loss)

        start = time.perf_counter()
        try:
            tick(0, 1)
            yield tick
            report(1.0)
        finally:
            self._seconds[name] += time.perf_counter() - start
