"""Choices about the computer and the quality that outlive the session: those of the last run."""
from __future__ import annotations

from contextlib import suppress
from typing import Any

import qt
import slicer

from .parameters import PresetChoice, TriplaneGaussianReconParameterNode

_GROUP = "TriplaneGaussianRecon"
_BEGUN = "TriplaneGaussianRecon.Begun"  # attribute of choices that are not new; closing a scene takes it away
# How to read each from the text that is kept.
_READ: dict[str, Any] = {"preset": PresetChoice, "device": str, "memory": float, "threads": int}


def remember(parameters: TriplaneGaussianReconParameterNode) -> None:
    """Keep the choices of a run."""
    settings = qt.QSettings()
    for name in _READ:
        value = parameters.getValue(name)
        settings.setValue(f"{_GROUP}/{name}", str(value.value if isinstance(value, PresetChoice) else value))


def recall(parameters: TriplaneGaussianReconParameterNode) -> None:
    """Set what was kept, as far as it still has a meaning, in choices that are new in their scene."""
    node = parameters.parameterNode
    if node.GetAttribute(_BEGUN) is not None:
        return
    node.SetAttribute(_BEGUN, "1")
    for name, read in _READ.items():
        kept = slicer.util.settingsValue(f"{_GROUP}/{name}", None)
        if kept is not None:
            with suppress(ValueError):  # of another version, or edited
                setattr(parameters, name, read(kept))
