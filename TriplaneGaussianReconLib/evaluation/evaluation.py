"""Compares ways of filling slices on a volume whose slices are all known: hide some, fill them, score them.

Every method runs in a fresh process that is given the trusted slices and nothing else, so that no method can see what
it is scored on, its time and peak memory are its own, and a crash costs one row of the table.
"""
from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..data.colors import distinct_hue
from ..data.geometry import Axis, Grid, array_axis
from ..data.images import Image, Segment, Segmentation
from ..data.observations import Observations
from ..data.selection import Selection
from ..errors import InputError, OutputError, ReconstructionError
from ..io.atomic import write_array, write_json
from ..io.temporary_folders import TemporaryFolder, delete_files
from ..runtime.stop_signals import STOP_SIGNALS
from . import baselines as baselines
from . import metrics

_STOP_SECONDS = 5.0  # that a method's process gets to stop what it has started
_SAMPLE_POSITIONS = (0.25, 0.5, 0.75)  # among the held-out slices that are not blank


@dataclass(frozen=True)
class MethodResult:
    """What a method returns: all slices, on the grid that it was given.

    volume: [k, j, i] float, in the units of the image it was given; None if the method fills labels only.
    layers: [layer, k, j, i] integer, same layers and values as the segmentation it was given; None without labels.
    expected_error: [k, j, i] float, the absolute error that it expects of `volume`, in the same units; None if it
        expects none.
    band: 68 % of the errors are expected to be at most so many times the expected one.
    """

    volume: np.ndarray | None = None
    layers: np.ndarray | None = None
    expected_error: np.ndarray | None = None
    band: float | None = None


class Method(Protocol):
    """A way of filling slices.

    It must be picklable (a function of a module, or a `functools.partial` or instance of a class of one), as it is
    called in another process.  In `image`, all slices that `selection` does not trust are NaN; in `segmentation` they
    are background.  If it has a method `prepare()`, that is called first and not timed: imports and compilation.
    """

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis,
                 selection: Selection) -> MethodResult: ...


@dataclass(frozen=True)
class BaselineImageMethod:
    """An interpolator of intensities, by its name in `baselines.IMAGE_METHODS`."""

    name: str

    def prepare(self) -> None:
        """Load the libraries, by filling a tiny stack."""
        baselines.IMAGE_METHODS[self.name](np.arange(2), np.zeros((2, 16, 16), np.float32), np.arange(3) / 2)

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection
                 ) -> MethodResult:
        """Fill the image; labels are left alone."""
        filled = _fill(baselines.IMAGE_METHODS[self.name], image.array, array_axis(axis), selection)
        return MethodResult(volume=filled)


@dataclass(frozen=True)
class BaselineLabelMethod:
    """An interpolator of labels, by its name in `baselines.LABEL_METHODS`."""

    name: str

    def prepare(self) -> None:
        """Load the libraries, by filling a tiny stack."""
        self._interpolator()(np.arange(0, 3, 2), np.ones((2, 16, 16), np.uint8), np.arange(3))

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection
                 ) -> MethodResult:
        """Fill each layer of the segmentation; the image is left alone."""
        assert segmentation is not None, "label methods are only run on segmentations"
        return MethodResult(layers=np.stack([_fill(self._interpolator(), layer, array_axis(axis), selection)
                                         for layer in segmentation.layers]))

    def _interpolator(self) -> baselines.Interpolator:
        # The evaluation runs every method in a process of its own already.
        here = {**baselines.LABEL_METHODS, "contour": baselines.contour_in_this_process}
        return here[self.name]


CLASSICAL: dict[str, Method] = {
    **{name: BaselineImageMethod(name) for name in baselines.IMAGE_METHODS},
    **{f"label-{name}": BaselineLabelMethod(name) for name in baselines.LABEL_METHODS},
}


@dataclass(frozen=True)
class SegmentScore:
    """How well one segment was filled: `dice` over the held-out slices, `surface` over all slices between trusted ones.

    dice: NaN if the segment has fewer than `metrics.FEWEST_VOXELS` voxels on the held-out slices.
    """

    name: str
    dice: float
    surface: metrics.SurfaceDistance


@dataclass(frozen=True)
class Row:
    """One method's scores; what does not apply to it is None.

    band_68, rank_correlation: how well it expects its own error, see `metrics.CalibrationScores`.
    dice: mean over the segments that are large enough to count.  seconds: the method alone, without start and imports.
    peak_memory: see `peak_memory`.  samples, label_samples: its estimates of the report's samples.
    failure: why there are no scores.
    """

    name: str
    baselines: bool
    image: metrics.ImageScores | None = None
    band_68: float | None = None
    rank_correlation: float | None = None
    semantic_loss: float | None = None
    dice: float | None = None
    segments: tuple[SegmentScore, ...] = ()
    seconds: float | None = None
    peak_memory: int | None = None
    samples: np.ndarray | None = None
    label_samples: np.ndarray | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Report:
    """The outcome of `evaluate`.

    held_out: the indices that were scored, all between two trusted slices.
    sample_indices: up to three of these, for the figure.
    samples: their truth, [sample, row, column] float32 in [0, 1].
    label_samples: their true labels, same shape, integer segment numbers counted from 1 (0 is background; of
        overlapping segments the last one shows); None without labels.
    colors: (1 + segments, 3) RGB in [0, 1], the colour of each segment number.
    """

    rows: tuple[Row, ...]
    grid: Grid
    axis: Axis
    trusted: tuple[int, ...]
    held_out: tuple[int, ...]
    sample_indices: tuple[int, ...]
    samples: np.ndarray
    label_samples: np.ndarray | None
    colors: np.ndarray

    def best(self, *, classical_rows: bool, labels: bool) -> Row | None:
        """The row of highest PSNR (`labels`: Dice) among the classical ones or among the others, or None."""
        def score(row: Row) -> float:
            value = row.dice if labels else row.image.psnr if row.image is not None else None
            return -np.inf if value is None or np.isnan(value) else value

        candidates = [row for row in self.rows if row.baselines == classical_rows and score(row) > -np.inf]
        return max(candidates, key=score, default=None)


def default_methods(labels: bool) -> list[str]:
    """Names of all classical methods that apply to a case with or without labels."""
    return [name for name, method in CLASSICAL.items() if labels or isinstance(method, BaselineImageMethod)]


def evaluate(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection,
             methods: Sequence[str], presets: Mapping[str, Method] | None = None,
             announce: Callable[[str], None] = lambda name: None) -> Report:
    """Score `methods` on the slices between those that `selection` trusts.

    image: all slices known; scored (and handed to the methods) normalised to [0, 1] as `metrics.normalise` does.
    segmentation: on the image's grid, or None.
    methods: names out of `CLASSICAL` and of `presets`; one row each, in this order.
    presets: further methods by name, such as the presets of this library.
    announce: called with each method's name before it starts.
    A method that fails gives a row that says why; the others go on.
    A script that calls this needs the `if __name__ == "__main__"` guard that starting processes asks for.
    Raises InputError for unknown names, unusable voxels or grids, or if no slice is hidden between trusted ones.
    """
    known = {**CLASSICAL, **(presets or {})}
    _check_input(image, segmentation, axis, selection)
    _check_names(methods, known, segmentation is not None)
    normalised = Image(metrics.normalise(image.array), image.grid)
    truth = _Truth(normalised, segmentation, axis, selection)
    rows = []
    for name in methods:
        announce(name)
        outcome = run(known[name], normalised, segmentation, axis, selection)
        rows.append(truth.score(name, name in CLASSICAL, outcome))
    return Report(tuple(rows), image.grid, axis, selection.indices, tuple(truth.held_out.tolist()),
                  tuple(truth.held_out[truth.chosen].tolist()), truth.slices[truth.chosen],
                  truth.labels[truth.chosen] if truth.labels is not None else None, truth.colors)


@dataclass(frozen=True)
class MethodOutcome:
    """What a method's process left behind; either `failure` or the rest (memory None where the system is silent)."""

    estimate: MethodResult = MethodResult()
    band: float | None = None
    seconds: float | None = None
    peak_memory: int | None = None
    failure: str | None = None


def run(method: Method, image: Image, segmentation: Segmentation | None, axis: Axis,
        selection: Selection) -> MethodOutcome:
    """Call `method` in a fresh process that is given the trusted slices only; arrays travel through files."""
    dimension = array_axis(axis)
    segments = segmentation.segments if segmentation is not None else ()
    with TemporaryFolder() as folder:
        write_array(folder / "trusted.npy", np.take(image.array, selection.indices, dimension))
        if segmentation is not None:
            write_array(folder / "trusted_layers.npy", np.take(segmentation.layers, selection.indices, dimension + 1))
        process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(folder, method, image.grid, segments, axis, selection))
        process.start()
        try:
            process.join()
        finally:
            _end(process)  # does nothing unless the wait was interrupted
        # The file tells, not the exit code: some ITK builds abort in their own clean-up, when all is done.
        if not (folder / "outcome.json").exists():
            return MethodOutcome(failure=f"its process ended early with exit code {process.exitcode}, for want of "
                                         "memory or disk space, or by a crash")
        outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
        files = (folder / f"{field.name}.npy" for field in fields(MethodResult))
        arrays = {file.stem: np.load(file) for file in files if file.exists()}
    return MethodOutcome(estimate=MethodResult(**arrays), **outcome)


def _end(process: BaseProcess) -> None:
    try:
        process.terminate()
        process.join(_STOP_SECONDS)
    finally:
        process.kill()
        process.join()


def _work(folder: Path, method: Method, grid: Grid, segments: tuple[Segment, ...], axis: Axis,
          selection: Selection) -> None:
    """Body of a method's process."""
    for number in STOP_SIGNALS:  # they reach the parent too, which ends this process
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it ends what it has started
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    tempfile.tempdir = str(folder)  # what methods put aside is gone with the folder
    try:
        outcome = _measured(folder, method, grid, segments, axis, selection)
    except KeyboardInterrupt:
        return
    except ReconstructionError as error:
        outcome = {"failure": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a method raises leaves its row out
        outcome = {"failure": f"{type(error).__name__}: {error}"}
    with suppress(OutputError):  # without room for it, its absence tells
        write_json(folder / "outcome.json", outcome, durable=False)
    # All is done; some ITK builds now abort in their own clean-up, with a message that would only alarm.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _end_with_parent(folder: Path) -> None:
    """Wait for the end of the process that started this one, which would have ended it; then clean up in its place."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    delete_files(folder)
    os._exit(1)


def _measured(folder: Path, method: Method, grid: Grid, segments: tuple[Segment, ...], axis: Axis,
              selection: Selection) -> dict[str, Any]:
    """Run the method on the files in `folder`, leave its estimate there, return its seconds and bytes."""
    image = Image(_spread(np.load(folder / "trusted.npy"), array_axis(axis), selection, np.nan), grid)
    segmentation = None
    if (folder / "trusted_layers.npy").exists():
        layers = _spread(np.load(folder / "trusted_layers.npy"), array_axis(axis) + 1, selection, 0)
        segmentation = Segmentation(layers, segments, grid)
    getattr(method, "prepare", lambda: None)()
    start = time.perf_counter()
    estimate = method(image, segmentation, axis, selection)
    measured = {"seconds": time.perf_counter() - start, "peak_memory": peak_memory(), "band": estimate.band}
    for field, array in (("volume", estimate.volume), ("expected_error", estimate.expected_error)):
        if array is None:
            continue
        if array.shape != grid.shape or not np.isfinite(array).all():
            raise ReconstructionError(f"the {field.replace('_', ' ')} it returned {array.shape} is not finite on the "
                                      f"whole grid {grid.shape}")
        write_array(folder / f"{field}.npy", np.asarray(array, np.float32))
    if estimate.layers is not None:
        if segmentation is None or estimate.layers.shape != segmentation.layers.shape:
            raise ReconstructionError(f"the labels it returned {estimate.layers.shape} are not those of the input")
        write_array(folder / "layers.npy", estimate.layers)
    return measured


def peak_memory() -> int | None:
    """Bytes of host memory, libraries included, that this process or one that it has run held at most.

    None where the system does not tell; on Windows, this process alone.
    """
    try:
        import resource
    except ImportError:
        return _peak_on_windows()
    in_bytes = 1 if sys.platform == "darwin" else 1024
    own, others = (resource.getrusage(which).ru_maxrss * in_bytes
                   for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    try:
        # On Linux, getrusage begins with the peak of the process that started this one.
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        own = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    return max(own, others)


def _peak_on_windows() -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    return psutil.Process().memory_info().peak_wset


def _fill(interpolate: baselines.Interpolator, array: np.ndarray, dimension: int, selection: Selection) -> np.ndarray:
    """Interpolate the trusted slices of `array` [k, j, i] onto all of its slices along array axis `dimension`."""
    trusted = np.moveaxis(np.take(array, selection.indices, dimension), dimension, 0)
    filled = interpolate(np.asarray(selection.indices), np.ascontiguousarray(trusted), np.arange(selection.count))
    return np.moveaxis(filled, 0, dimension)


def _spread(trusted: np.ndarray, dimension: int, selection: Selection, filler: float) -> np.ndarray:
    """Put the trusted slices back where they belong, `filler` everywhere else."""
    shape = list(trusted.shape)
    shape[dimension] = selection.count
    array = np.full(shape, filler, trusted.dtype)
    np.moveaxis(array, dimension, 0)[list(selection.indices)] = np.moveaxis(trusted, dimension, 0)
    return array


class _Truth:
    """The known slices of one case, and how to score against them; arrays are stacked slice first."""

    def __init__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> None:
        self.dimension = array_axis(axis)
        spacing = image.grid.spacing[::-1]
        self.spacing = (spacing[self.dimension], *np.delete(spacing, self.dimension).tolist())
        self.span = slice(selection.indices[0], selection.indices[-1] + 1)
        self.held_out = np.setdiff1d(np.arange(self.span.start, self.span.stop), selection.indices)
        self.slices = np.moveaxis(image.array, self.dimension, 0)[self.held_out]
        self.segments = segmentation.segments if segmentation is not None else ()
        self.colors = segment_colors(self.segments)
        self.layers = segmentation.layers if segmentation is not None else None
        self.labels = self._painted(segmentation.layers) if segmentation is not None else None
        content = np.flatnonzero(metrics.has_content(self.slices))
        content = content if len(content) else np.arange(len(self.slices))
        self.chosen = np.unique(content[[round(position * (len(content) - 1)) for position in _SAMPLE_POSITIONS]])

    def score(self, name: str, is_classical: bool, outcome: MethodOutcome) -> Row:
        """Return the row of the method called `name`."""
        if outcome.failure is not None:
            return Row(name, is_classical, failure=outcome.failure)
        volume, layers = outcome.estimate.volume, outcome.estimate.layers
        scores: dict[str, Any] = {}
        if volume is not None:
            filled = np.moveaxis(volume, self.dimension, 0)[self.held_out]
            scores["image"] = metrics.image_scores(self.slices, filled)
            scores["samples"] = np.clip(filled[self.chosen], 0.0, 1.0)
            if outcome.estimate.expected_error is not None and outcome.band is not None:
                expected = np.moveaxis(outcome.estimate.expected_error, self.dimension, 0)[self.held_out]
                scores |= asdict(metrics.calibration_scores(self.slices, filled, expected, outcome.band))
        if layers is not None and self.layers is not None and self.labels is not None:
            painted = self._painted(layers)
            scores["label_samples"] = painted[self.chosen]
            dice = metrics.segment_scores(self._pairs(self.layers, layers, self.held_out))
            scores["dice"] = dice.dice
            scores["semantic_loss"] = metrics.semantic_loss(self.labels, painted, self.colors)
            scores["segments"] = tuple(
                SegmentScore(self.segments[number].name, dice.per_label.get(number, np.nan),
                             metrics.surface_distance(true, estimated, self.spacing))
                for number, true, estimated in self._pairs(self.layers, layers, self.span))
        return Row(name, is_classical, **scores, seconds=outcome.seconds, peak_memory=outcome.peak_memory)

    def _masks(self, layers: np.ndarray, slices: np.ndarray | slice) -> Iterator[np.ndarray]:
        """Yield each segment's mask [slice, row, column] on the given slices of `layers` [layer, k, j, i]."""
        stacked = np.moveaxis(layers, self.dimension + 1, 1)
        for segment in self.segments:
            yield stacked[segment.layer, slices] == segment.value

    def _pairs(self, truth: np.ndarray, estimate: np.ndarray,
               slices: np.ndarray | slice) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield each segment's number from 0 and its mask in both."""
        return zip(range(len(self.segments)), self._masks(truth, slices), self._masks(estimate, slices),
                   strict=True)

    def _painted(self, layers: np.ndarray) -> np.ndarray:
        """Return the held-out slices of `layers` as one label image of segment numbers from 1; later ones cover."""
        painted = np.zeros(self.slices.shape, np.uint16)
        for number, mask in enumerate(self._masks(layers, self.held_out), start=1):
            painted[mask] = number
        return painted


def segment_colors(segments: Sequence[Segment]) -> np.ndarray:
    """(1 + segments, 3) RGB in [0, 1]: black background, then each segment's own colour, or else one by its number.

    The colours by number step round the colour circle by the golden angle, so that neighbours differ clearly; every
    third is paler and every fifth darker.
    """
    from colorsys import hsv_to_rgb

    colors = [(0.0, 0.0, 0.0)]
    for number, segment in enumerate(segments):
        own = hsv_to_rgb(distinct_hue(number), 0.45 if number % 3 == 2 else 0.85, 0.65 if number % 5 == 4 else 0.95)
        colors.append(segment.color if segment.color is not None else own)
    return np.clip(np.array(colors, np.float64), 0.0, 1.0)


def _check_input(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> None:
    Observations.from_volume(image, {axis: selection}, segmentation)  # what every method needs
    if not np.isfinite(image.array).all():
        raise InputError("The volume holds NaN or infinite voxels, so there is no truth to compare with. Replace them.")
    if selection.indices[-1] - selection.indices[0] + 1 == len(selection):
        raise InputError("No slice is hidden between trusted ones, so there is nothing to score. Trust fewer slices "
                         "(keep every 2nd, say, or hide every 5th), or take a volume with more of them.")


def _check_names(methods: Sequence[str], known: Mapping[str, Method], labels: bool) -> None:
    unknown = [name for name in methods if name not in known]
    if unknown:
        raise InputError(f"Unknown method '{unknown[0]}'. Choose from {', '.join(known)}.")
    idle = [name for name in methods if isinstance(known[name], BaselineLabelMethod) and not labels]
    if idle:
        raise InputError(f"Method '{idle[0]}' fills labels only. Give a segmentation, or leave it out.")
