"""Does one case: its process, further attempts with less memory, pictures, and the record of how it ended."""
from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import Cancelled, OutputError
from ..jobs.exit_codes import ExitCode
from ..jobs.failures import explained
from ..jobs.protocol import check_room
from ..runtime.memory_limits import free_memory
from .child import Task
from .folder import PICTURES, Folder
from .limits import Limits, limits_of
from .manifest import Case
from .processes import Ended, Processes
from .records import Record, deciding, inputs_of

PROGRAM = f"{__package__.rpartition('.')[0]}.__main__"
_PICTURES = f"{__package__}.thumbnails"
_ATTEMPTS, _LEAST_MEMORY = 3, 10 ** 9  # bytes; the program itself takes most of that
_PICTURE_SECONDS = 600.0
_KILLED = -9  # by the signal that the system uses when memory runs out
_STOPPED = "It was asked to stop by others than this program. The next call does it anew."
_OUT_OF_TIME = ("It took longer than {seconds:.0f} s and was ended. It may hang; with --time-limit, or a column "
                "time-limit in the table, it gets more.")
_OUT_OF_MEMORY = ("There was not enough memory, in the last of {attempts} attempts with {memory:.1f} GB at most. Let "
                  "it run where there is more, or crop the volume.")
Room = Callable[[int | None], AbstractContextManager[object]]


@dataclass(frozen=True)
class Place:
    """Where a case is done.

    Attributes:
        output: The folder of the cohort.
        processes: That run programs.
        room: Called with the bytes that a case needs free, None for all: holds them in a `with`.
        threads: Of each case; None for as many as there are.
        environment: Variables of the process, which for instance tell the GPU.
        is_over: Whether nothing more is to be done.
    """

    output: Path
    processes: Processes
    room: Room
    threads: int | None = None
    environment: Mapping[str, str] | None = None
    is_over: Callable[[], bool] = threading.Event().is_set


def do(case: Case, place: Place) -> Record:
    """Do a case whatever becomes of it; returns how it ended, which is also written beside its log.

    Raises:
        OutputError: Nothing can be written, or there is too little room: other cases would fail, too.
    """
    folder = Folder(place.output, case)
    folder.prepare()
    record = Record(deciding(case.options))
    try:
        record = replace(record, inputs=inputs_of(case))
        limits = limits_of(case)
        check_room(folder.path, limits.disk)
        record = _attempted(record, case, folder, place, limits)
    except (OutputError, Cancelled):
        raise
    except Exception as error:  # noqa: BLE001 - the other cases are to go on
        record = replace(record, cause=explained(error).message)
    if not place.is_over() and record.cause != _STOPPED:  # else it was ended by others, which says nothing about it
        record.write(folder)
    return record


def _attempted(record: Record, case: Case, folder: Folder, place: Place, limits: Limits) -> Record:
    """Run the program, with less memory each time that it runs out; publish what it made."""
    memory: int | None = None
    for attempt in range(1, _ATTEMPTS + 1):
        words = [*folder.words(), *([] if place.threads is None or case.option("threads")
                                    else ["--threads", str(place.threads)]),
                 *([] if memory is None else ["--memory", f"{memory // 10 ** 6}MB"])]
        task = Task(PROGRAM, tuple(words), str(folder.log), dict(place.environment or {}))
        with place.room(limits.memory if attempt == 1 else None):  # again, it has all for itself
            ended = place.processes.run(task, limits.seconds)
        record = replace(record, attempts=attempt, memory=max(ended.memory or 0, record.memory or 0) or None,
                         seconds=round(record.seconds + ended.seconds, 3))
        if not _lacks_memory(ended) or place.is_over():
            break
        last = min(free_memory(), limits.memory) if memory is None else memory
        memory = max(last // 2, _LEAST_MEMORY)
        folder.prepare()
    if ended.code != ExitCode.SUCCESS:
        cause = _cause(ended, folder.log, limits, attempt, memory)
        if ended.code == ExitCode.NOT_WRITTEN:
            raise OutputError(f"{case.name}: {cause}")
        return replace(record, cause=cause)
    return _published(record, case, folder, place)


def _lacks_memory(ended: Ended) -> bool:
    """Whether it ran out of memory, or was ended as the system does it then."""
    return ended.code == ExitCode.NO_MEMORY or (ended.code == _KILLED and not ended.is_late)


def _published(record: Record, case: Case, folder: Folder, place: Place) -> Record:
    pictures = [str(folder.work / name) for name in PICTURES]
    report = json.loads(folder.made("report").read_text(encoding="utf-8"))
    task = Task(_PICTURES, (case.volumes[0], str(folder.made("volume")), *pictures), str(folder.log))
    place.processes.run(task, _PICTURE_SECONDS)
    results = folder.publish()
    check = report["self_check"]
    psnr, linear = check.get("psnr"), check.get("psnr_linear")
    sizes = {path.as_posix(): (place.output / path).stat().st_size for path in results.values()}
    return replace(record, results=sizes, self_check=psnr,
                   gain=None if psnr is None or linear is None else round(psnr - linear, 2))


def _cause(ended: Ended, log: Path, limits: Limits, attempts: int, memory: int | None) -> str:
    """Why it failed, in a sentence."""
    if ended.is_late:
        return _OUT_OF_TIME.format(seconds=limits.seconds)
    if _lacks_memory(ended):
        return _OUT_OF_MEMORY.format(attempts=attempts, memory=(memory or limits.memory) / 1e9)
    if ended.code == ExitCode.STOPPED:
        return _STOPPED
    if ended.code < 0:
        return f"Its process was ended by signal {-ended.code} ({signal.Signals(-ended.code).name}). See '{log}'."
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return told[-1] if told else f"It ended with exit code {ended.code}. See '{log}'."
