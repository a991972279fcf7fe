"""Where one more drawn slice would help most: a button that goes there."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import Axis
from TriplaneGaussianReconLib.errors import InputError

from ..scene.surfaces import stateOf
from . import views
from .slice_views import showSlice


class NextSlice:
    """Offers slices one after another, the best first: the next one once something was drawn on the one before."""

    def __init__(self, button: qt.QPushButton, tell: Callable[[str, bool], None]) -> None:
        """Take over the button; tell is called with a text for the user, and whether it is a problem."""
        self._button, self._tell = button, tell
        self._volume: slicer.vtkMRMLScalarVolumeNode | None = None
        self._drawn: slicer.vtkMRMLSegmentationNode | None = None
        self._axis: Axis = "k"
        self._slices: tuple[int, ...] = ()
        self._place, self._isListed = 0, False
        self._shown: tuple[object, ...] | None = None  # state of what is drawn when the offered slice was shown
        button.connect("clicked()", self._go)

    def offer(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None, axis: Axis, slices: Sequence[int],
              drawn: slicer.vtkMRMLSegmentationNode | None = None, isListed: bool = False) -> None:
        """Offer these slices of a volume, by their numbers along an axis; without any there is no button.

        Args:
            volumeNode: The volume.
            axis: Along which slices are counted.
            slices: Their numbers, the best first.
            drawn: The segmentation in which the user draws.
            isListed: Whether slices that carry labels are listed, so that one that is drawn on has to be added.
        """
        if (volumeNode, axis, tuple(slices), drawn) != (self._volume, self._axis, self._slices, self._drawn):
            self._volume, self._axis, self._slices, self._drawn = volumeNode, axis, tuple(slices), drawn
            self._place, self._shown = 0, None
        self._isListed = isListed
        self._button.setVisible(volumeNode is not None and bool(self._slices))
        if self._slices:
            if self._shown is not None and self._shown != self._state():
                self._place, self._shown = (self._place + 1) % len(self._slices), None
            self._button.setText(_("Draw slice {index} next").format(index=self._slices[self._place]))

    def _state(self) -> tuple[object, ...]:
        """A state that differs from a former one if something was drawn."""
        return () if self._drawn is None or self._drawn.GetScene() is None else stateOf(self._drawn.GetSegmentation())

    def _go(self) -> None:
        """Show the slice that is offered."""
        assert self._volume is not None
        index = self._slices[self._place]
        views.showFitted(self._volume)
        try:
            view = showSlice(self._volume, self._axis, index)
        except InputError as error:
            self._tell(str(error), True)
            return
        self._shown = self._state() if self._shown is None else self._shown
        text = _("The view {view} shows slice {index}. Draw on it in the Segment Editor, then reconstruct again.")
        if self._isListed:
            text = _("The view {view} shows slice {index}. Draw on it in the Segment Editor unless you have, add it to "
                     "the list under 'Labels from', then reconstruct again.")
        self._tell(text.format(view=view, index=index), False)
