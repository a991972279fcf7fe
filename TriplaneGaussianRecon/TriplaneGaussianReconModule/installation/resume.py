"""What goes on by itself after Slicer was started anew: kept for this installation of Slicer, and taken once."""
from __future__ import annotations

import slicer

_KEY = "TriplaneGaussianRecon/afterRestart"
_MODULE = "TriplaneGaussianRecon"


def keep(task: str) -> None:
    """Let a task go on after the next start."""
    settings = slicer.app.revisionUserSettings()
    settings.setValue(_KEY, task)
    settings.sync()


def take() -> str:
    """Return the name of the task that is to go on now, and forget it; an empty text if there is none."""
    if not _canAsk():
        return ""
    settings = slicer.app.revisionUserSettings()
    task = str(settings.value(_KEY) or "")
    settings.remove(_KEY)
    return task


def openModule() -> None:
    """Open the module if a task is to go on; called when Slicer has started."""
    if _canAsk() and slicer.app.revisionUserSettings().value(_KEY):
        slicer.util.selectModule(_MODULE)


def _canAsk() -> bool:
    return not slicer.app.testingEnabled() and slicer.util.mainWindow() is not None
