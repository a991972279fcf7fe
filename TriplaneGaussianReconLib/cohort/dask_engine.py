"""Does cases on workers of Dask: those of a scheduler that runs already, of a queue of a cluster, or new ones here.

A worker does a case as the engine on one computer does: in a process of its own, which ends with the worker.  All of
them have to see the same files by the same names.
"""
from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingPackageError, ReconstructionError, cause
from ..runtime.memory_limits import free_memory
from ..runtime.processors import usable_processors, usable_threads
from .case import Place, do
from .local_engine import at_a_time
from .manifest import Case
from .processes import Processes, processes
from .records import Record, deciding
from .status import Row

_WAIT = 2.0  # seconds between two looks at what has started
_CONNECT = "60s"
_QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
_LOST = ("Its worker was lost again and again ({cause}), perhaps for want of memory or time. The next call does it "
         "anew.")


class DaskEngine:
    """Cases on workers of Dask.

    address: of a scheduler; empty for workers of its own.
    workers: how many of these; None for as many as suit this computer, or one job.
    queue: kind of queue, `slurm`, `pbs` or `lsf`, and what dask-jobqueue is told, see `settings`.
    """

    def __init__(self, address: str = "", workers: int | None = None, queue: tuple[str, str] | None = None) -> None:
        self._address, self._workers = address, workers
        self._queue = None if queue is None else (queue[0], settings(queue[1]))
        _import("distributed" if queue is None else "dask_jobqueue")

    def work(self, cases: Sequence[Case], output: Path, listen: Callable[[Row], object]) -> None:
        """Do all cases; see `run.Engine`."""
        import distributed

        with ExitStack() as held:
            client, threads = self._client(cases, held)
            by_key = {}
            for case, future in zip(cases, client.map(_do, cases, output=output, threads=threads, pure=False,
                                                      key=[f"case-{case.name}" for case in cases]), strict=True):
                by_key[future.key] = (case, future)
            running = set[str]()
            while by_key:
                with_end = [future for _, future in by_key.values()]
                try:
                    ended = distributed.wait(with_end, _WAIT, "FIRST_COMPLETED").done
                except distributed.TimeoutError:
                    ended = set()
                for future in ended:
                    case, _ = by_key.pop(future.key)
                    listen(Row.ended(case.name, _record(case, future)))
                    future.release()
                for key in {key for keys in client.processing().values() for key in keys} - running:
                    running.add(key)
                    if key in by_key:
                        listen(Row(by_key[key][0].name, "running"))

    def _client(self, cases: Sequence[Case], held: ExitStack) -> tuple[Any, int | None]:
        """A client of the scheduler, and the threads of each case; None where each worker decides."""
        import distributed

        threads, cluster = None, self._address
        if self._queue is not None:
            kind, options = self._queue
            cluster = held.enter_context(getattr(_import("dask_jobqueue"), _QUEUES[kind])(**options))
            cluster.scale(jobs=self._workers or 1)
        elif not self._address:
            workers = self._workers or at_a_time(cases, free_memory())
            threads = max(1, usable_threads() // workers)
            cluster = held.enter_context(distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None))
        try:
            return held.enter_context(distributed.Client(cluster, timeout=_CONNECT)), threads
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(f"There is no scheduler of Dask at '{self._address}': {cause(error)}. Start one with "
                             "'dask scheduler', and give its address.") from error


def settings(text: str) -> dict[str, Any]:
    """Read what dask-jobqueue is told: numbers are numbers, what stands twice becomes a list.

    Raises:
        InputError: It cannot be read.

    Example:
        >>> settings("cores=4 memory='16 GB' job_extra_directives=--gres=gpu:1")
        {'cores': 4, 'memory': '16 GB', 'job_extra_directives': ['--gres=gpu:1']}
    """
    found: dict[str, list[Any]] = defaultdict(list)
    for word in shlex.split(text):
        name, equals, value = word.partition("=")
        if not name.isidentifier() or not equals:
            raise InputError(f"'{word}' cannot be read. Write KEY=VALUE, separated by spaces, such as 'cores=4 "
                             "memory=16GB walltime=02:00:00'.")
        found[name].append(int(value) if value.isdecimal() else value)
    return {name: values if len(values) > 1 or name.endswith(("directives", "prologue", "args")) else values[0]
            for name, values in found.items()}


def _do(case: Case, output: Path, threads: int | None) -> Record:
    """Do a case; runs on a worker."""
    import distributed

    count = threads or max(1, usable_processors() // distributed.get_worker().state.nthreads)
    return do(case, Place(output, _processes(), lambda _: nullcontext(), count))


@cache
def _processes() -> Processes:
    """Those of this worker, which end with it."""
    return processes()


def _record(case: Case, future: Any) -> Record:
    """How a case ended; raises ReconstructionError where no further one can be done."""
    if future.status == "cancelled":
        raise ReconstructionError("The scheduler of Dask is gone. What has ended is remembered; the same call again "
                                  "does the rest.")
    error = future.exception() if future.status == "error" else None
    if isinstance(error, ReconstructionError):
        raise error
    if error is not None:
        return Record(deciding(case.options), cause=_LOST.format(cause=cause(error)))
    return future.result()


def _import(name: str) -> Any:
    """Import what not everybody has; raises MissingPackageError."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise MissingPackageError(f"The engine dask needs the package {name}, which cannot be imported: {cause(error)}."
                                  " Install what it needs: python -m pip install distributed dask-jobqueue.") from error
