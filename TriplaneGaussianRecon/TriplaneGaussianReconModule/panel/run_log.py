"""What somebody who is asked for help wants to know about a run that failed: a text to copy."""
from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any

import qt
import slicer

from TriplaneGaussianReconLib import __version__


class RunLog:
    """A button that copies it; it is there after a failure, until the next run begins."""

    def __init__(self, button: qt.QPushButton) -> None:
        """Take over the button."""
        self._button, self._text = button, ""
        button.setVisible(False)
        button.connect("clicked()", self._copy)

    def begin(self) -> None:
        """A run begins."""
        self._button.setVisible(False)

    def failed(self, problem: str, choices: Mapping[str, Any], log: str) -> None:
        """A run has failed.

        Args:
            problem: What the user was told.
            choices: Arguments of the logic; of nodes no more than their size is told, since their names may be those of
                patients.
            log: What the worker wrote.
        """
        told = {name: _anonymous(value) for name, value in choices.items()}
        self._text = "\n".join([
            f"TriplaneGaussianRecon {__version__}, {slicer.app.applicationName} {slicer.app.majorVersion}."
            f"{slicer.app.minorVersion}, {platform.platform()}", problem, json.dumps(told, default=str), "", log])
        self._button.setVisible(True)

    def _copy(self) -> None:
        qt.QApplication.clipboard().setText(self._text)


def _anonymous(value: Any) -> Any:
    """A value without what could name a patient."""
    if isinstance(value, Mapping):
        return [_anonymous(each) for each in value]
    if not isinstance(value, slicer.vtkMRMLNode):
        return value
    image = value.GetImageData() if value.IsA("vtkMRMLVolumeNode") else None
    return value.GetClassName() if image is None else [*image.GetDimensions(), image.GetScalarTypeAsString()]
