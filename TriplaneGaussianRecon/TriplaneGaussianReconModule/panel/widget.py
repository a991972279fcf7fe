"""The panel: its parts together, in step with the choices in a parameter node."""
from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.selection import parse_numbers
from TriplaneGaussianReconLib.errors import InputError, ReconstructionError

from .. import wording
from ..installation import dependencies
from ..run.logic import TriplaneGaussianReconLogic
from ..run.parameters import (
    LabelsOn,
    PresetChoice,
    TriplaneGaussianReconParameterNode,
    Trust,
    isWholeSequence,
    keywords,
    requestOf,
    segmentIDs,
)
from ..run.remembered import remember
from ..run.task import Task
from ..scene import sample_data
from ..scene.frames import browserOf
from ..scene.nodes import gridOf
from ..scene.results import Results
from .device_choice import DeviceChoice
from .drawn_slices import DrawnSlices
from .further_volumes import FurtherVolumes
from .input_choice import InputChoice
from .meaning import Meaning, meaningOf
from .message import Message
from .obstacle import TASK, Obstacle, obstacleTo
from .packages_button import PackagesButton
from .plane_drawing import PlaneDrawing
from .progress_view import ProgressView
from .quality_choice import QualityChoice
from .region_choice import RegionChoice
from .results_view import ResultsView, setEnabledOrWhyNot
from .run_log import RunLog
from .segment_list import SegmentList
from .slice_views import shownSlice, turnToSlices
from .task_choice import TaskChoice

_STATUS_MILLISECONDS = 10_000
_PARAMETER = "SlicerParameterName"  # property by which the .ui file says which parameter a widget shows


class Panel:
    """What the user sees and clicks."""

    def __init__(self, ui: Any, logic: TriplaneGaussianReconLogic, python: str | None = None,
                 environment: Mapping[str, str] | None = None) -> None:
        """Take over the widgets.

        Args:
            ui: The widgets of the .ui file, by name.
            logic: What reconstructs.
            python: See `python_process.PythonProcess`.
            environment: See `python_process.PythonProcess`.
        """
        self._ui, self._logic = ui, logic
        self._parameters: TriplaneGaussianReconParameterNode | None = None
        self._running: TriplaneGaussianReconParameterNode | None = None  # the choices of the panel's own run
        self._isCancelling, self._start, self._tag = False, 0.0, 0
        self._isOpen = False  # whether the module is; the status bar tells where it is not
        self._hasPackages = False  # False until asked, which takes a moment
        self._segments = SegmentList(ui.segments, ui.segmentsLabel, self._onSegmentsOmitted)
        self._input = InputChoice(ui, lambda: self._parameters)
        self._further = FurtherVolumes(ui)
        self._region = RegionChoice(ui, self.update)
        self._task = TaskChoice(ui)
        self._quality = QualityChoice(ui.preset, self._onQuality)
        self._device = DeviceChoice(ui.device, ui.deviceNote, self._onDevice, python, environment)
        self._message = Message(ui.message)
        self._log = RunLog(ui.copyLogButton)
        self._packages = PackagesButton(ui.packagesButton, self._onPackages)
        self._progress = ProgressView(ui.progressView, ui.progressBar, ui.progressText, ui.preview)
        self._drawing = PlaneDrawing(self._onPlaneDrawn, python, environment)
        self._drawn = DrawnSlices(self.update)
        self._results = ResultsView(ui, self._drawing, self._tell, python, environment)
        ui.tryButton.connect("clicked()", self._onTry)
        ui.reconstructButton.connect("clicked()", self._onReconstructOrCancel)
        ui.excludeButton.connect("clicked()", self._onExclude)
        ui.emptyButton.connect("clicked()", self._onEmpty)
        logic.observers.add(self._showRunButton)  # scripts may use the same logic

    def setParameters(self, parameters: TriplaneGaussianReconParameterNode | None) -> None:
        """Show these choices, and write into them what the user changes."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._tag)
        self._parameters = parameters
        if parameters is not None:
            # `connectGui` would do, but does not tell in every Slicer how to undo it.
            self._tag = parameters.connectParametersToGui({
                widget.property(_PARAMETER): widget for widget in vars(self._ui).values()
                if widget.property(_PARAMETER)})
        self.update()

    def update(self) -> None:
        """Show what follows from the choices and from the scene."""
        parameters = self._parameters
        self._message.follow(parameters)
        grid = self._grid()
        self._segments.show(parameters and parameters.segmentation, parameters.omittedSegmentIDs if parameters else [])
        self._further.show(parameters)
        if parameters is not None:
            self._device.show(parameters.device)
            for widget, trust in ((self._ui.everyNth, Trust.EVERY), (self._ui.percentage, Trust.PERCENTAGE),
                                  (self._ui.sliceList, Trust.LIST)):
                widget.setVisible(parameters.trust is trust)
        self._lookForDrawnSlices(grid)
        self._region.show(parameters)
        self._ui.allFrames.setVisible(grid is not None and browserOf(self._choices.inputVolume) is not None)
        obstacle = self._obstacle()
        meaning = Meaning() if grid is None else meaningOf(grid, self._choices, self._drawn.presence)
        self._task.show(parameters, meaning.isThinner)
        self._showOutputs(parameters, meaning.isImageMade)
        self._showLines(meaning, obstacle)
        self._showExpectation(obstacle)
        for button in (self._ui.excludeButton, self._ui.emptyButton):
            setEnabledOrWhyNot(button, "" if grid is not None else _("Choose an input volume first."))
        self._showRunButton()
        self._results.show(parameters)

    def listVolumes(self) -> None:
        """List the volumes of the scene that can be chosen beside the input."""
        self._further.show(self._parameters)

    def enter(self) -> None:
        """The user has opened the module."""
        self._isOpen = True
        self._device.look()
        self.update()
        self._packages.goOn()

    def exit(self) -> None:
        """The user has gone to another module."""
        self._isOpen = False

    def close(self) -> None:
        """Stop by force whatever is going on."""
        self._logic.cleanup()
        self._logic.observers.discard(self._showRunButton)
        self._device.close()
        self._drawing.close()
        self._results.close()
        self._drawn.forget()
        self._region.close()
        if self._parameters is not None:
            self._parameters.disconnectGui(self._tag)
            self._parameters = None

    def obstacle(self) -> str:
        """Why nothing can be reconstructed with these choices; empty if it can."""
        obstacle = self._obstacle()
        return "" if obstacle is None else obstacle.reason

    def _obstacle(self) -> Obstacle | None:
        return obstacleTo(self._parameters, self._drawn)

    @property
    def _choices(self) -> TriplaneGaussianReconParameterNode:
        """The choices; for buttons that can be clicked only where there are some."""
        assert self._parameters is not None
        return self._parameters

    def _grid(self) -> Grid | None:
        """The voxels of the input; None where there is none that can be used."""
        if self._parameters is None or self._parameters.inputVolume is None:
            return None
        try:
            return gridOf(self._parameters.inputVolume)
        except InputError:
            return None

    def _showOutputs(self, parameters: TriplaneGaussianReconParameterNode | None, isImageMade: bool) -> None:
        """Let nodes be chosen for what will come; those of a sequence are new ones, and so are not asked for.

        isImageMade: Whether there will be a volume by itself.
        """
        ui, isSingle = self._ui, parameters is None or not isWholeSequence(parameters)
        hasVolume = isImageMade or parameters is None or parameters.copyVolume or parameters.outputVolume is not None
        hasLabels = parameters is not None and parameters.segmentation is not None
        for widgets, isAsked in (((ui.outputVolumeLabel, ui.outputVolume), hasVolume),
                                 ((ui.outputSegmentationLabel, ui.outputSegmentation), hasLabels)):
            for widget in widgets:
                widget.setVisible(isSingle and isAsked)

    def _lookForDrawnSlices(self, grid: Grid | None) -> None:
        """Look which slices are drawn on, if there is a choice of segments."""
        if grid is None or not segmentIDs(self._choices):
            self._drawn.forget()
            return
        parameters = self._choices
        self._drawn.look(parameters.inputVolume, parameters.segmentation, segmentIDs(parameters),
                         requestOf(parameters).slice_axis(grid))

    def _showLines(self, meaning: Meaning, obstacle: Obstacle | None) -> None:
        """Say below the choices what they mean for this volume, or what they lack; and in red what is wrong."""
        lines = {"segmentationNote": self._input.note(), "taskPreview": meaning.purpose, "axisPreview": meaning.axis,
                 "trustPreview": meaning.observed, "labelsPreview": meaning.labels, "outputPreview": meaning.result,
                 "regionNote": "", "furtherNote": ""}
        if self._drawn.isLooking and meaning.purpose:  # which depends on that
            lines[TASK] = _("Looking where the segmentation is drawn...")
        if obstacle is not None and obstacle.line:
            lines[obstacle.line] = obstacle.reason if obstacle.line == TASK else wording.red(obstacle.reason)
        for name, text in lines.items():
            label = getattr(self._ui, name)
            label.setText(text)
            label.setVisible(bool(text))

    def _showExpectation(self, obstacle: Obstacle | None) -> None:
        """Say how long each quality will take on the device that is chosen, and more about the one that is chosen;
        nothing while nothing can be reconstructed.
        """
        parameters, device, text = self._parameters, self._device.device, ""
        if parameters is None or obstacle is not None:
            self._quality.show(None if parameters is None else parameters.preset, {})
        else:
            choices = keywords(parameters) | {"device": "cpu" if device is None else device["device"]}
            found = {preset: self._logic.expected(
                parameters.inputVolume, **choices | {"preset": preset.value}, presence=self._drawn.presence,
                slowness=self._device.slowness) for preset in PresetChoice}
            self._quality.show(parameters.preset, found)
            text = wording.expectation(found[parameters.preset],
                                       parameters.trust is Trust.SEGMENTED and not self._drawn.presence)
        self._ui.estimate.setText(wording.grey(text))
        self._ui.estimate.setVisible(bool(text))

    def _showRunButton(self) -> None:
        button = self._ui.reconstructButton
        self._packages.setBusy(self._logic.isRunning)
        obstacle = ""
        if self._running is None:
            button.setText(_("Reconstruct"))
            obstacle = self.obstacle()
            if self._logic.isRunning:
                obstacle = _("A reconstruction that was started elsewhere, such as in the Python console, is running. "
                             "Wait until it is done.")
            button.setEnabled(not obstacle)
            button.setToolTip(obstacle or _("Fill in what is missing between the used slices."))
        elif self._isCancelling:
            button.setText(_("Cancelling..."))
            button.setEnabled(False)
            button.setToolTip(_("It ends within two seconds."))
        else:
            button.setText(_("Cancel"))
            button.setEnabled(True)
            button.setToolTip(_("Stop. The scene stays as it is."))
        self._message.hinder(obstacle)

    def _onReconstructOrCancel(self) -> None:
        if self._running is not None:
            self._isCancelling = True
            self._progress.cancelling()
            self._logic.cancel()
            self._showRunButton()
        elif self._hasPackages or dependencies.ensure(self._ui.reconstructButton):
            self._hasPackages = True
            self._device.look()
            self._reconstruct()
        else:
            self._tell(_("Python packages are missing, without which nothing can be reconstructed."), isProblem=True)

    def _reconstruct(self) -> None:
        parameters = self._choices
        self._tell("")
        self._running, self._start, self._isCancelling = parameters, time.monotonic(), False
        self._progress.begin(parameters.inputVolume)
        self._log.begin()
        remember(parameters)
        try:
            self._logic.reconstruct(
                parameters.inputVolume, **keywords(parameters), waitForCompletion=False,
                progressCallback=self._onProgress, previewCallback=self._progress.onPreview,
                completedCallback=self._onCompleted)
        except ReconstructionError as error:
            self._onCompleted(None, str(error))
        self._showRunButton()

    def _onProgress(self, message: dict[str, Any]) -> None:
        if not self._isCancelling:
            self._progress.onProgress(message)
            self._tellElsewhere(self._progress.status)

    def _onCompleted(self, results: Results | None, problem: str) -> None:
        parameters, self._running = self._running, None
        self._progress.end()
        if results is not None:
            self._tell(_("Done in {time}.").format(time=wording.duration(time.monotonic() - self._start)))
            self._results.showNew(results)
            if parameters is not None and parameters.parameterNode.GetScene() is not None:
                self._results.take(parameters, results)
                _forgetOutputs(parameters, results)
        elif problem:
            self._tell(problem, isProblem=True)
            if parameters is not None and parameters.parameterNode.GetScene() is not None:
                self._log.failed(problem, keywords(parameters), self._logic.log)
        else:
            self._tell(_("Cancelled. The scene is as it was."))
        self._tellElsewhere(problem or self._message.told)
        self.update()

    def _onSegmentsOmitted(self, identifiers: list[str]) -> None:
        self._choices.omittedSegmentIDs = identifiers

    def _onQuality(self, preset: PresetChoice) -> None:
        if self._parameters is not None:
            self._parameters.preset = preset
            self.update()

    def _onDevice(self, device: str) -> None:
        if self._parameters is not None:
            self._parameters.device = device
            self.update()

    def _onPackages(self) -> None:
        """Packages may have come or changed."""
        self._hasPackages = False
        self._device.look()

    def _onExclude(self) -> None:
        """Exclude the slice that is shown."""
        self._noteShownSlice("excludedSlices", _("Slice {index}, which the view {view} shows, is excluded."))

    def _onEmpty(self) -> None:
        """Say that there is nothing on the slice that is shown."""
        self._noteShownSlice("emptySlices", _("Slice {index}, which the view {view} shows, counts as empty, or as "
                                              "fully drawn if something is drawn on it."))

    def _noteShownSlice(self, parameter: str, told: str) -> None:
        """Add the slice that is shown to a list of slices, and tell so; show one alone where there are several."""
        parameters = self._choices
        text = getattr(parameters, parameter).strip()
        try:
            listed = parse_numbers(text) if text else []
            axis = requestOf(parameters).slice_axis(gridOf(parameters.inputVolume))
            isTurned = turnToSlices(parameters.inputVolume, axis)
            index, view = shownSlice(parameters.inputVolume, axis)
        except (InputError, ValueError) as error:
            self._tell(str(error), isProblem=True)
            return
        if isTurned:  # it showed parts of several slices
            told = _("The view {view} was turned to the slices. It shows slice {index}: press again if that is "
                     "the one.")
        elif index not in listed:
            setattr(parameters, parameter, f"{text},{index}" if text else str(index))
        self._tell(told.format(index=index, view=view))

    def _onTry(self) -> None:
        """Load a sample with thick slices, all of which are used."""
        name = sample_data.sampleNames()[0]
        try:
            volume, segmentation = sample_data.loadOnce(name)
        except InputError as error:
            self._tell(str(error), isProblem=True)
            return
        parameters = self._choices
        with slicer.util.NodeModify(parameters):
            parameters.inputVolume, parameters.segmentation = volume, segmentation
            parameters.omittedSegmentIDs = []
            parameters.task, parameters.furtherVolumes = Task.AUTO, []
            parameters.trust, parameters.excludedSlices, parameters.outputSpacing = Trust.ALL, "", 0.0
            parameters.labelsOn, parameters.emptySlices = LabelsOn.DRAWN, ""
            parameters.region = parameters.outputVolume = parameters.outputSegmentation = None
        self._tell(_("{name} is loaded. Press Reconstruct.").format(name=name))

    def _onPlaneDrawn(self, node: slicer.vtkMRMLScalarVolumeNode | None, problem: str) -> None:
        if node is None:
            self._tell(problem, isProblem=True)
        else:
            self._tell(_("The plane is shown, and was added as '{name}'.").format(name=node.GetName()))
        self.update()

    def _tellElsewhere(self, text: str) -> None:
        """Tell in the status bar what the panel shows, where another module is open."""
        if not self._isOpen and text:
            slicer.util.showStatusMessage(_("Reconstruction: {text}").format(text=text), _STATUS_MILLISECONDS)

    def _tell(self, text: str, isProblem: bool = False) -> None:
        """Show a text below the button, or nothing, until a choice changes."""
        self._message.tell(text, isProblem, self._parameters)


def _forgetOutputs(parameters: TriplaneGaussianReconParameterNode, results: Results) -> None:
    """Choose no more the nodes that took a result, or the next run would replace it without a word."""
    with slicer.util.NodeModify(parameters):
        if results.volume is parameters.outputVolume:
            parameters.outputVolume = None
        if results.segmentation is parameters.outputSegmentation:
            parameters.outputSegmentation = None
