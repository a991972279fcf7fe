"""Does one job in a process of its own: `python -m TriplaneGaussianReconLib.jobs.worker FOLDER`.

Whatever goes wrong here, the program that gave the job out lives on, and all memory is free again afterwards.  Standard
output carries messages alone (see `jobs`); what libraries print goes to standard error.  The work stops when the file
`jobs.STOP` appears in the folder, when a signal asks for it (Ctrl-C, SIGTERM, SIGHUP; a second one interrupts at once),
and when the other end of standard input or standard output is gone.

`python -m TriplaneGaussianReconLib.jobs.worker --devices` prints what there is to compute on, as one line of JSON.
"""
from __future__ import annotations

import errno
import faulthandler
import json
import os
import stat
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.observations import Observations
from ..errors import Cancelled, MissingPackageError, OutputError, ReconstructionError, cause
from ..runtime.memory import is_lack
from ..runtime.stop_signals import stoppable
from .protocol import MODEL, STOP, Job, Outcome, check_room, line, write_preview

if TYPE_CHECKING:
    from ..rendering.preview import Preview
    from ..runtime.progress import Progress

_BETWEEN_MESSAGES = 0.1  # seconds between two messages about progress
_BETWEEN_LOOKS = 0.05  # seconds between two looks for the file that asks to stop
_ORPHAN_SECONDS = 2.0  # that are left to stop in, once nobody is there any more
# The time left is told once so much of the whole is done, and so many seconds have passed.
_TELLING_SHARE, _TELLING_SECONDS = 0.03, 1.0


class ExitCode(IntEnum):
    """What the process returns."""

    FINISHED = 0
    FAILED = 1
    CANCELLED = 3


class Messages:
    """Standard output, for messages alone: from here on everybody else who writes to it reaches standard error."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self.is_heard = True

    def send(self, event: str, **fields: Any) -> None:
        """Send a message; see `jobs` for what each holds."""
        self.send_line(line(event, **fields))

    def send_line(self, text: str) -> None:
        """Send a line.  If nobody listens any more `is_heard` becomes false."""
        try:
            self._file.write(text + "\n")
            self._file.flush()
        except OSError:
            self.is_heard = False


class Stop:
    """Tells whether to stop: because that was asked for, or because nobody waits for the result any more."""

    def __init__(self, folder: Path, messages: Messages, is_asked: Callable[[], bool]) -> None:
        """is_asked: whether a signal has asked for it."""
        self._is_asked = is_asked
        self._file, self._messages, self._asked, self._looked = folder / STOP, messages, False, -np.inf
        self._is_alone = threading.Event()
        if (source := _pipe_at_standard_input()) is not None:
            threading.Thread(target=self._wait_for_end, args=(source,), daemon=True).start()

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._looked > _BETWEEN_LOOKS:
            self._looked, self._asked = now, self._asked or self._file.exists()
        return self._asked or self._is_asked() or self._is_alone.is_set() or not self._messages.is_heard

    def _wait_for_end(self, source: int) -> None:
        while os.read(source, 4096):
            pass
        self._is_alone.set()
        time.sleep(_ORPHAN_SECONDS)
        os._exit(ExitCode.CANCELLED)  # it is in the middle of something that does not ask


class Pace:
    """Messages about progress, not too many of them, and how long it will still take."""

    def __init__(self, messages: Messages) -> None:
        self._messages, self._start, self._sent = messages, time.monotonic(), -np.inf

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._sent >= _BETWEEN_MESSAGES:
            self._sent = now
            self._messages.send("progress", stage=progress.stage, step=progress.step, steps=progress.steps,
                                done=round(progress.done, 4), seconds_left=seconds_left(now - self._start,
                                                                                        progress.done))


def seconds_left(seconds: float, done: float) -> float | None:
    """How long it will still take if `done` of the whole took `seconds`; None while that says nothing."""
    if done < _TELLING_SHARE or seconds < _TELLING_SECONDS:
        return None
    return round(max(seconds * (1.0 - done) / done, 0.0), 1)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return ExitCode.FAILED
    faulthandler.enable()  # a crash leaves on standard error where it happened
    messages = Messages()
    if arguments[0] == "--devices":
        from ..runtime.devices import available

        messages.send_line(json.dumps([asdict(device) for device in available()]))
        return ExitCode.FINISHED
    folder = Path(arguments[0])
    with stoppable() as is_asked:
        return run(folder, messages, Stop(folder, messages, is_asked))


def run(folder: Path, messages: Messages, should_stop: Callable[[], bool]) -> int:
    """Do the job in `folder` and tell how it ended; returns the exit code."""
    try:
        reconstruct_job(folder, messages, should_stop)
    except (Cancelled, KeyboardInterrupt):
        messages.send("cancelled")
        return ExitCode.CANCELLED
    except Exception as error:  # noqa: BLE001 - whatever it is, the other process is to know
        traceback.print_exc()
        kind, text = explained(error)
        messages.send("failed", kind=kind, message=text, details=traceback.format_exc() if kind != "input" else "")
        return ExitCode.FAILED
    messages.send("finished")
    return ExitCode.FINISHED


def reconstruct_job(folder: Path, messages: Messages, should_stop: Callable[[], bool]) -> None:
    """Read the job in `folder`, do it and write its outcome there.  Raises Cancelled and what the pipeline raises."""
    job = Job.read(folder)
    grid = job.output_grid
    observations = Observations.from_volume(job.volume, job.trusted, job.segmentation)
    check_room(folder, _outcome_bytes(job, observations))

    # What takes seconds to load comes after what can be refused at once.
    from ..pipeline.reconstruction import Memory, reconstruct
    from ..runtime.devices import choose

    chosen = choose(job.device)
    messages.send("started", device=str(chosen.device), note=chosen.note)

    def show(preview: Preview) -> None:
        try:
            name = write_preview(folder, preview.image)
        except OutputError:  # it is being read, or the disk is full, of which the outcome will tell
            return
        messages.send("preview", file=name, axis=preview.axis, index=preview.index)

    result = reconstruct(observations, grid, preset=job.preset, device=job.device, seed=job.seed,
                         memory=Memory(keep_model=job.keep_model, folder=folder), progress=Pace(messages),
                         should_stop=should_stop, preview=show)
    model = None
    if job.keep_model:
        from ..model.model_file import save_model

        save_model(folder / MODEL, result.model)
        model = folder / MODEL
    if should_stop():
        raise Cancelled("Stopped on request; nothing was written.")
    segmentation = result.segmentation
    if segmentation is not None and job.segmentation is not None:
        segmentation = replace(segmentation, metadata=job.segmentation.metadata)
    Outcome(result.volume, result.confidence, segmentation, {**result.report, **_of_job(job, observations)},
            model).write(folder)


def explained(error: Exception) -> tuple[str, str]:
    """Return what kind of failure an error is, and what to tell the user: the cause and the remedy."""
    if isinstance(error, MissingPackageError):
        return "missing", str(error)
    if isinstance(error, ImportError):
        return "missing", f"A Python package is missing or damaged: {cause(error)}. Install the packages again."
    if isinstance(error, ReconstructionError):
        return "input", str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "input", "The disk is full. Free disk space, or choose another folder for temporary files."
    if is_lack(error):
        return "memory", ("There is not enough memory for this volume. Close other programs, crop the volume to the "
                          "part that matters, or choose a larger slice spacing or the preset Fast.")
    return "internal", f"Something unexpected went wrong: {type(error).__name__}: {cause(error)}."


def _outcome_bytes(job: Job, observations: Observations) -> float:
    """What the outcome takes on the disk, without the model."""
    layers = 1 + max((segment.layer for segment in observations.segments), default=-1)
    label = job.segmentation.layers.itemsize if job.segmentation is not None else 0
    return float(np.prod(job.output_grid.shape, dtype=float)) * (job.volume.array.itemsize + 4 + layers * label)


def _of_job(job: Job, observations: Observations) -> dict[str, Any]:
    """What the report tells beyond what the pipeline knows."""
    given = job.segmentation.segments if job.segmentation is not None else ()
    grid = job.output_grid
    return {"axis": job.axis, "trusted": {axis: list(selection.indices) for axis, selection in job.trusted.items()},
            "output_shape_kji": grid.shape, "output_spacing_mm": grid.spacing,
            "segments_left_out": [segment.name for segment in given if segment not in observations.segments]}


def _pipe_at_standard_input() -> int | None:
    """Return standard input if it is a pipe, whose end tells that the other process is gone.

    Standard input itself is then empty: on Windows, a library that asks about it while another thread reads it waits.
    """
    try:
        mode = os.fstat(0).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return None
        source, empty = os.dup(0), os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
        return source
    except OSError:  # there is no standard input
        return None


if __name__ == "__main__":
    exit_code = main()
    sys.stderr.flush()
    os._exit(exit_code)  # all is written and told; taking the libraries apart takes long, and with a GPU may crash
