"""What the panel, the Python console and scripts call."""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from TriplaneGaussianReconLib.data.geometry import Axis
from TriplaneGaussianReconLib.errors import Cancelled, InputError, ReconstructionError
from TriplaneGaussianReconLib.jobs.estimates import Estimate, Slowness
from TriplaneGaussianReconLib.jobs.failures import explained
from TriplaneGaussianReconLib.jobs.protocol import Message
from TriplaneGaussianReconLib.jobs.request import Request

from .. import wording
from ..scene.frames import Frame, framesOf
from ..scene.nodes import gridOf, segmentIDsOf
from ..scene.results import Results, remove
from .expectation import Computer, expectation
from .learnt import LearntLabels
from .parameters import TriplaneGaussianReconParameterNode
from .process import WorkerProcess
from .reconstruction import ReconstructionRun
from .request import Slices, requestFrom
from .several import FurtherVolumes, Several, Thickness


class TriplaneGaussianReconLogic(ScriptedLoadableModuleLogic):
    """Reconstructs volumes of the scene; one at a time for each logic."""

    def __init__(self, process: WorkerProcess | None = None) -> None:
        """process: what runs the jobs; by default with the application's Python."""
        super().__init__()
        self._process = WorkerProcess() if process is None else process
        self._run: ReconstructionRun | None = None
        self._learnt = LearntLabels()
        self.observers: set[Callable[[], None]] = set()  # called when a run has begun, and when it has ended

    def getParameterNode(self) -> TriplaneGaussianReconParameterNode:
        """The choices of the panel in this scene."""
        return TriplaneGaussianReconParameterNode(super().getParameterNode())

    @property
    def isRunning(self) -> bool:
        """Whether a reconstruction is going on."""
        return self._run is not None

    def reconstruct(self, volumeNode: slicer.vtkMRMLScalarVolumeNode,
                    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None, *,
                    segmentIDs: Sequence[str] | None = None, sliceAxis: str = "auto", trustedSlices: Slices = "all",
                    excludedSlices: Slices = "", labelsOn: Slices = "drawn", outputSpacing: float = 0.0,
                    preset: str = "fast", device: str = "auto", seed: int = 0, keepModel: bool = False,
                    evenTexture: bool = False, memory: float = 0.0, threads: int = 0, copyVolume: bool = False,
                    allFrames: bool = True, furtherVolumes: FurtherVolumes = (), thickness: Thickness = "",
                    profile: str = "gaussian", findMotion: bool = True, waitForCompletion: bool = True,
                    progressCallback: Callable[[Message], None] | None = None,
                    previewCallback: Callable[[Any, Message], None] | None = None,
                    completedCallback: Callable[[Results | None, str], None] | None = None) -> Results | None:
        """Fill the gaps between the observed slices of a volume, and those of a segmentation.

        Waits by default, while the user interface goes on. The nodes are never changed, and whatever goes wrong the
        scene stays as it was. Labels that are filled go on from what the last run learnt, see `LearntLabels`.

        Args:
            volumeNode: A scalar volume. Where a sequence browser shows a sequence in it, each frame is reconstructed.
            segmentationNode: Drawn on some slices at least.
            segmentIDs: Which segments; None for all.
            sliceAxis: auto (the axis of the largest spacing), i, j or k.
            trustedSlices: all, every:4, hide:3, 25%, 0,4,8-20, segmented (that carry segmentation); or [0, 4, 8].
            excludedSlices: Slices that are not to be observed in any case; a list as text or as numbers.
            labelsOn: Which of the observed slices carry labels: drawn (those on which a segment is drawn, and those far
                from them, which count as empty), drawn,40 (so does 40), all, every:4, or a list as text or as numbers.
                On the others the labels are filled from the image.
            outputSpacing: Mm between the slices of the result. With 0 it has the voxels of the input, or, where every
                slice is observed and carries labels, slices as close as the pixels are wide.
            preset, device: fast, balanced, best or paper; auto, cpu, cuda, or cuda:1 and so on.
            seed: The same one gives the same result on the same device, but for labels that go on from an earlier run.
            keepModel, evenTexture: Keep the models, see `Results.models`; add the noise that filled slices lack.
            memory, threads: GB that the computing may take at its peak, and how many threads; 0 for what there is.
            copyVolume, allFrames: Add the volume where labels alone were filled, too; all of a sequence, not one frame.
            furtherVolumes: More scans of the same body, which come to the place and grey values of the first: [b, c];
                or with what is used of each, as in {b: {"excludedSlices": "0,1"}, c: {"segmentationNode": d}}.
                The result has cubic voxels about all, of `outputSpacing` mm; with 0, as small as the smallest pixel.
            thickness, profile, findMotion: Of several volumes, see `Several`.
            waitForCompletion: If false, return None at once.
            progressCallback: Called with messages: first about the device (keys device, note), then about progress
                (keys stage, number, count, done, seconds_left).
            previewCallback: Called with a slice [row, column] float32 in units of the volume, and keys axis, index.
            completedCallback: Called at the end with the results and "", or None and what went wrong; "" if cancelled.

        Returns:
            The results; None if it was cancelled.

        Raises:
            InputError: It cannot be done; raised before anything starts.
            ReconstructionError: Something went wrong later, when waiting.
        """
        self._refuseWhileRunning()
        request = requestFrom(sliceAxis, trustedSlices, excludedSlices, labelsOn, outputSpacing, preset, device, seed,
                              keepModel, evenTexture, memory, threads)
        chosen = () if segmentationNode is None else segmentIDsOf(segmentationNode, segmentIDs)
        several = Several.of(volumeNode, furtherVolumes, thickness, profile, findMotion)
        with wording.translatedErrors():
            several.alone(request).check(gridOf(volumeNode), segmentationNode is not None)
        end = self._start(request, framesOf(volumeNode, segmentationNode, allFrames), chosen, copyVolume, several,
                          progressCallback or _ignore, previewCallback or _ignore, completedCallback or _ignore)
        return end.wait() if waitForCompletion else None

    def expected(self, volumeNode: slicer.vtkMRMLScalarVolumeNode,
                 segmentationNode: slicer.vtkMRMLSegmentationNode | None = None, *,
                 segmentIDs: Sequence[str] | None = None, sliceAxis: str = "auto", trustedSlices: Slices = "all",
                 excludedSlices: Slices = "", labelsOn: Slices = "drawn", outputSpacing: float = 0.0,
                 preset: str = "fast", device: str = "cpu", seed: int = 0, keepModel: bool = False,
                 evenTexture: bool = False, memory: float = 0.0, threads: int = 0, copyVolume: bool = False,
                 allFrames: bool = True, furtherVolumes: FurtherVolumes = (), thickness: Thickness = "",
                 profile: str = "gaussian", findMotion: bool = True, presence: Mapping[Axis, np.ndarray] | None = None,
                 slowness: Slowness | None = None) -> Estimate:
        """Return how long `reconstruct` is likely to take with these arguments, and how much memory.

        Args:
            volumeNode: As those that follow, see `reconstruct`.
            device: cpu, or cuda for any GPU.
            presence: What `presenceOf` found along the slice axis; None to look now. Where it is empty, all slices
                count as observed if `trustedSlices` are those that carry segmentation, and all as labelled.
            slowness: Of this computer, see `jobs.calibration`; None for that on which costs were measured.

        Returns:
            What to expect.

        Raises:
            InputError: As `reconstruct` does.
        """
        request = requestFrom(sliceAxis, trustedSlices, excludedSlices, labelsOn, outputSpacing, preset, device, seed,
                              keepModel, evenTexture, memory, threads)
        several = Several.of(volumeNode, furtherVolumes, thickness, profile, findMotion)
        with wording.translatedErrors():
            several.alone(request).check(gridOf(volumeNode), segmentationNode is not None)
        chosen = () if segmentationNode is None else segmentIDsOf(segmentationNode, segmentIDs)
        frames = framesOf(volumeNode, segmentationNode, allFrames)
        computer = Computer("cuda" if device.startswith("cuda") else "cpu", slowness or Slowness())
        return expectation(request, frames, chosen, several, computer, presence,
                           self._learnt.of(frames[0], request, chosen) is not None)

    def cancel(self) -> None:
        """Ask the reconstruction to end without results; returns at once, completedCallback tells when it is over."""
        if self._run is not None:
            self._run.cancel()

    def cleanup(self) -> None:
        """End at once what is running, for when the module or the application is closed; nothing of it is left."""
        if self._run is not None:
            self._run.interrupt(Cancelled(_("The module was closed.")))
        self._learnt.forget()

    @property
    def log(self) -> str:
        """The last lines of what the last run wrote, for whoever is asked for help."""
        return self._process.log

    def undo(self, results: Results) -> None:
        """Take the results of a reconstruction out of the scene again, as deleting their folder does."""
        remove(results)

    def _refuseWhileRunning(self) -> None:
        if self._run is not None:
            raise InputError(_("A reconstruction is running already. Wait until it is done, or cancel it."))

    def _start(self, request: Request, frames: Sequence[Frame], segmentIDs: Sequence[str], copyVolume: bool,
               several: Several, onProgress: Callable[[Message], None], onPreview: Callable[[Any, Message], None],
               onCompleted: Callable[[Results | None, str], None]) -> _End:
        """Start a run; returns its end, which can be waited for."""
        end = _End()

        def onEnd(results: Results | None, error: Exception | None) -> None:
            self._run = None
            end.results, end.error, end.isReached = results, error, True
            try:
                onCompleted(results, _message(error))
            finally:
                end.loop.quit()
                self._tellObservers()

        self._run = ReconstructionRun(self._process, request, frames, segmentIDs, copyVolume, several,
                                      self._learnt, onProgress, onPreview, onEnd)
        self._run.start()
        self._tellObservers()
        return end

    def _tellObservers(self) -> None:
        for tell in list(self.observers):
            tell()


class _End:
    """The end of a run: what came of it, once it is reached."""

    def __init__(self) -> None:
        self.results: Results | None = None
        self.error: Exception | None = None
        self.isReached, self.loop = False, qt.QEventLoop()

    def wait(self) -> Results | None:
        """Let the application go on until the end; raises the error, unless the run was cancelled."""
        if not self.isReached:
            self.loop.exec()
        if self.error is not None and not isinstance(self.error, Cancelled):
            raise self.error
        return self.results


def _message(error: Exception | None) -> str:
    """What to tell the user; an error that nobody foresaw goes to the log with all details."""
    if error is None or isinstance(error, Cancelled):
        return ""
    if not isinstance(error, ReconstructionError):
        logging.error("The reconstruction failed", exc_info=error)
        return wording.translated(explained(error).message)
    return str(error)


def _ignore(*arguments: Any) -> None:
    """Do nothing with messages that nobody wants."""
