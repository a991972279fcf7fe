"""Before and after: what a reconstruction was made from and what came of it, in turn."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from . import views

Pair = tuple[slicer.vtkMRMLDisplayableNode, slicer.vtkMRMLDisplayableNode]  # before, and after


class BeforeAfter:
    """A button that shows the input in the place of the result, and back."""

    def __init__(self, ui: Any, onChanged: Callable[[], None]) -> None:
        """Take over the button; call something after it has changed what is shown."""
        self._ui, self._onChanged = ui, onChanged
        self._volumes: Pair | None = None
        self._segmentations: Pair | None = None
        ui.beforeButton.connect("clicked()", self._change)

    def offer(self, volumes: Pair | None, segmentations: Pair | None, areCompared: bool) -> None:
        """Offer what is in the scene.

        Args:
            volumes: Before and after; None where one of them is not there.
            segmentations: Likewise.
            areCompared: Whether both are shown side by side, so that there is nothing to show in turn.
        """
        self._volumes, self._segmentations = volumes, segmentations
        self._ui.beforeButton.setVisible(not areCompared and (volumes is not None or segmentations is not None))
        self._ui.beforeButton.setText(_("Show before") if self._isAfter() else _("Show after"))

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
        self._onChanged()
