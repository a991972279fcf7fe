"""The extension PyTorch, to which torch belongs: users look at torch and change it there.

The Extensions Manager installs it.  It works from the next start of Slicer on.
"""
from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..run.python_process import SingleShot
from .commands import Progress
from .errors import InstallationError

NAME = "PyTorch"
_MODULE = "PyTorchUtils"


def isLoaded() -> bool:
    """Return whether its module is there."""
    try:
        importlib.import_module(_MODULE)
    except ImportError:
        return False
    return True


def require() -> None:
    """Raise `InstallationError` if it is not there."""
    if not isLoaded():
        raise InstallationError(_("The extension PyTorch is needed. Install it in the Extensions Manager, restart "
                                  "Slicer and try again."))


class ExtensionInstallation:
    """Lets the Extensions Manager install it, while the user interface goes on; is used as an `Installation`."""

    canBeCancelled = False  # it is small, and the Extensions Manager has no word for that

    def __init__(self, onLog: Callable[[str], Any], onProgress: Callable[[Progress], Any],
                 onEnd: Callable[[InstallationError | None], Any]) -> None:
        """Prepare to install; the arguments are those of `Installation`."""
        self._onLog, self._onProgress, self._onEnd = onLog, onProgress, onEnd
        self.changed = set[str]()
        self._manager: Any = None
        # From the event loop: the manager is in the middle of something while it tells of it.
        self._later = SingleShot(0, self._download)
        self._isDownloading, self._isRunning = False, False

    def start(self) -> None:
        """Start; returns at once."""
        find = getattr(slicer.app, "extensionsManagerModel", None)  # a Slicer can be built without
        self._manager = find() if find is not None else None
        self._isRunning = self._manager is not None
        if not self._isRunning:
            self._onEnd(self._failure(_("This Slicer has no Extensions Manager.")))
            return
        for signal, react in self._connections():
            self._manager.connect(signal, react)
        if self._manager.isExtensionInstalled(NAME):
            self._manager.setExtensionEnabled(NAME, True)  # it refuses what was made for another Slicer
            isOn = self._manager.isExtensionEnabled(NAME)
            self._end("" if isOn else _("It is installed, but was made for another version of Slicer: update it."))
            return
        self._onProgress(Progress(_("Asking the Extensions Manager for PyTorch")))
        if not self._manager.updateExtensionsMetadataFromServer(True, False):
            self._end(_("The server of extensions is not known, or could not be asked."))

    def cancel(self) -> None:
        """It goes on: see `canBeCancelled`."""

    def _connections(self) -> tuple[tuple[str, Callable[..., None]], ...]:
        return (("updateExtensionsMetadataFromServerCompleted(bool)", self._onAsked),
                ("installDownloadProgress(QString,qint64,qint64)", self._onDownloading),
                ("activeTasksChanged()", self._onTasks))

    def _onAsked(self, isKnown: bool) -> None:
        if not isKnown:
            self._end(_("The server of extensions did not answer: is this computer connected to the internet?"))
        else:
            self._later.start()

    def _download(self) -> None:
        """Begin to download; the manager asks nothing, since the user was asked already."""
        if not self._manager.downloadAndInstallExtensionByName(NAME, True, False):
            self._end(_("The server of extensions has none of this name for this version of Slicer, or its files may "
                        "not be written."))

    def _onDownloading(self, name: str, received: int, total: int) -> None:
        if name == NAME:
            self._onProgress(Progress(_("Downloading the extension PyTorch"), received, max(total, 0)))

    def _onTasks(self) -> None:
        """A download has begun, or an installation has ended, well or not; perhaps of another extension."""
        if any(NAME in task.split() for task in self._manager.activeTasks):
            self._isDownloading = True
        elif self._isDownloading:
            isThere = self._manager.isExtensionInstalled(NAME)
            self._end("" if isThere else _("It could not be downloaded or unpacked."))

    def _end(self, problem: str) -> None:
        """End, once."""
        if self._isRunning:
            self._isRunning = False
            self._later.stop()
            for signal, react in self._connections():
                self._manager.disconnect(signal, react)
            self._onEnd(self._failure(problem) if problem else None)

    def _failure(self, reason: str) -> InstallationError:
        error = InstallationError(_("{reason} View > Error Log may say more. Or install the extension PyTorch in the "
                                    "Extensions Manager yourself, restart Slicer and try again.").format(reason=reason))
        self._onLog(str(error))
        return error
