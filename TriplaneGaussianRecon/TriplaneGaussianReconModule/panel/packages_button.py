"""The button for the Python packages; and what goes on with them by itself after Slicer was started anew."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ..installation import resume
from .results_view import setEnabledOrWhyNot


class PackagesButton:
    """A button that opens the dialogue."""

    def __init__(self, button: qt.QPushButton, onChanged: Callable[[], Any]) -> None:
        """Take over the button; onChanged: called when packages may have come or changed."""
        self._button, self._onChanged = button, onChanged
        button.connect("clicked()", self._show)

    def setBusy(self, isBusy: bool) -> None:
        """Tell whether packages are in use by a reconstruction."""
        setEnabledOrWhyNot(self._button, _("A reconstruction is running. Wait until it is done.") if isBusy else "")

    def goOn(self) -> None:
        """Go on with what was begun before Slicer was started anew, if anything was; returns at once."""
        if task := resume.take():
            qt.QTimer.singleShot(0, lambda: self._goOn(task))

    def _show(self) -> None:
        from ..installation.packages_dialog import PackagesDialog

        PackagesDialog(self._button).run()
        self._onChanged()

    def _goOn(self, task: str) -> None:
        from ..installation import tasks
        from ..installation.dialog import InstallationDialog
        from ..installation.packages_dialog import PackagesDialog

        if task == tasks.INSTALL:
            InstallationDialog(self._button, tasks.install(closes=False)).run(goesOn=True)
        else:
            PackagesDialog(self._button).run(task)
        self._onChanged()
