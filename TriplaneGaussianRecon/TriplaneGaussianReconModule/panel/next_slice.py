"""Where one more drawn slice would help most: a button that goes there."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import Axis
from TriplaneGaussianReconLib.errors import InputError

from .slice_views import showSlice


class NextSlice:
    """Offers slices one after another, the best first."""

    def __init__(self, button: qt.QPushButton, tell: Callable[[str, bool], None]) -> None:
        """Take over the button; tell is called with a text for the user, and whether it is a problem."""
        self._button, self._tell = button, tell
        self._volume: slicer.vtkMRMLScalarVolumeNode | None = None
        self._axis: Axis = "k"
        self._slices: tuple[int, ...] = ()
        self._place = 0
        button.connect("clicked()", self._go)

    def offer(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None, axis: Axis, slices: Sequence[int]) -> None:
        """Offer these slices of a volume, by their numbers along an axis; without any there is no button."""
        if (volumeNode, axis, tuple(slices)) != (self._volume, self._axis, self._slices):
            self._volume, self._axis, self._slices, self._place = volumeNode, axis, tuple(slices), 0
        self._button.setVisible(volumeNode is not None and bool(self._slices))
        if self._slices:
            self._button.setText(_("Draw slice {index} next").format(index=self._slices[self._place]))

    def _go(self) -> None:
        """Show the slice that is offered, and offer the next one."""
        assert self._volume is not None
        index = self._slices[self._place]
        try:
            view = showSlice(self._volume, self._axis, index)
        except InputError as error:
            self._tell(str(error), True)
            return
        self._place = (self._place + 1) % len(self._slices)
        self.offer(self._volume, self._axis, self._slices)
        self._tell(_("The view {view} shows slice {index}. Draw on it in the Segment Editor, then reconstruct again."
                     ).format(view=view, index=index), False)
