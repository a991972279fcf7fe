"""Runs a method in a fresh process that is given what is not hidden and nothing else.

So no method can see what it is scored on, its time and peak memory are its own, and a crash costs one row of the table.
"""
from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from ..data.geometry import Axis, Grid, array_axis
from ..data.images import Image, Segment, Segmentation
from ..data.selection import Selection
from ..errors import OutputError, ReconstructionError
from ..io.atomic import write_array, write_json
from ..io.temporary_folders import TemporaryFolder, delete_files
from ..runtime.stop_signals import STOP_SIGNALS
from .methods import Hidden, Method, MethodResult
from .peak_memory import peak_memory
from .safe_start import safe_start

_STOP_SECONDS = 5.0  # that a method's process gets to stop what it has started
_ARRAYS = ("volume", "layers", "expected_error")  # of a result, each in a file of its own
# Files and folders through which the two processes talk.
_IMAGE, _LAYERS, _OUTCOME = "observed.npy", "observed_layers.npy", "outcome.json"


@dataclass(frozen=True)
class MethodOutcome:
    """What a method's process left behind.

    Attributes:
        result: What the method returned.
        seconds: What it took, without start and imports.
        peak_memory: Bytes, see `peak_memory.peak_memory`; None where the system does not tell.
        failure: Why there is no result.
    """

    result: MethodResult = MethodResult()
    seconds: float | None = None
    peak_memory: int | None = None
    failure: str | None = None


@dataclass(frozen=True)
class _Task:
    """What a method's process is given beside the arrays."""

    method: Method
    grid: Grid
    segments: tuple[Segment, ...]
    axis: Axis
    selection: Selection
    hidden: Hidden

    @property
    def pictured(self) -> Selection:
        """The slices whose image is given."""
        return Selection.every(self.selection.count, 1) if self.hidden == "labels" else self.selection


def run_method(method: Method, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection,
               hidden: Hidden = "slices") -> MethodOutcome:
    """Call a method in a fresh process that is given what is not hidden only; arrays travel through files.

    Args:
        method: What to call.
        image: All slices known.
        segmentation: On the image's grid, or None.
        axis: Along which slices are selected.
        selection: The observed slices.
        hidden: Whether the others are hidden, or their labels alone.

    Raises:
        OutputError: There is no room for the files.
    """
    dimension = array_axis(axis)
    segments = segmentation.segments if segmentation is not None else ()
    task = _Task(method, image.grid, segments, axis, selection, hidden)
    with TemporaryFolder() as folder:
        write_array(folder / _IMAGE, np.take(image.array, task.pictured.indices, dimension))
        if segmentation is not None:
            write_array(folder / _LAYERS, np.take(segmentation.layers, selection.indices, dimension + 1))
        process = multiprocessing.get_context("spawn").Process(target=_work, args=(folder, task))
        with safe_start():
            process.start()
        try:
            process.join()
        finally:
            _end(process)  # does nothing unless the wait was interrupted
        # The file tells, not the exit code: some ITK builds abort in their own clean-up, when all is done.
        if not (folder / _OUTCOME).exists():
            return MethodOutcome(failure=f"its process ended early with exit code {process.exitcode}, for want of "
                                         "memory or disk space, or by a crash")
        return _read_outcome(folder)


def _read_outcome(folder: Path) -> MethodOutcome:
    outcome = json.loads((folder / _OUTCOME).read_text(encoding="utf-8"))
    arrays = {name: np.load(folder / f"{name}.npy") for name in _ARRAYS if (folder / f"{name}.npy").exists()}
    return MethodOutcome(MethodResult(**arrays, band=outcome.pop("band", None)), **outcome)


def _end(process: BaseProcess) -> None:
    try:
        process.terminate()
        process.join(_STOP_SECONDS)
    finally:
        process.kill()
        process.join()


def _work(folder: Path, task: _Task) -> None:
    """Body of a method's process."""
    for number in STOP_SIGNALS:  # they reach the parent too, which ends this process
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it ends what it has started
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    tempfile.tempdir = str(folder)  # what methods put aside is gone with the folder
    try:
        outcome = _measured(folder, task)
    except KeyboardInterrupt:
        return
    except ReconstructionError as error:
        outcome = {"failure": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a method raises leaves its row out
        outcome = {"failure": f"{type(error).__name__}: {error}"}
    with suppress(OutputError):  # without room for it, its absence tells
        write_json(folder / _OUTCOME, outcome, durable=False)
    # All is done; some ITK builds now abort in their own clean-up, with a message that would only alarm.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _end_with_parent(folder: Path) -> None:
    """When the process that started this one ends, clean up in its place, and end too."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    delete_files(folder)
    os._exit(1)


def _measured(folder: Path, task: _Task) -> dict[str, Any]:
    """Run the method on the files in `folder`, leave its result there, return its seconds and bytes."""
    dimension = array_axis(task.axis)
    image = Image(_spread(np.load(folder / _IMAGE), dimension, task.pictured, np.nan), task.grid)
    segmentation = None
    if (folder / _LAYERS).exists():
        layers = _spread(np.load(folder / _LAYERS), dimension + 1, task.selection, 0)
        segmentation = Segmentation(layers, task.segments, task.grid)
    getattr(task.method, "prepare", lambda: None)()
    start = time.perf_counter()
    result = task.method(image, segmentation, task.axis, task.selection)
    measured = {"seconds": time.perf_counter() - start, "peak_memory": peak_memory(), "band": result.band}
    _write_result(folder, result, task.grid, segmentation)
    return measured


def _write_result(folder: Path, result: MethodResult, grid: Grid, segmentation: Segmentation | None) -> None:
    """Write the arrays; raises ReconstructionError for those that are not as `MethodResult` says."""
    for name, array in (("volume", result.volume), ("expected_error", result.expected_error)):
        if array is None:
            continue
        if array.shape != grid.shape or not np.isfinite(array).all():
            raise ReconstructionError(f"the {name.replace('_', ' ')} it returned {array.shape} is not finite on the "
                                      f"whole grid {grid.shape}")
        write_array(folder / f"{name}.npy", np.asarray(array, np.float32))
    if result.layers is not None:
        if segmentation is None or result.layers.shape != segmentation.layers.shape:
            raise ReconstructionError(f"the labels it returned {result.layers.shape} are not those of the input")
        write_array(folder / "layers.npy", result.layers)


def _spread(observed: np.ndarray, dimension: int, selection: Selection, filler: float) -> np.ndarray:
    """Put the observed slices back where they belong, `filler` everywhere else."""
    shape = list(observed.shape)
    shape[dimension] = selection.count
    array = np.full(shape, filler, observed.dtype)
    np.moveaxis(array, dimension, 0)[list(selection.indices)] = np.moveaxis(observed, dimension, 0)
    return array
