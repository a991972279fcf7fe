"""Filling the segmentation that is being edited: a run, its preview, and what becomes of it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import Axis
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.protocol import Message

from ..run.logic import TriplaneGaussianReconLogic
from ..scene.report import reportIn
from ..scene.results import AXIS, Results

_OPACITY = 0.4  # of a preview, so that what was drawn is seen through it


class Filling:
    """Fills segments between drawn slices.

    The preview is the result of a run: a segmentation and a volume of certainty in the scene, until it is applied or
    discarded.  Users may remove it, too.

    Attributes:
        progress: From 0 to 1 while a run is going on.
        problem: What went wrong last.
    """

    def __init__(self, onChanged: Callable[[], None], logic: TriplaneGaussianReconLogic | None = None) -> None:
        """onChanged: called when a run has begun, goes on, or has ended."""
        self.logic = TriplaneGaussianReconLogic() if logic is None else logic
        self.progress, self.problem = 0.0, ""
        self._onChanged = onChanged
        self._results: Results | None = None

    @property
    def results(self) -> Results | None:
        """The preview; None if there is none, or it was removed from the scene."""
        if self._results is not None and (self._results.segmentation is None
                                          or self._results.segmentation.GetScene() is None):
            self._results = None
        return self._results

    @property
    def nextSlices(self) -> tuple[Axis, tuple[int, ...]]:
        """Where one more drawn slice would help most, the best first: an axis of the volume, and numbers of slices."""
        results = self.results
        report = reportIn(results.provenance.GetText()) if results is not None else None
        if results is None or report is None or report.completion is None:
            return "k", ()
        return results.scores.GetAttribute(AXIS), report.completion.next_slices

    def start(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
              segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Fill the visible segments, and show the outcome as a preview instead of an earlier one; returns at once."""
        self.problem, self.progress = "", 0.0
        try:
            if volumeNode is None or segmentationNode is None:
                raise InputError(_("Choose a segmentation and a source volume first."))
            self.logic.reconstruct(
                volumeNode, segmentationNode, segmentIDs=visibleSegments(segmentationNode), labelsOn="drawn",
                outputSpacing=max(volumeNode.GetSpacing()), waitForCompletion=False,
                progressCallback=self._onProgress, completedCallback=self._onCompleted)
        except InputError as error:
            self.problem = str(error)
        self._onChanged()

    def cancel(self) -> None:
        """End a run without a preview."""
        self.logic.cancel()

    def apply(self, effect: Any) -> None:
        """Put the preview into the segmentation that is being edited, which can be undone, and remove it.

        Args:
            effect: The qSlicerSegmentEditorScriptedEffect.
        """
        results, edited = self.results, effect.parameterSetNode().GetSegmentationNode()
        preview = None if results is None else results.segmentation
        if preview is None or edited is None:
            return
        effect.saveStateForUndo()
        for name in preview.GetSegmentation().GetSegmentIDs():
            if edited.GetSegmentation().GetSegment(name) is not None:
                labelmap = slicer.vtkOrientedImageData()
                preview.GetBinaryLabelmapRepresentation(name, labelmap)
                effect.modifySegmentByLabelmap(
                    edited, name, labelmap, slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeSet, True)
        self.discard()

    def discard(self) -> None:
        """Remove the preview."""
        results, self._results = self.results, None
        if results is not None:
            self.logic.undo(results)
        self._onChanged()

    def close(self) -> None:
        """End what is running; the preview stays."""
        self.logic.cleanup()

    def _onProgress(self, message: Message) -> None:
        self.progress = float(message.get("done", self.progress))
        self._onChanged()

    def _onCompleted(self, results: Results | None, problem: str) -> None:
        self.problem = problem
        if results is not None:
            earlier, self._results = self.results, results
            if earlier is not None:
                self.logic.undo(earlier)
            if results.certainty is None:
                self.logic.undo(results)
                self.problem = _("There is nothing to fill: no slice without labels lies between drawn ones.")
            else:
                _showAsPreview(results.segmentation)
        self._onChanged()


def visibleSegments(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """Return the identifiers of the segments that are shown."""
    display, names = segmentationNode.GetDisplayNode(), vtk.vtkStringArray()
    if display is None:
        return list(segmentationNode.GetSegmentation().GetSegmentIDs())
    display.GetVisibleSegmentIDs(names)
    return [names.GetValue(number) for number in range(names.GetNumberOfValues())]


def _showAsPreview(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    segmentationNode.SetName(_("{name} (preview)").format(name=segmentationNode.GetName()))
    display = segmentationNode.GetDisplayNode()
    display.SetVisibility2DOutline(False)
    display.SetOpacity(_OPACITY)
