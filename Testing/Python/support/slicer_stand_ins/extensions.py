"""Stand-in for the model of the Extensions Manager: one extension that can be had from a server, or not.

Looked up in Slicer: Base/QTCore/qSlicerExtensionsManagerModel.h and .cxx, the same in 5.10, 5.12 and main as far as it
goes.  As there, a download that has begun counts as success whatever comes of it; what was begun ends later, in the
event loop; each change of the tasks is told, the beginning of one from within the call that begins it.
"""
from __future__ import annotations

from enum import Enum

import qt


class Fault(Enum):
    """What goes wrong."""

    NO_SERVER = "the address of the server is not set"
    NO_ANSWER = "the server does not answer"
    UNKNOWN = "the server has no such extension"
    OTHER_SLICER = "the extension that is installed was made for another version of Slicer"
    BROKEN_OFF = "the download is broken off"


class StandInExtensionsManagerModel(qt.QObject):
    """Installs PyTorch."""

    updateExtensionsMetadataFromServerCompleted = qt.Signal(bool)
    installDownloadProgress = qt.Signal(str, "qint64", "qint64")
    extensionInstalled = qt.Signal(str)
    activeTasksChanged = qt.Signal()

    def __init__(self, fault: Fault | None = None) -> None:
        super().__init__()
        self.fault, self.installed, self.enabled = fault, set[str](), set[str]()
        self._tasks: list[str] = []

    activeTasks = qt.Property("QStringList", lambda self: list(self._tasks))

    def isExtensionInstalled(self, name: str) -> bool:
        return name in self.installed

    def setExtensionEnabled(self, name: str, value: bool) -> None:
        assert name in self.installed and value
        if self.fault is not Fault.OTHER_SLICER:
            self.enabled.add(name)

    def isExtensionEnabled(self, name: str) -> bool:
        return name in self.enabled

    def updateExtensionsMetadataFromServer(self, force: bool = False, waitForCompletion: bool = False) -> bool:
        assert force and not waitForCompletion
        if self.fault is Fault.NO_SERVER:
            return False
        qt.QTimer.singleShot(0, lambda: self.updateExtensionsMetadataFromServerCompleted.emit(
            self.fault is not Fault.NO_ANSWER))
        return True

    def downloadAndInstallExtensionByName(self, name: str, installDependencies: bool = True,
                                          waitForCompletion: bool = False) -> bool:
        assert not waitForCompletion
        self.activeTasksChanged.emit()  # while it asks for the address, another extension may come or go
        if self.fault is Fault.UNKNOWN:
            return False
        self._tasks.append(f"install {name} extension")
        self.activeTasksChanged.emit()
        qt.QTimer.singleShot(0, lambda: self._receive(name))
        return True

    def _receive(self, name: str) -> None:
        self.installDownloadProgress.emit(name, 5, -1)  # a server need not tell how much there is
        self.installDownloadProgress.emit(name, 10, 20)
        if self.fault is not Fault.BROKEN_OFF:
            self.installed.add(name)
            self.enabled.add(name)
            self.extensionInstalled.emit(name)
        self._tasks.clear()
        self.activeTasksChanged.emit()
