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

    def __init__(self, ui: Any, onChange: Callable[[], None], onChanged: Callable[[], None]) -> None:
        """Take over the button; call something before it changes what is shown, and after that."""
        self._ui, self._onChange, self._onChanged = ui, onChange, onChanged
        self._volumes: Pair | None = None
        self._segmentations: Pair | None = None
        ui.beforeButton.connect("clicked()", self._change)

    def offer(self, volumes: Pair | None, segmentations: Pair | None) -> None:
        """Offer what is in the scene.

        Args:
            volumes: Before and after; None where one of them is not there.
            segmentations: Likewise.
        """
        self._volumes, self._segmentations = volumes, segmentations
        self._ui.beforeButton.setVisible(volumes is not None or segmentations is not None)
        self._ui.beforeButton.setText(_("Show before") if self._isAfter() else _("Show after"))

    def _isAfter(self) -> bool:
        """Whether what came of it is shown."""
        if self._segmentations is not None:
            return bool(self._segmentations[1].GetDisplayVisibility())
        return self._volumes is not None and views.isShown(self._volumes[1])

    def _change(self) -> None:
        self._onChange()
        shown = 0 if self._isAfter() else 1
        if self._volumes is not None:
            views.showEverywhere(self._volumes[shown])
        if self._segmentations is not None:
            views.showInstead(self._segmentations[shown], self._segmentations[1 - shown])
        self._ui.beforeButton.setText(_("Show before") if shown else _("Show after"))
        self._onChanged()
