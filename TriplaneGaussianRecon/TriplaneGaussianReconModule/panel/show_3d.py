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
        self._making = SurfaceMaking(self._showProgress, self._onEnd, python, environment)
        button.connect("clicked()", self._onClicked)

    def offer(self, filled: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Offer to show this segmentation; None for none."""
        if filled is not self._filled:
            self._making.cancel()
        self._filled = filled
        self._button.setVisible(filled is not None)
        if self._making.node is None:
            isShown = filled is not None and hasSurfaces(filled.GetSegmentation())
            self._button.setText(_("Hide 3D") if isShown else _("Show 3D"))
            self._button.setToolTip(_("Show the filled segmentation in the 3D view, or hide it there."))

    def close(self) -> None:
        """Stop by force whatever is going on."""
        self._making.cancel()

    def _onClicked(self) -> None:
        filled = self._filled
        if self._making.node is not None:
            self._making.cancel()
        elif filled is not None and hasSurfaces(filled.GetSegmentation()):
            filled.GetSegmentation().RemoveRepresentation(CLOSED_SURFACE)
        elif filled is not None and filled.GetScene() is not None:
            self._showProgress(0, filled.GetSegmentation().GetNumberOfSegments())
            self._making.start(filled)
        self.offer(filled)

    def _showProgress(self, done: int, count: int) -> None:
        self._button.setText(_("3D: {done} of {count}...").format(done=done, count=count))
        self._button.setToolTip(_("The surfaces of the segments are being made. Press to stop."))

    def _onEnd(self, error: Exception | None) -> None:
        self.offer(self._filled)
        if error is None and self._filled is not None:
            display = self._filled.GetDisplayNode()
            display.SetPreferredDisplayRepresentationName3D(CLOSED_SURFACE)
            display.SetPreferredDisplayRepresentationName2D(BINARY_LABELMAP)
            views.look3D()
        elif error is not None and not isinstance(error, Cancelled):
            self._tell(str(error), True)
