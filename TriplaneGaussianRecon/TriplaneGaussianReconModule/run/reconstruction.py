"""One reconstruction from nodes to nodes, frame after frame: all results enter the scene at the end, or none."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.label_slices import segments_on_slices
from TriplaneGaussianReconLib.errors import Cancelled, InputError, OutputError, ReconstructionError, cause
from TriplaneGaussianReconLib.io.atomic import whole_file
from TriplaneGaussianReconLib.jobs.protocol import Job, Message, Outcome, read_preview
from TriplaneGaussianReconLib.jobs.remarks import remarks

from .. import wording
from ..scene.frames import Frame, Sequences, browserOf
from ..scene.further_volumes import FurtherVolume
from ..scene.nodes import gridOf, imageOf, readSegmentation, stateOf, transformBetween
from ..scene.report import FrameRecord, RunRecord, notesIn, scores
from ..scene.results import Prepared, Results, add
from .choices import Asked
from .learnt import LearntLabels
from .process import WorkerProcess
from .request import choices
from .steps import Pause, Steps

PREFIX = "TriplaneGaussianRecon-"  # of folders for temporary files
_LEARNT = "learnt_before.safetensors"  # in the folder of a job


class ReconstructionRun:
    """Reconstructs frames in the event loop; the scene changes only when all results are there.

    If a node that is needed is removed, or the scene is closed, the run ends with an error.
    """

    def __init__(self, process: WorkerProcess, asked: Asked, learnt: LearntLabels,
                 onProgress: Callable[[Message], None], onPreview: Callable[[Any, Message], None],
                 onEnd: Callable[[Results | None, Exception | None], None]) -> None:
        """Prepare a run.

        Args:
            process: Does the jobs.
            asked: What is to be done.
            learnt: What earlier runs learnt about labels, from which this one goes on; it adds what it learns itself.
            onProgress: Called with messages of `jobs.protocol` about the whole.
            onPreview: Called with a slice [row, column] float32, in units of the volume, and its message.
            onEnd: Called once, with the results and None, or with None and the error, which is Cancelled if `cancel`
                was called.
        """
        self._process, self._request, self._frames, self._segmentIDs = (process, asked.request, asked.frames,
                                                                        asked.segmentIDs)
        self._copyVolume, self._several, self._outputs, self._learnt = (asked.copyVolume, asked.several, asked.outputs,
                                                                        learnt)
        self._further: tuple[FurtherVolume, ...] = ()  # where they lie, from the start of a frame on
        self._onProgress, self._onPreview, self._onEnd = onProgress, onPreview, onEnd
        self._number, self._start, self._folder = 0, time.monotonic(), Path()
        self._steps = Steps(self._work(), self._end)
        self._reason: Exception = Cancelled(_("The reconstruction was cancelled."))
        self._observations: list[tuple[Any, int]] = []

    def start(self) -> None:
        """Start; returns at once."""
        self._process.onStarted = self._process.onProgress = self._tellProgress
        self._process.onPreview = self._tellPreview
        self._process.onFinished = lambda message: self._steps.resume()
        self._process.onFailed = self._fail
        self._process.onCancelled = lambda message: self._steps.abort(self._reason)
        scene = slicer.mrmlScene
        for event, react in ((slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved),
                             (slicer.vtkMRMLScene.StartCloseEvent, self._onSceneStartClose)):
            self._observations.append((scene, scene.AddObserver(event, react)))
        self._steps.start()

    def cancel(self) -> None:
        """Ask it to end without results; returns at once."""
        if self._process.state == "idle":
            self._steps.abort(self._reason)
        else:
            self._process.cancel()

    def interrupt(self, reason: Exception) -> None:
        """End it by force; nothing of it is left when this returns."""
        self._reason = reason
        if self._process.state == "idle":
            self._steps.abort(reason)
        else:
            self._process.kill()

    def _work(self) -> Generator[Any, None, Results]:
        first, shown = self._frames[0], None
        browser = browserOf(first.proxy) if len(self._frames) > 1 else None
        sequences = None if browser is None else Sequences(browser, first.proxy)
        record = RunRecord(first.proxy.GetName(), first.segmentationProxy and first.segmentationProxy.GetName(),
                           {**choices(self._request), "copyVolume": self._copyVolume, **self._several.choices()},
                           tuple(self._several.told))
        with ExitStack() as uponFailure:
            models = _folder() if self._request.keep_model else None
            if models is not None:
                uponFailure.callback(models.cleanup)
            for number, frame in enumerate(self._frames):
                self._number = number
                prepared = yield from self._frame(frame, record, models)
                if sequences is not None:
                    sequences.append(frame, prepared.nodes(frame))
                    yield
                if browser is None or number == browser.GetSelectedItemNumber():
                    shown = prepared
                yield
            results = add(first, shown or prepared, record, sequences, models, self._further, self._outputs)
            uponFailure.pop_all()
        return results

    def _frame(self, frame: Frame, record: RunRecord, models: TemporaryDirectory[str] | None
               ) -> Generator[Any, None, Prepared]:
        """Reconstruct one frame; its files are gone afterwards."""
        state, grid = self._state(frame), gridOf(frame.volume)
        scalarType = frame.volume.GetImageData().GetScalarType()
        with _folder() as folder:
            self._folder = Path(folder)
            try:
                yield from self._writeJob(frame, record)
            except InputError as error:
                if len(self._frames) == 1:
                    raise
                raise InputError(_("Frame {number} (counted from 0): {cause}").format(
                    number=self._number, cause=error)) from error
            self._process.start(self._folder)
            yield Pause.UNTIL_RESUMED
            outcome = Outcome.read(self._folder)
            if outcome.model is not None and models is not None:
                outcome.model.replace(Path(models.name) / f"frame_{self._number:04d}{outcome.model.suffix}")
            if outcome.label_network is not None:
                self._learnt.keep(frame, self._request, self._segmentIDs, outcome.label_network.read_bytes())
            record.frames.append(FrameRecord.of(grid, outcome))
            record.note([self._several.named(note, frame.proxy) for note in notesIn(outcome.report)])
            self._takeMotion(frame, outcome, record)
            record.tables.append(scores(grid, outcome))
            isOneOfMany = len(self._frames) > 1  # frames of labels are shown together with those of their image
            isVolumeWanted = self._copyVolume or isOneOfMany or not _isKnown(outcome, self._part(grid))
            prepared = yield from Prepared.of(outcome, frame, scalarType, isVolumeWanted, isOneOfMany, self._further)
            del outcome  # its arrays keep files open
            yield from _emptied(self._folder)
        if self._state(frame) != state:
            record.note([_("The input was modified while it was being reconstructed: the result belongs to the state "
                            "in which it was before.")])
        return prepared

    def _writeJob(self, frame: Frame, record: RunRecord) -> Generator[Any, None, None]:
        segmentation, grid = None, gridOf(frame.volume)
        presence: dict[Axis, np.ndarray] = {}
        if frame.segmentation is not None:
            segmentation, notes = yield from readSegmentation(
                grid, frame.segmentation, self._segmentIDs, transformBetween(frame.segmentationProxy, frame.proxy))
            record.note(notes)
            axis = self._request.slice_axis(grid)
            presence[axis] = yield from segments_on_slices(segmentation, axis)
        with wording.translatedErrors():
            request = self._several.alone(self._request)
            plan = request.plan(grid, presence)
            job = request.job(imageOf(frame.volume), segmentation, presence)
        if self._several.nodes:
            self._further = self._several.placed(frame.volume)
            further, notes = yield from self._several.labelled(self._further)
            record.note(notes)
            job = self._several.added(job, self._request, further)
        if not self._several.nodes:
            record.note([wording.translated(remark)
                         for remark in remarks(request, plan, grid, segmentation, presence)])
            job = self._goingOn(job, frame)
        yield from job.parts(self._folder)

    def _part(self, grid: Grid) -> Grid:
        """The voxels of a volume that are to be reconstructed."""
        region = self._request.part(grid)
        return grid if region is None else region.of_result(grid, grid, self._request.slice_axis(grid))

    def _goingOn(self, job: Job, frame: Frame) -> Job:
        """A job that goes on from what the last run on this frame learnt about labels, if anything."""
        learnt = self._learnt.of(frame, self._request, self._segmentIDs)
        if learnt is None:
            return job
        with whole_file(self._folder / _LEARNT, durable=False) as path:
            path.write_bytes(learnt)
        return replace(job, label_network=self._folder / _LEARNT)

    def _takeMotion(self, frame: Frame, outcome: Outcome, record: RunRecord) -> None:
        """Keep how the further volumes lie to the first, and tell it."""
        self._further = self._several.moved(self._further, outcome.report.volumes)
        record.note([wording.motion(each.node.GetName(), frame.proxy.GetName(), each.grid, told.to_first)
                     for each, told in zip(self._further, outcome.report.volumes[1:], strict=True) if each.isMoved])

    def _state(self, frame: Frame) -> tuple[object, ...]:
        """A state that differs from a former one if something that is reconstructed has been changed since."""
        return (stateOf(frame.volume, frame.segmentation),
                *(stateOf(node, each.segmentationNode) for node, each in self._several.settings.items()))

    def _fail(self, message: Message) -> None:
        if message["details"]:
            logging.error("The reconstruction failed: %s\n%s", message["message"], message["details"])
        kind = InputError if message["kind"] == "input" else ReconstructionError
        told = self._several.named(message["message"], self._frames[0].proxy)
        self._steps.abort(kind(wording.withinSlicer(told)))

    def _tellProgress(self, message: Message) -> None:
        if message["event"] == "progress" and len(self._frames) > 1:
            done, seconds = (self._number + message["done"]) / len(self._frames), None
            if message["seconds_left"] is not None:
                seconds = round((time.monotonic() - self._start) * (1.0 - done) / done, 1)
            message = {**message, "done": done, "seconds_left": seconds, "frame": self._number,
                       "frames": len(self._frames)}
        self._call(self._onProgress, message)

    def _tellPreview(self, message: Message) -> None:
        with suppress(InputError):  # a newer one took its place
            self._call(self._onPreview, read_preview(self._folder, message), message)

    def _call(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Call a callback of somebody else; if it fails, the run ends with its error."""
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001
            self.interrupt(error)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, scene: slicer.vtkMRMLScene, event: str, node: slicer.vtkMRMLNode) -> None:
        needed = {each for frame in self._frames for each in (frame.proxy, frame.segmentationProxy)}
        needed.update(self._several.nodes, self._several.segmentations)
        if node in needed:
            self.interrupt(InputError(_("'{name}' was removed from the scene before the reconstruction was done, so "
                                        "there is no result.").format(name=node.GetName())))

    def _onSceneStartClose(self, scene: slicer.vtkMRMLScene, event: str) -> None:
        self.interrupt(InputError(_("The scene was closed before the reconstruction was done, so there is no result.")))

    def _end(self, results: Results | None, error: Exception | None) -> None:
        for observed, tag in self._observations:
            observed.RemoveObserver(tag)
        process = self._process  # which outlives this run, and would keep it and its nodes
        process.onStarted = process.onProgress = process.onPreview = _ignore
        process.onFinished = process.onFailed = process.onCancelled = _ignore
        self._onEnd(results, error)


def _isKnown(outcome: Outcome, grid: Grid) -> bool:
    """Whether labels alone were filled, so that the volume is that of the input; grid: of that, or of a part of it."""
    report = outcome.report
    return report.completion is not None and not report.gaussians and outcome.volume.grid.matches(grid)


def _ignore(message: Message) -> None:
    """Do nothing with messages that concern no run."""


def _emptied(folder: Path) -> Generator[None, None, None]:
    """Delete files one at a time, since large ones take a while; the folder's own clean-up takes the rest."""
    for path in list(folder.iterdir()):
        with suppress(OSError):
            path.unlink()
        yield


def _folder() -> TemporaryDirectory[str]:
    """A folder for temporary files, where Slicer's user wants such; raises OutputError if there can be none."""
    try:
        return TemporaryDirectory(prefix=PREFIX, dir=slicer.app.temporaryPath, ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputError(_("Nothing can be written to the folder for temporary files '{folder}': {cause}. Choose "
                            "another one in the application settings.").format(
            folder=slicer.app.temporaryPath, cause=cause(error))) from error
