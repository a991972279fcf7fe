"""Progress of a reconstruction: a bar, the stage, the time left, and the middle slice."""
from __future__ import annotations

import html

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.jobs.protocol import Message

from .. import wording
from .picture import pixmap, windowOf
from .slice_views import worldGrid


class ProgressView:
    """The part of the panel that is shown while a reconstruction is going on.

    Attributes:
        status: What is going on, in a line; empty before the first message about progress.
    """

    def __init__(self, view: qt.QWidget, bar: qt.QProgressBar, text: qt.QLabel, preview: qt.QLabel) -> None:
        self._view, self._bar, self._text, self._preview = view, bar, text, preview
        self._device = self.status = ""
        self._grid: Grid  # of the volume in world space, from `begin` on
        self._window = (0.0, 1.0)
        view.setVisible(False)

    def begin(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show that the reconstruction of a volume has started."""
        self._grid, self._window, self._device = worldGrid(volumeNode), windowOf(volumeNode), ""
        self.status = ""
        self._bar.setValue(0)
        self._text.setText(_("Starting..."))
        self._preview.clear()
        self._preview.setVisible(False)
        self._view.setVisible(True)

    def onProgress(self, message: Message) -> None:
        """Show a message of the worker; see `jobs.protocol`."""
        if message["event"] == "started":
            # The choice of the device says that it is the CPU, and why.
            self._device = "" if message["device"] == "cpu" else message["note"]
            return
        self._bar.setValue(round(1000 * message["done"]))
        left, text = message["seconds_left"], wording.stage(
            message["stage"], message["number"], message["count"])
        if left is not None:
            text = _("{stage}, {time} left").format(stage=text, time=wording.duration(left))
        self.status = text
        self._text.setText("<br>".join(html.escape(line) for line in (text, self._device) if line))

    def onPreview(self, image: np.ndarray, message: Message) -> None:
        """Show a slice [row, column] of the result."""
        self._preview.setPixmap(pixmap(image, self._grid, message["axis"], self._window))
        self._preview.setVisible(True)

    def cancelling(self) -> None:
        """Show that the run is about to stop."""
        self._text.setText(_("Cancelling..."))

    def end(self) -> None:
        """Hide all of it."""
        self._view.setVisible(False)
