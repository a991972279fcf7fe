"""What the panel, the Python console and scripts call."""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from TriplaneGaussianReconLib.data.geometry import Axis
from TriplaneGaussianReconLib.errors import Cancelled, InputError, ReconstructionError
from TriplaneGaussianReconLib.jobs.costs import DeviceKind
from TriplaneGaussianReconLib.jobs.estimates import Estimate, Slowness
from TriplaneGaussianReconLib.jobs.failures import explained
from TriplaneGaussianReconLib.jobs.protocol import Message

from .. import wording
from ..scene.results import Results, remove
from .choices import Asked, Choices
from .expectation import Computer, expectation
from .learnt import LearntLabels
from .parameters import TriplaneGaussianReconParameterNode
from .process import WorkerProcess
from .reconstruction import ReconstructionRun


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
                    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None, *, waitForCompletion: bool = True,
                    progressCallback: Callable[[Message], None] | None = None,
                    previewCallback: Callable[[Any, Message], None] | None = None,
                    completedCallback: Callable[[Results | None, str], None] | None = None, **choices: Any
                    ) -> Results | None:
        """Fill the gaps between the observed slices of a volume, and those of a segmentation.

        Waits by default, while the user interface goes on. The inputs are never changed, and whatever goes wrong the
        scene stays as it was. Labels that are filled go on from what the last run learnt, see `LearntLabels`.

        Args:
            volumeNode: A scalar volume. Where a sequence browser shows a sequence in it, each frame is reconstructed.
            segmentationNode: Drawn on some slices at least.
            waitForCompletion: If false, return None at once.
            progressCallback: Called with messages: first about the device (keys device, note), then about progress
                (keys stage, number, count, done, seconds_left).
            previewCallback: Called with a slice [row, column] float32 in units of the volume, and keys axis, index.
            completedCallback: Called at the end with the results and "", or None and what went wrong; "" if cancelled.
            choices: Everything else, such as `trustedSlices="every:4"` and `preset="best"`: by the names and with the
                meaning of the attributes of `run.choices.Choices`.

        Returns:
            The results; None if it was cancelled.

        Raises:
            InputError: It cannot be done; raised before anything starts.
            ReconstructionError: Something went wrong later, when waiting.
        """
        self._refuseWhileRunning()
        asked = Choices(**choices).asked(volumeNode, segmentationNode)
        end = self._start(asked, progressCallback or _ignore, previewCallback or _ignore, completedCallback or _ignore)
        return end.wait() if waitForCompletion else None

    def expected(self, volumeNode: slicer.vtkMRMLScalarVolumeNode,
                 segmentationNode: slicer.vtkMRMLSegmentationNode | None = None, *,
                 presence: Mapping[Axis, np.ndarray] | None = None, slowness: Slowness | None = None, **choices: Any
                 ) -> Estimate:
        """Return how long `reconstruct` is likely to take with these arguments, and how much memory.

        Args:
            volumeNode: See `reconstruct`.
            segmentationNode: Likewise.
            presence: What `presenceOf` found along the slice axis; None to look now. Where it is empty, all slices
                count as observed if `trustedSlices` are those that carry segmentation, and all as labelled.
            slowness: Of this computer, see `jobs.calibration`; None for that on which costs were measured.
            choices: See `reconstruct`. device: cuda and its like for any GPU, all else for the processor.

        Returns:
            What to expect.

        Raises:
            InputError: As `reconstruct` does.
        """
        asked = Choices(**choices).asked(volumeNode, segmentationNode)
        learnt = self._learnt.of(asked.frames[0], asked.request, asked.segmentIDs)
        kind: DeviceKind = "cuda" if asked.request.device.startswith("cuda") else "cpu"
        return expectation(asked, Computer(kind, slowness or Slowness()), presence, learnt is not None)

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

    def _start(self, asked: Asked, onProgress: Callable[[Message], None], onPreview: Callable[[Any, Message], None],
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

        self._run = ReconstructionRun(self._process, asked, self._learnt, onProgress, onPreview, onEnd)
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
