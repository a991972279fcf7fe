"""Stand-ins for what 3D Slicer has and PyPI's `slicer-core` lacks: Qt as PythonQt presents it, widgets, base classes.

They let the module's real code and its real .ui file run offscreen over a real MRML scene.  Nothing that passes here
has thereby been shown to work in the application.  Each file says which of Slicer's sources its classes were looked up
in; they have no property, signal or method that is not there.

`install` makes `import qt`, `import ctk`, `import slicer.ScriptedLoadableModule` and so on find the files of this
folder.
"""
from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

_FOLDER = str(Path(__file__).resolve().parent)


def install() -> None:
    """Let `qt`, `ctk` and the missing parts of `slicer` be imported from this folder; calling it again does nothing."""
    import slicer

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if _FOLDER not in sys.path:
        sys.path.append(_FOLDER)
        slicer.__path__.append(_FOLDER)
        importlib.import_module("qMRMLWidgets")
