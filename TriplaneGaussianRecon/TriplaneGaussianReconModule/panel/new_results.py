"""What the views show when results have come, and when they were removed."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from ..run.python_process import SingleShot
from ..scene.results import INPUT, SEGMENTATION, Results, formerSegmentations
from . import views


def showNew(results: Results) -> None:
    """Show results in the place of what they were made from, and of former results of the same input.

    Where labels alone were filled, so that one goes on drawing, what was drawn stays, and the filled labels lie over
    it as outlines.
    """
    source, given = (results.scores.GetNodeReference(role) for role in (INPUT, SEGMENTATION))
    for former in formerSegmentations(results):
        former.SetDisplayVisibility(False)
    if results.volume is not None:
        views.showEverywhere(results.volume)
    elif source is not None:
        views.showFitted(source)
    if results.segmentation is not None and given is not None:
        if results.volume is None:
            views.showBeside(given, results.segmentation)
        else:
            views.showInstead(results.segmentation, given)
    views.replaceCertainty(results.certainty)


class RemovedResults:
    """Shows what results were made from once they are removed, by whatever means, but not when a scene is closed."""

    def __init__(self, onRemoved: Callable[[], None]) -> None:
        """onRemoved: Called before anything is shown."""
        self._onRemoved = onRemoved
        self._results: Results | None = None
        self._source: slicer.vtkMRMLScalarVolumeNode | None = None
        self._given: slicer.vtkMRMLSegmentationNode | None = None
        self._scene: slicer.vtkMRMLScene | None = None
        self._tag = 0
        self._later = SingleShot(0, self._show)  # when all of them are gone

    def watch(self, results: Results) -> None:
        """Look after these results instead of those before."""
        self.close()
        self._source, self._given = (results.scores.GetNodeReference(role) for role in (INPUT, SEGMENTATION))
        self._results, self._scene = results, results.scores.GetScene()
        self._tag = self._scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved)

    def close(self) -> None:
        """Do not look after any."""
        self._later.stop()
        if self._scene is not None:
            self._scene.RemoveObserver(self._tag)
        self._scene = self._results = self._source = self._given = None

    def _onNodeRemoved(self, caller: Any, event: str) -> None:
        if self._scene is None or self._results is None or self._results.scores.GetScene() is not None:
            return
        if self._scene.IsClosing():
            self.close()
        else:
            self._later.start()

    def _show(self) -> None:
        results, source, given = self._results, self._source, self._given
        self.close()
        if results is None or slicer.mrmlScene.IsBatchProcessing():
            return
        self._onRemoved()
        if source is not None and source.GetScene() is not None and views.isAnyEmpty():
            views.showEverywhere(source)
        hasGone = results.segmentation is not None and results.segmentation.GetScene() is None
        if hasGone and given is not None and given.GetScene() is not None:
            given.SetDisplayVisibility(True)
        views.followCertainty()
