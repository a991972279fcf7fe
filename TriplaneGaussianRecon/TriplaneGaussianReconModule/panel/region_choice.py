"""The choice of a part of the volume, by a box in the views: the panel follows it while it is moved."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk

from TriplaneGaussianReconLib.errors import InputError

from ..run.parameters import TriplaneGaussianReconParameterNode
from ..run.python_process import SingleShot
from ..run.task import Task, taskOf
from ..scene.region import placeIn

_PAUSE = 150  # milliseconds without a move, after which the panel follows


class RegionChoice:
    """A selector of boxes; a new one lies in the middle of the volume."""

    def __init__(self, ui: Any, onMoved: Callable[[], None]) -> None:
        """Take over the widgets; onMoved: called some moments after the box that is chosen was moved."""
        self._ui, self._follow = ui, onMoved
        self._parameters: TriplaneGaussianReconParameterNode | None = None
        self._node: slicer.vtkMRMLMarkupsROINode | None = None
        self._tags: list[int] = []
        self._timer = SingleShot(_PAUSE, onMoved)
        ui.region.connect("nodeAddedByUser(vtkMRMLNode*)", self._onAdded)

    def show(self, parameters: TriplaneGaussianReconParameterNode | None) -> None:
        """Show the choice where it has a meaning, and follow the box that is chosen."""
        self._parameters = parameters
        isAsked = parameters is None or taskOf(parameters) is not Task.COMBINE
        for widget in (self._ui.regionLabel, self._ui.region):
            widget.setVisible(isAsked)
        node = None if parameters is None else parameters.region
        if node is not self._node:
            self.close()
            self._node = node
            if node is not None:
                self._tags = [node.AddObserver(event, self._onMoved) for event in (
                    vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLTransformableNode.TransformModifiedEvent)]

    def close(self) -> None:
        """Follow none any more."""
        self._timer.stop()
        if self._node is not None:
            for tag in self._tags:
                self._node.RemoveObserver(tag)
        self._node, self._tags = None, []

    def _onMoved(self, caller: Any, event: str) -> None:
        self._timer.start()

    def _onAdded(self, node: slicer.vtkMRMLMarkupsROINode) -> None:
        if self._parameters is None or self._parameters.inputVolume is None:
            return
        try:
            placeIn(node, self._parameters.inputVolume)
        except InputError:  # of a volume without voxels, which the button says
            return
        self._follow()
