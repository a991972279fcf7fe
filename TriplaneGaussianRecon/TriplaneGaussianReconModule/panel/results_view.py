"""The results of a reconstruction in words and figures, and buttons to look at them."""
from __future__ import annotations

import html
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError, OutputError, cause
from TriplaneGaussianReconLib.pipeline.label_report import LabelCompletion
from TriplaneGaussianReconLib.pipeline.report import Report

from .. import wording
from ..run.parameters import LabelsOn, TriplaneGaussianReconParameterNode
from ..scene import looks
from ..scene.report import ERROR, isOfLabelsAlone, reportIn
from ..scene.results import AXIS, FURTHER, INPUT, SEGMENTATION, Results
from . import views
from .before_after import BeforeAfter, Pair
from .layouts import Layouts
from .new_results import RemovedResults, showNew
from .next_slice import NextSlice
from .plane_drawing import PlaneDrawing
from .show_3d import Show3D
from .slice_views import mappedViews

_NOTE = "Note: "  # how `report.provenance` begins a note for the user


class ResultsView:
    """The section of results.  The parameter node keeps what it shows, so that a loaded scene shows it again."""

    def __init__(self, ui: Any, drawing: PlaneDrawing, tell: Callable[[str, bool], None], python: str | None = None,
                 environment: Mapping[str, str] | None = None) -> None:
        """Take over the widgets.

        Args:
            ui: The widgets of the .ui file, by name.
            drawing: Draws planes of models.
            tell: Called with a text for the user, and whether it is a problem.
            python: See `python_process.PythonProcess`.
            environment: See `python_process.PythonProcess`.
        """
        self._ui, self._drawing, self._tell = ui, drawing, tell
        self._parameters: TriplaneGaussianReconParameterNode | None = None
        self._show3D = Show3D(ui.show3DButton, tell, python, environment)
        self._before = BeforeAfter(ui, self._show3D.follow)
        self._models: dict[str, Path] = {}
        self._layouts = Layouts(self._onLayoutLeft)
        self._removed = RemovedResults(self._layouts.leave)
        ui.nextSliceButton.connect("clicked()", self._leaveCompare)  # first: none of its views looks along slices
        self._next = NextSlice(ui.nextSliceButton, tell)
        for button, react in ((ui.compareButton, self._compare), (ui.tableButton, self._showTable),
                              (ui.plotButton, self._plot), (ui.renderButton, self._render),
                              (ui.exportButton, self._export), (ui.certaintyButton, self._overlayCertainty)):
            button.connect("clicked()", react)

    def showNew(self, results: Results) -> None:
        """Show results of the panel's own run in the views; once they are removed, what they were made from."""
        self._layouts.leave()
        showNew(results)
        self._removed.watch(results)

    def take(self, parameters: TriplaneGaussianReconParameterNode, results: Results) -> None:
        """Remember the results of a run with these choices."""
        with slicer.util.NodeModify(parameters):
            parameters.resultVolume, parameters.resultConfidence = results.volume, results.confidence
            parameters.resultSegmentation, parameters.resultCertainty = results.segmentation, results.certainty
            parameters.resultScores, parameters.resultProvenance = results.scores, results.provenance
        if results.models:
            self._models[results.provenance.GetID()] = results.models[0]
        self._ui.resultsSection.collapsed = False

    def show(self, parameters: TriplaneGaussianReconParameterNode | None) -> None:
        """Show the results that belong to these choices, and the buttons that have something to show."""
        self._parameters = parameters
        hasVolume = self._has("resultVolume")
        has = self._has("resultScores") and (hasVolume or self._has("resultCertainty"))
        report = reportIn(self._choices.resultProvenance.GetText()) if self._has("resultProvenance") else None
        self._ui.resultText.setText(self._text(report, hasVolume) if has else _("Nothing has been reconstructed yet."))
        self._showLayout(has)
        self._showLabels(report.completion if has and report is not None else None)
        self._before.offer(self._pair(INPUT, "resultVolume"), self._pair(SEGMENTATION, "resultSegmentation"),
                           self._layouts.name == "compare")
        given, filled = self._pair(SEGMENTATION, "resultSegmentation") or (None, None)
        self._show3D.offer(filled or (self._choices.resultSegmentation if self._has("resultSegmentation") else None),
                           given)
        hasModel = has and self._model() is not None
        self._ui.exportButton.setVisible(hasModel)
        self._ui.renderButton.setVisible(hasModel and hasVolume)
        self._ui.renderButton.setText(_("Drawing...") if self._drawing.isRunning else _("Render plane"))
        setEnabledOrWhyNot(self._ui.renderButton, _("A plane is being drawn.") if self._drawing.isRunning else "")

    def _showLayout(self, has: bool) -> None:
        """Offer layouts that show results, and the way back from the one that is there; look after what it shows.

        has: Whether there are results.
        """
        self._layouts.follow()
        for name, button, canBeShown, text, back in (
                ("compare", self._ui.compareButton, has and self._comparison() is not None, _("Compare"),
                 _("Leave Compare")),
                ("table", self._ui.tableButton, has, _("Table"), _("Hide table")),
                ("plot", self._ui.plotButton, has, _("Plot"), _("Hide plot"))):
            isShown = self._layouts.name == name
            button.setVisible(canBeShown or isShown)
            button.setText(back if isShown else text)
        if self._parameters is not None:
            if self._layouts.name != "compare":
                looks.giveBack(slicer.mrmlScene)
            views.followCertainty()

    def _leaveCompare(self) -> None:
        """Show the views that show one thing in place of another."""
        if self._layouts.name == "compare":
            self._layouts.leave()

    def _onLayoutLeft(self) -> None:
        """Another layout is there."""
        if not slicer.mrmlScene.IsBatchProcessing():
            self.show(self._parameters)

    def _showLabels(self, told: LabelCompletion | None) -> None:
        """Show what concerns labels that were filled; nothing where none were."""
        if told is None:
            self._next.offer(None, "k", ())
        else:
            scores = self._choices.resultScores
            self._next.offer(self._input(), scores.GetAttribute(AXIS), told.next_slices,
                             scores.GetNodeReference(SEGMENTATION), self._choices.labelsOn is LabelsOn.LIST)
        button, has = self._ui.certaintyButton, told is not None and self._has("resultCertainty")
        button.setVisible(has and self._layouts.name != "compare")  # where each view shows one thing
        button.setText(_("Hide certainty") if has and views.isOverlaid(self._choices.resultCertainty) else
                       _("Show certainty"))

    def close(self) -> None:
        """Stop by force whatever is going on."""
        self._show3D.close()
        self._layouts.close()
        self._removed.close()

    def exportTo(self, path: str) -> None:
        """Copy the model to a file; raises OutputError if that fails."""
        model = self._model()
        if model is None:
            raise OutputError(_("The model is not there any more. Reconstruct again, and export it before Slicer is "
                                "closed."))
        try:
            shutil.copyfile(model, path)
        except OSError as error:
            raise OutputError(_("The model could not be written to {path}: {reason}.").format(
                path=path, reason=cause(error))) from error

    @property
    def _choices(self) -> TriplaneGaussianReconParameterNode:
        """The choices; for buttons that can be clicked only where there are results."""
        assert self._parameters is not None
        return self._parameters

    def _has(self, name: str) -> bool:
        """Whether the node of this parameter is in the scene; a parameter may hold a node that was removed."""
        node = None if self._parameters is None else self._parameters.getValue(name)
        return node is not None and node.GetScene() is not None

    def _input(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The volume that the result was made from; it need not be the one that is chosen now."""
        return self._choices.resultScores.GetNodeReference(INPUT) if self._has("resultScores") else None

    def _pair(self, reference: str, name: str) -> Pair | None:
        """What a result was made from, and the result; None where one of them is not in the scene."""
        before = self._choices.resultScores.GetNodeReference(reference) if self._has("resultScores") else None
        return None if before is None or not self._has(name) else (before, self._choices.getValue(name))

    def _further(self) -> list[slicer.vtkMRMLScalarVolumeNode | None]:
        """The further volumes that the result was made from; None for those that were removed."""
        table = self._choices.resultScores
        return [table.GetNthNodeReference(FURTHER, n) for n in range(table.GetNumberOfNodeReferences(FURTHER))]

    def _model(self) -> Path | None:
        if not self._has("resultProvenance"):
            return None
        model = self._models.get(self._choices.resultProvenance.GetID())
        return model if model is not None and model.is_file() else None

    def _text(self, report: Report | None, hasVolume: bool) -> str:
        """Whether they are of another volume, what they are worth in a sentence, if that is known, and the rest."""
        image = self._linesOnImage(report) if hasVolume else []
        labels = [] if report is None or report.completion is None else wording.completion(
            report.completion, report.provenance.preset)
        first, second = (image, labels) if image else (labels, image)
        hasHeadline = bool(first) and report is not None and not report.volumes
        lines, rest = (first[:1], [*second, *first[1:]]) if hasHeadline else ([], [*second, *first])
        volume, others = self._input(), [f"'{node.GetName()}'" for node in self._further() if node is not None]
        isOfAnother = self._choices.inputVolume not in (None, volume)
        if isOfAnother:
            lines.insert(0, _("Result of a volume that is not in the scene any more.") if volume is None else
                         _("Result of another volume: '{volume}'.").format(volume=volume.GetName()))
        if volume is not None and (others or not isOfAnother):
            text = _("Result of '{volume}' with {others}:") if others else _("Result of '{volume}':")
            lines.append(text.format(volume=volume.GetName(), others=", ".join(others)))
        lines += rest
        if self._has("resultProvenance"):
            lines += [line.removeprefix(_NOTE) for line in self._choices.resultProvenance.GetText().splitlines()
                      if line.startswith(_NOTE)]
        texts = [html.escape(line) for line in lines]
        return "<br>".join([f"<b>{texts[0]}</b>", *texts[1:]] if isOfAnother or hasHeadline else texts)

    def _linesOnImage(self, report: Report | None) -> list[str]:
        """How far to trust the image; nothing where it is that of the input."""
        if report is not None and isOfLabelsAlone(report):
            return []
        if report is not None and report.expected_error is not None:
            expected = wording.expectedError(report.expected_error)
        else:
            errors = slicer.util.arrayFromTableColumn(self._choices.resultScores, ERROR)
            expected = _("Expected error: {error} on average, in units of the volume.").format(
                error=f"{errors.mean():.3g}")
        if report is None or report.volumes:
            return [expected]
        if not report.gaussians and report.self_check.psnr is None:
            return [_("Nothing was predicted: every slice of the result is one that was used.")]
        return wording.image(report.self_check, expected)

    def _overlayCertainty(self) -> None:
        views.overlay(self._choices.resultCertainty)
        self.show(self._parameters)

    def _comparison(self) -> Callable[[], None] | None:
        """What shows before and after side by side; None where a part of that is not in the scene."""
        volume, pair = self._input(), self._pair(SEGMENTATION, "resultSegmentation")
        if volume is None:
            return None
        axis = self._choices.resultScores.GetAttribute(AXIS)
        if self._choices.resultScores.GetColumnIndex(ERROR) < 0:  # labels alone were filled
            if pair is None or not self._has("resultCertainty"):
                return None
            return partial(views.compare, (volume,) * 3, axis, pair, self._choices.resultCertainty)
        if not self._has("resultVolume") or not self._has("resultConfidence"):
            return None
        return partial(views.compare, (volume, self._choices.resultVolume, self._choices.resultConfidence), axis, pair)

    def _compare(self) -> None:
        comparison = self._comparison()
        if comparison is not None or self._layouts.name == "compare":  # else a part was removed meanwhile
            self._toggle("compare", comparison or (lambda: None))

    def _showTable(self) -> None:
        self._toggle("table", lambda: views.showTable(self._choices.resultScores))

    def _plot(self) -> None:
        self._toggle("plot", lambda: views.plot(self._choices.resultScores))

    def _toggle(self, name: str, arrange: Callable[[], None]) -> None:
        """Switch to a layout, or back from it."""
        self._layouts.toggle(name, arrange)
        self.show(self._parameters)

    def _render(self) -> None:
        model = self._model()
        if not mappedViews():
            self._tell(_("No slice view is shown, whose plane could be drawn. Choose a layout with one."), True)
        elif model is not None:  # it may have been deleted since the button was shown
            self._drawing.start(model, self._choices.resultVolume, mappedViews()[0])
        self.show(self._parameters)

    def _export(self) -> None:
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Export model"), "model.safetensors",
                                              _("Models (*.safetensors)"))
        path = path[0] if isinstance(path, tuple) else path
        if not path:
            return
        try:
            self.exportTo(path)
        except (InputError, OutputError) as error:
            slicer.util.errorDisplay(str(error))


def setEnabledOrWhyNot(button: qt.QPushButton, reason: str) -> None:
    """Enable a button unless there is a reason against it, which becomes its tooltip."""
    if button.property("enabledToolTip") is None:
        button.setProperty("enabledToolTip", button.toolTip)
    button.setEnabled(not reason)
    button.setToolTip(reason or button.property("enabledToolTip"))
