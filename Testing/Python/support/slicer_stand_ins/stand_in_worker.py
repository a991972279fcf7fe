"""Stand-in for the module's WorkerProcess: no process and no learning, but the same states, messages and files.

What it writes is the observed slices and, between them, a linear mixture; labels are those of the nearest one that
carries some.  What it learns about labels is which image they belong to, which is all that the next job asks for.
Of several volumes it makes an empty one on the voxels about all of them, and moves each further one by `MOTION`; each
segment that any of them shows has one voxel.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import qt

from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid, array_axis
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.label_slices import LabelSlices, presence
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.output_grid import union_grid
from TriplaneGaussianReconLib.data.region import Region, part_of
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.jobs.protocol import LABEL_NETWORK, MODEL, Job, Message, Outcome, write_preview
from TriplaneGaussianReconLib.pipeline.label_report import LabelCompletion
from TriplaneGaussianReconLib.pipeline.report import Provenance, Report, Scope, SelfCheck
from TriplaneGaussianReconLib.pipeline.stack_report import StackReport
from TriplaneGaussianReconLib.pipeline.texture_report import TextureReport

# A turn by 90 degrees about the axis from feet to head, and a shift; LPS mm.
MOTION = np.array([[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, -2.0], [0.0, 0.0, 0.0, 1.0]])


def reportOf(preset: str, seed: int, axis: Axis, observed: list[int], grid: Grid) -> Report:
    """A report as the library makes one, with scores that tell one slice from another."""
    hidden = {n: 20.0 + n for n in range(1, len(observed) - 1)}
    check = SelfCheck(1.0, "Stand-in.", 20.0, len(observed) - 2, hidden, 18.3, 19.1, "cubic", 0.6)
    scope = Scope(axis, {axis: tuple(observed)}, grid.shape, grid.spacing, (), {})
    return Report(Provenance("stand-in", preset, seed, "cpu", len(observed), check), "CPU, because this is a stand-in",
                  slabs=1, gaussians=0, labels=0, weights={}, residuals=(), seconds={}, losses={}, scope=scope,
                  pasted=False)


class StandInWorkerProcess:
    """As `process.WorkerProcess`.

    isHeld: while true, a job that was started goes on forever, unless it is cancelled or killed.
    failure: the message with which jobs end, None for success.  folders: those of all jobs so far.
    """

    def __init__(self) -> None:
        self.state = "idle"
        ignore: Callable[[Message], None] = lambda message: None  # noqa: E731
        self.onStarted = self.onProgress = self.onPreview = ignore
        self.onFinished = self.onFailed = self.onCancelled = ignore
        self.isHeld, self.failure = False, None
        self.folders: list[Path] = []
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._work)

    @property
    def log(self) -> str:
        return "what the stand-in wrote"

    def start(self, folder: Path) -> None:
        """Start; returns at once."""
        assert self.state == "idle"
        self.state = "running"
        self.folders.append(folder)
        self._timer.start(0)

    def cancel(self) -> None:
        """Ask to stop."""
        if self.state == "running":
            self.state = "cancelling"
            self._timer.start(0)

    def kill(self) -> None:
        """End at once, and tell it before this returns."""
        if self.state != "idle":
            self._timer.stop()
            self._tell(self.onCancelled, {"event": "cancelled"})

    def _work(self) -> None:
        if self.state == "cancelling":
            self._tell(self.onCancelled, {"event": "cancelled"})
            return
        job = Job.read(self.folders[-1])
        middle = np.take(job.volume.array, job.volume.array.shape[0] // 2, 0)
        name = write_preview(self.folders[-1], middle)
        self.onStarted({"event": "started", "device": "cpu", "note": "CPU, because this is a stand-in"})
        for receiver, message in (
                (self.onProgress, {"event": "progress", "stage": "motion" if job.further else "learning",
                                   "number": 2, "count": 8, "step": 5, "steps": 10, "done": 0.5, "seconds_left": 1.0}),
                (self.onPreview, {"event": "preview", "file": name, "axis": "k", "index": 3})):
            if self.state == "running":
                receiver(message)
        if self.state != "running" or self.isHeld:
            return
        if self.failure is not None:
            self._tell(self.onFailed, self.failure)
            return
        outcome = outcome_of_several(job) if job.further else outcome_of(job, self.folders[-1])
        outcome.write(self.folders[-1])
        self._tell(self.onFinished, {"event": "finished"})

    def _tell(self, receiver: Callable[[Message], None], message: Message) -> None:
        self.state = "idle"
        receiver(message)


def outcome_of(job: Job, folder: Path) -> Outcome:
    """What the stand-in makes of a job; of a region, what it makes of the whole in that part."""
    region = Region.within(job.region, job.volume.grid)
    if region is None:
        return outcome_of_all(job, folder)
    found, grid = outcome_of_all(replace(job, region=""), folder), job.output_grid
    first = np.rint(found.volume.grid.physical_to_index(grid.origin)).astype(int)[::-1]
    k, j, i = (slice(start, start + count) for start, count in zip(first, grid.shape, strict=True))
    images = {name: image and Image(image.array[k, j, i], grid) for name, image in (
        ("volume", found.volume), ("confidence", found.confidence), ("label_certainty", found.label_certainty))}
    segmentation = found.segmentation and replace(
        found.segmentation, layers=found.segmentation.layers[:, k, j, i], grid=grid)
    used = part_of({job.axis: job.observed[job.axis]}, None, region, job.axis)[0][job.axis].indices
    scope = replace(found.scope, selected={job.axis: used}, output_shape=grid.shape, region=str(region))
    report = reportOf(job.preset, job.seed, job.axis, list(used), grid)
    report = replace(found.report, provenance=report.provenance, scope=scope)
    return replace(found, **images, segmentation=segmentation, report=report)


def outcome_of_all(job: Job, folder: Path) -> Outcome:
    """What it makes of a volume; each hidden slice has a PSNR of 20 dB and its place among the observed ones."""
    axis, grid = job.axis, job.output_grid
    observed, dimension, number = np.array(job.observed[axis].indices), array_axis(axis), AXES.index(axis)
    places = np.round(np.arange(grid.count(axis)) * grid.spacing[number] / job.volume.grid.spacing[number], 9)
    after = np.clip(np.searchsorted(observed, places), 1, len(observed) - 1)
    share = np.clip((places - observed[after - 1]) / (observed[after] - observed[after - 1]), 0, 1)
    weight = share.reshape([-1 if n == dimension else 1 for n in range(3)])
    slices = [np.take(job.volume.array, observed[after - back], dimension) for back in (1, 0)]
    volume = np.round((1 - weight) * slices[0] + weight * slices[1], 6).astype(job.volume.array.dtype)
    distance = np.broadcast_to(np.minimum(weight, 1 - weight), grid.shape)
    segmentation = certainty = None
    if job.segmentation is not None:
        nearest = np.where(share < 0.5, observed[after - 1], observed[after])
        if job.labelled is not None:
            labelled = np.array(job.labelled[axis].indices)
            apart = np.abs(nearest[:, None] - labelled)
            nearest = labelled[apart.argmin(axis=1)]
            certain = (1.0 / (1.0 + apart.min(axis=1))).reshape(weight.shape)
            certainty = Image(np.broadcast_to(certain, grid.shape).astype(np.float32), grid)
        layers = np.take(job.segmentation.layers, nearest, dimension + 1)
        seen = tuple(s for s in job.segmentation.segments if (layers[s.layer] == s.value).any())
        segmentation = Segmentation(layers, seen, grid)
    model = None
    if job.keep_model:
        model = folder / MODEL
        model.write_bytes(b"a model")
    report = reportOf(job.preset, job.seed, axis, observed.tolist(), grid)
    if job.texture == "even":
        texture = TextureReport.of(11.0, int((weight % 1 > 0).sum()), False)
        report = replace(report, texture=texture, notes=(*report.notes, texture.note))
    label_network = None
    if job.labelled is not None:
        label_network = folder / LABEL_NETWORK
        label_network.write_bytes(learntFrom(job))
        report = replace(report, completion=completion_of(job), gaussians=0 if (
            job.observed[axis].is_everything and grid == job.volume.grid and not job.keep_model) else 1000)
    return Outcome(Image(volume, grid), Image((10.0 * distance).astype(np.float32), grid), segmentation, report, model,
                   certainty, label_network)


def outcome_of_several(job: Job) -> Outcome:
    """What the stand-in makes of a job with further volumes; it turns them only if it is to find their motion."""
    observations, segmentation = Observations.from_volumes(job.stacks), None
    grid = union_grid(observations, job.spacing)
    report = reportOf(job.preset, job.seed, job.axis, list(job.observed[job.axis].indices), grid)
    report = replace(report, provenance=replace(report.provenance, self_check=SelfCheck(1.0, "No slice was hidden.")),
                     notes=("Volume 2 hardly fits the first.",))
    motions = [StackMotion(), *[StackMotion(MOTION if job.motion == "stack" else np.eye(4)) for _ in job.further]]
    volumes = tuple(StackReport.of(each, each.used.indices, motion)
                    for each, motion in zip(job.stacks, motions, strict=True))
    empty = np.zeros(grid.shape, job.volume.array.dtype)
    if segments := observations.segments:
        layers = np.zeros((1 + max(each.layer for each in segments), *grid.shape), np.uint8)
        for number, each in enumerate(segments):
            layers[each.layer, 0, 0, number] = each.value
        segmentation = Segmentation(layers, segments, grid)
    return Outcome(Image(empty, grid), Image(empty.astype(np.float32), grid), segmentation,
                   replace(report, volumes=volumes), None)


def completion_of(job: Job) -> LabelCompletion:
    """What the stand-in tells of labels that it filled; the first slices are to be drawn next."""
    assert job.segmentation is not None and job.labelled is not None
    found = LabelSlices.among(job.observed[job.axis], job.labelled[job.axis], presence(job.segmentation, job.axis))
    return LabelCompletion(found, found.filled, {"network": 0.7, "carried": 0.3, "shape": 0.0}, 0.87,
                           job.label_network is not None and job.label_network.read_bytes() == learntFrom(job))


def learntFrom(job: Job) -> bytes:
    """What the stand-in learns."""
    return blake2b(np.ascontiguousarray(job.volume.array).data).digest()
