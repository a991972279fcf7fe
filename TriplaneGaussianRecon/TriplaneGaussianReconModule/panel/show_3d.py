"""The button that shows the filled segmentation in the 3D view, and hides it there again."""
from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import Cancelled

from ..run.surfaces import SurfaceMaking
from ..scene.nodes import BINARY_LABELMAP
from ..scene.surfaces import CLOSED_SURFACE, hasSurfaces
from . import views


class Show3D:
    """Makes the surfaces of a segmentation when they are asked for, and tells on the button how far that is."""

    def __init__(self, button: qt.QPushButton, tell: Callable[[str, bool], None], python: str | None = None,
                 environment: Mapping[str, str] | None = None) -> None:
        """Take over the button.

        Args:
            button: The button.
            tell: Called with a text for the user, and whether it is a problem.
            python: See `python_process.PythonProcess`.
            environment: See `python_process.PythonProcess`.
        """
        self._button, self._tell = button, tell
        self._filled: slicer.vtkMRMLSegmentationNode | None = None
        self._given: slicer.vtkMRMLSegmentationNode | None = None
        self._hasGiven = False  # surfaces of what was given were made here
        self._making = SurfaceMaking(self._showProgress, self._onEnd, python, environment)
        self._made: slicer.vtkMRMLSegmentationNode | None = None  # whose surfaces are being made
        button.connect("clicked()", self._onClicked)

    def offer(self, filled: slicer.vtkMRMLSegmentationNode | None,
              given: slicer.vtkMRMLSegmentationNode | None = None) -> None:
        """Offer to show a segmentation, and what it was filled from in its place; None for none."""
        if (filled, given) != (self._filled, self._given):
            self._making.cancel()
            self._hasGiven = False
        self._filled, self._given = filled, given
        self._button.setVisible(filled is not None)
        if self._making.node is None:
            self._button.setText(_("Hide 3D") if self._isShown() else _("Show 3D"))
            self._button.setToolTip(_("Show the filled segmentation in the 3D view, or hide it there."))

    def follow(self) -> None:
        """What was given is shown in place of the filled one, or the other way round: so it is in the 3D view."""
        shown = self._visible()
        if self._making.node is None and self._isShown() and not hasSurfaces(shown.GetSegmentation()):
            self._make(shown)

    def close(self) -> None:
        """Stop by force whatever is going on."""
        self._making.cancel()

    def _isShown(self) -> bool:
        """Whether one of them is there as surfaces, which the button hides."""
        ours = [self._filled, self._given if self._hasGiven else None]
        return any(node is not None and hasSurfaces(node.GetSegmentation()) for node in ours)

    def _visible(self) -> slicer.vtkMRMLSegmentationNode:
        """The one that is shown in the views."""
        assert self._filled is not None
        isGiven = self._given is not None and self._given.GetDisplayVisibility()
        return self._given if isGiven and not self._filled.GetDisplayVisibility() else self._filled

    def _onClicked(self) -> None:
        if self._making.node is not None:
            self._making.cancel()
        elif self._isShown():
            self._hide()
        elif self._filled is not None and self._filled.GetScene() is not None:
            self._make(self._visible())
        self.offer(self._filled, self._given)

    def _make(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """Make the surfaces of one of them, unless it has some."""
        if hasSurfaces(node.GetSegmentation()):
            views.look3D()
            return
        self._made = node
        self._showProgress(0, node.GetSegmentation().GetNumberOfSegments())
        self._making.start(node)

    def _hide(self) -> None:
        """Remove surfaces; of what was given, only those that were made here."""
        if self._filled is not None:
            self._filled.GetSegmentation().RemoveRepresentation(CLOSED_SURFACE)
        if self._hasGiven and self._given is not None:
            self._given.GetSegmentation().RemoveRepresentation(CLOSED_SURFACE)
        self._hasGiven = False

    def _showProgress(self, done: int, count: int) -> None:
        self._button.setText(_("3D: {done} of {count}...").format(done=done, count=count))
        self._button.setToolTip(_("The surfaces of the segments are being made. Press to stop."))

    def _onEnd(self, error: Exception | None) -> None:
        made, self._made = self._made, None
        if error is None and made is not None and made in (self._filled, self._given):
            self._hasGiven = self._hasGiven or made is self._given
            display = made.GetDisplayNode()
            display.SetPreferredDisplayRepresentationName3D(CLOSED_SURFACE)
            display.SetPreferredDisplayRepresentationName2D(BINARY_LABELMAP)
            views.look3D()
        elif error is not None and not isinstance(error, Cancelled):
            self._tell(str(error), True)
        self.offer(self._filled, self._given)
        if error is None and self._filled is not None:
            self.follow()  # it may have changed meanwhile which one is shown
