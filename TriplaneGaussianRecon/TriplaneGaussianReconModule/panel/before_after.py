"""Before and after: what a reconstruction was made from and what came of it, in turn; the segmentation in 3D."""
from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from . import views

Pair = tuple[slicer.vtkMRMLDisplayableNode, slicer.vtkMRMLDisplayableNode]  # before, and after


class BeforeAfter:
    """Two buttons: one that shows the input in the place of the result and back, and one for the 3D view."""

    def __init__(self, ui: Any) -> None:
        """Take over the buttons."""
        self._ui = ui
        self._volumes: Pair | None = None
        self._segmentations: Pair | None = None
        ui.beforeButton.connect("clicked()", self._change)
        ui.show3DButton.connect("toggled(bool)", self._onToggled3D)

    def offer(self, volumes: Pair | None, segmentations: Pair | None,
              filled: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Offer what is in the scene.

        Args:
            volumes: Before and after; None where one of them is not there.
            segmentations: Likewise.
            filled: The segmentation for the 3D view; None for none.
        """
        self._volumes, self._segmentations = volumes, segmentations
        self._ui.beforeButton.setVisible(volumes is not None or segmentations is not None)
        self._ui.beforeButton.setText(_("Show before") if self._isAfter() else _("Show after"))
        self._ui.show3DButton.setVisible(filled is not None)
        self._ui.show3DButton.setSegmentationNode(filled)

    def _isAfter(self) -> bool:
        """Whether what came of it is shown."""
        if self._segmentations is not None:
            return bool(self._segmentations[1].GetDisplayVisibility())
        return self._volumes is not None and views.isShown(self._volumes[1])

    def _change(self) -> None:
        shown = 0 if self._isAfter() else 1
        if self._volumes is not None:
            views.showEverywhere(self._volumes[shown])
        if self._segmentations is not None:
            views.showInstead(self._segmentations[shown], self._segmentations[1 - shown])
        self._ui.beforeButton.setText(_("Show before") if shown else _("Show after"))

    def _onToggled3D(self, isShown: bool) -> None:
        if isShown:
            views.look3D()
