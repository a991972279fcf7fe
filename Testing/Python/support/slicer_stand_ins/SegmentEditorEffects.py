"""Stand-in for the base class of scripted effects.

Looked up in Slicer, Modules/Loadable/Segmentations/EditorEffects/Python/SegmentEditorEffects/
AbstractScriptedSegmentEditorEffect.py.
"""
from __future__ import annotations

from typing import Any


class AbstractScriptedSegmentEditorEffect:
    """Holds the C++ object, by which the base class's functions are called."""

    def __init__(self, scriptedEffect: Any) -> None:
        self.scriptedEffect = scriptedEffect

    def register(self) -> None:
        """Enter the effect into the factory."""
        from qSlicerSegmentationsEditorEffectsPythonQt import registered

        registered.append(self.scriptedEffect)

    def cleanup(self) -> None:
        """Called before the effect is deleted."""
