"""Does one job in a process of its own: `python -m TriplaneGaussianReconLib.jobs.worker FOLDER`.

Whatever goes wrong here, the program that gave the job out lives on, and all memory is free again afterwards.  Standard
output carries messages alone (see `protocol`); what libraries print goes to standard error, and so does a line for each
stage.  The work stops when the file `protocol.STOP` appears in the folder, when a signal asks for it (Ctrl-C, SIGTERM,
SIGHUP; a second one interrupts at once), and when the other end of standard input or standard output is gone.

`python -m TriplaneGaussianReconLib.jobs.worker --devices` prints what there is to compute on, and how slow each
is (see `calibration`), as one line of JSON.
"""
from __future__ import annotations

import faulthandler
import json
import os
import stat
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.presets import preset_named
from ..config.texture import DEFAULT_TEXTURE
from ..data.geometry import Grid
from ..data.observations import Observations
from ..data.output_grid import meant_grid
from ..data.region import Region
from ..errors import Cancelled, InputError, OutputError
from ..pipeline.used_slices import UsedSlices
from ..runtime.environment import ignore_unusable_thread_counts
from ..runtime.memory_limits import check_limits
from ..runtime.notes import collected_notes
from ..runtime.processors import limited_threads
from ..runtime.progress import Progress, seconds_left
from ..runtime.standard_streams import SteadyStream, open_standard_streams
from ..runtime.stop_signals import stoppable
from .failures import FailureKind, explained
from .protocol import LABEL_NETWORK, MODEL, STOP, Job, Outcome, check_room, check_vacancy, line, write_preview

if TYPE_CHECKING:
    from ..label_completion.trained import TrainedLabels
    from ..pipeline.reconstruction import Reconstruction
    from ..rendering.preview import Preview

_BETWEEN_MESSAGES = 0.1  # seconds between two messages about progress
_BETWEEN_LOOKS = 0.05  # seconds between two looks for the file that asks to stop
_ORPHAN_SECONDS = 2.0  # to stop in, once nobody waits for the result any more


class WorkerExit(IntEnum):
    """What the process returns."""

    FINISHED = 0
    FAILED = 1
    CANCELLED = 3


class Messages:
    """Standard output, for messages alone: whatever else is written to it goes to standard error from here on.

    Attributes:
        is_heard: Whether somebody still reads the messages.
    """

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
        os.dup2(2, 1)
        sys.stdout = sys.stderr = SteadyStream(sys.stderr)
        self.is_heard = True

    def send(self, event: str, **fields: Any) -> None:
        """Send a message; `protocol` says what each holds."""
        self.send_line(line(event, **fields))

    def send_line(self, text: str) -> None:
        """Send a line.  If nobody listens any more `is_heard` becomes false."""
        try:
            self._file.write(text + "\n")
            self._file.flush()
        except OSError:
            self.is_heard = False


class Stop:
    """Tells whether to stop: because somebody asked for it, or because nobody waits for the result any more."""

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
        os._exit(WorkerExit.CANCELLED)  # the work is in the middle of something that does not ask whether to stop


class Pace:
    """Sends messages about progress, not too many of them, with the time that is left; logs each stage once."""

    def __init__(self, messages: Messages) -> None:
        self._messages, self._start, self._sent = messages, time.monotonic(), -np.inf
        self._logged = set[str]()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage not in self._logged:
            self._logged.add(progress.stage)
            print(progress.title, file=sys.stderr, flush=True)
        if now - self._sent >= _BETWEEN_MESSAGES:
            self._sent = now
            self._messages.send("progress", stage=progress.stage, number=progress.number, count=progress.count,
                                step=progress.step, steps=progress.steps, done=round(progress.done, 4),
                                seconds_left=seconds_left(now - self._start, progress.done))


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return WorkerExit.FAILED
    open_standard_streams()
    faulthandler.enable(2)  # a crash leaves on standard error where it happened
    messages = Messages()
    if arguments[0] == "--devices":
        messages.send_line(json.dumps(devices()))
        return WorkerExit.FINISHED
    folder = Path(arguments[0]).absolute()
    with stoppable() as is_asked:
        return run(folder, messages, Stop(folder, messages, is_asked))


def devices() -> list[dict[str, Any]]:
    """What there is to compute on, the CPU last."""
    import torch

    from ..runtime.devices import available
    from .calibration import slowness

    with limited_threads():
        return [{**asdict(each), "slowness": asdict(slowness(torch.device(each.device)))} for each in available()]


# How messages call a failure; everything else is a matter of the input: the user can change it.
_KINDS = {FailureKind.PACKAGE: "missing", FailureKind.MEMORY: "memory", FailureKind.INTERNAL: "internal"}


def run(folder: Path, messages: Messages, should_stop: Callable[[], bool]) -> int:
    """Do the job in `folder` and tell how it ended; returns the exit code."""
    try:
        reconstruct_job(folder, messages, should_stop)
    except (Cancelled, KeyboardInterrupt):
        messages.send("cancelled")
        return WorkerExit.CANCELLED
    except Exception as error:  # noqa: BLE001 - whatever it is, the other process is to know
        traceback.print_exc()
        failure = explained(error)
        kind = _KINDS.get(failure.kind, "input")
        messages.send("failed", kind=kind, message=failure.message,
                      details=traceback.format_exc() if kind != "input" else "")
        return WorkerExit.FAILED
    messages.send("finished")
    return WorkerExit.FINISHED


def reconstruct_job(folder: Path, messages: Messages, should_stop: Callable[[], bool]) -> None:
    """Read the job in `folder`, do it and write its outcome there.  Raises Cancelled and what the pipeline raises."""
    check_limits()
    ignore_unusable_thread_counts()
    job = Job.read(folder)
    check_vacancy(folder)
    preset_named(job.preset)
    with limited_threads(job.threads):
        work = _of_several if job.further else _of_one
        work(job, folder, messages, should_stop).write(folder)


def _of_one(job: Job, folder: Path, messages: Messages, should_stop: Callable[[], bool]) -> Outcome:
    """Reconstruct from one volume; the files of the outcome are written, itself it is not."""
    grid = job.output_grid
    with collected_notes() as notes:
        used = UsedSlices.of(job.volume, job.segmentation, job.axis, job.observed, job.labelled,
                             Region.within(job.region, job.volume.grid))
        observations = used.observations()
    check_room(folder, _outcome_bytes(job, grid, observations))

    # What takes seconds to load comes after what can be refused at once.
    from ..pipeline.reconstruction import Memory
    from ..pipeline.texture import reconstruct_with

    _tell_start(job, messages)

    def show(preview: Preview) -> None:
        try:
            name = write_preview(folder, preview.image)
        except OutputError:  # it is being read, or the disk is full, of which the outcome will tell
            return
        messages.send("preview", file=name, axis=preview.axis, index=preview.index)

    result = reconstruct_with(job.texture, observations, used.drawn(grid), preset=job.preset, device=job.device,
                              seed=job.seed, memory=Memory(keep_model=job.keep_model, folder=folder, limit=job.memory),
                              progress=Pace(messages), should_stop=should_stop, preview=show,
                              label_network=_learnt_before(job, notes))
    return _saved(used.finished(result, observations, notes, keep_used=job.keep_used), job, folder, should_stop)


def _of_several(job: Job, folder: Path, messages: Messages, should_stop: Callable[[], bool]) -> Outcome:
    """Reconstruct from several volumes of one body, likewise."""
    if job.texture != DEFAULT_TEXTURE:
        raise InputError("An even texture does not go with further volumes. Leave them out, or the texture plain.")
    from ..pipeline.used_stacks import UsedStacks, solved

    with collected_notes() as notes:
        used = UsedStacks(job.stacks)
        observations = used.observations()
        output = used.output(observations, spacing=job.spacing)
    expected = meant_grid(observations, output)
    check_room(folder, _outcome_bytes(job, expected, observations))
    _tell_start(job, messages)
    result = solved(observations, output, preset=job.preset, device=job.device, seed=job.seed, motion=job.motion,
                    progress=Pace(messages), should_stop=should_stop, limit=job.memory)
    return _saved(used.finished(result, observations, notes), job, folder, should_stop)


def _tell_start(job: Job, messages: Messages) -> None:
    """Tell which device was chosen; raises BackendUnavailableError where it is not there."""
    from ..runtime.devices import choose

    chosen = choose(job.device)
    messages.send("started", device=str(chosen.device), note=chosen.note)


def _learnt_before(job: Job, notes: list[str]) -> TrainedLabels | None:
    """What an earlier job learnt about the labels; where its file cannot be read a note tells, as it can be spared."""
    from ..model.label_network_file import load_label_network

    if job.label_network is None:
        return None
    try:
        return load_label_network(job.label_network)
    except InputError:
        notes.append("What was learnt before cannot be read; the labels are learnt anew.")
        return None


def _saved(result: Reconstruction, job: Job, folder: Path, should_stop: Callable[[], bool]) -> Outcome:
    """Write the files of a result's networks; returns the outcome.  Raises Cancelled if that is not wanted any more."""
    from ..model.label_network_file import save_label_network
    from ..model.model_file import save_model

    model = label_network = None
    if job.keep_model:
        model = folder / MODEL
        save_model(model, result.model)
    if result.label_network is not None:
        label_network = folder / LABEL_NETWORK
        save_label_network(label_network, result.label_network)
    if should_stop():
        raise Cancelled("Stopped on request; nothing was written.")
    return Outcome(result.volume, result.confidence, result.segmentation, result.report, model, result.label_certainty,
                   label_network)


def _outcome_bytes(job: Job, grid: Grid, observations: Observations) -> float:
    """What the outcome takes on the disk, without the model."""
    certainty = 4 * (observations.stacks[0].labelled is not None)
    layers = 1 + max((segment.layer for segment in observations.segments), default=-1)
    label = max((each.layers.itemsize for each in (job.segmentation, *(one.segmentation for one in job.further))
                 if each is not None), default=0)
    return float(np.prod(grid.shape, dtype=float)) * (
        job.volume.array.itemsize + 4 + certainty + layers * label)


def _pipe_at_standard_input() -> int | None:
    """Return standard input if it is a pipe: its end tells that the other process is gone.

    Standard input itself is empty from then on: on Windows, a library that asks about it would wait for the thread that
    reads it.
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
