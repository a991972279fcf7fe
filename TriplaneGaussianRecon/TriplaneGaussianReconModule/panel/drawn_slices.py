"""Looks which slices of the input the chosen segments are drawn on, while the user interface goes on."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import slicer

from TriplaneGaussianReconLib.data.geometry import Axis
from TriplaneGaussianReconLib.errors import Cancelled, InputError

from ..run.steps import Steps
from ..scene.drawn_slices import presenceOf
from ..scene.nodes import stateOf


class DrawnSlices:
    """Knows what is drawn where, from some moments after `look` on.

    Attributes:
        presence: bool (slice, segment) by axis, see `presenceOf`; empty while it is not known, and without a segment.
        problem: Why nothing is drawn in the volume; empty where something is, or while that is not known.
    """

    def __init__(self, onFound: Callable[[], None]) -> None:
        """onFound: called when `presence` or `problem` has been found."""
        self._onFound = onFound
        self._looked: tuple[object, ...] = ()  # what it was found for, or is looked for
        self._steps: Steps | None = None  # while it is looked for
        self.presence: dict[Axis, np.ndarray] = {}
        self.problem = ""

    @property
    def isLooking(self) -> bool:
        """Whether it is not known yet what is drawn where."""
        return self._steps is not None

    def look(self, volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode,
             segmentIDs: Sequence[str], axis: Axis) -> None:
        """Look, unless nothing has changed since; returns at once."""
        state = (volumeNode.GetID(), segmentationNode.GetID(), tuple(segmentIDs), axis,
                 *stateOf(volumeNode, segmentationNode))
        if state == self._looked:
            return
        self.forget()
        self._looked = state
        self._steps = Steps(presenceOf(volumeNode, segmentationNode, segmentIDs, axis),
                            lambda found, error: self._end(axis, found, error))
        self._steps.start()

    def forget(self) -> None:
        """Know nothing, and do not look any more."""
        steps, self._steps = self._steps, None
        self._looked, self.presence, self.problem = (), {}, ""
        if steps is not None:
            steps.abort(Cancelled("It is not looked for any more."))

    def _end(self, axis: Axis, found: np.ndarray | None, error: BaseException | None) -> None:
        if self._steps is None:  # it was told to forget
            return
        self._steps = None
        if found is not None:
            self.presence = {axis: found}
        elif isinstance(error, InputError):
            self.problem = str(error)
        self._onFound()
