"""Stand-in for the C++ side of a scripted effect of the Segment Editor.

Looked up in Slicer, Modules/Loadable/Segmentations/EditorEffects: qSlicerSegmentEditorScriptedEffect.cxx (how the
source is read, and the object made), qSlicerSegmentEditorAbstractEffect.h (everything else).
"""
from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6.QtWidgets import QFormLayout, QFrame, QLayout, QWidget

registered: list[qSlicerSegmentEditorScriptedEffect] = []  # the factory


class qSlicerSegmentEditorAbstractEffect:
    """The numbers of the modes in which segments are modified."""

    ModificationModeSet, ModificationModeAdd, ModificationModeRemove, ModificationModeRemoveAll = range(4)


slicer.qSlicerSegmentEditorAbstractEffect = qSlicerSegmentEditorAbstractEffect


class qSlicerSegmentEditorScriptedEffect(qSlicerSegmentEditorAbstractEffect):
    """Runs a Python object.  Of the Segment Editor there is nothing but its parameter node.

    undoStates: how often it was told to save the state before a change.
    """

    def __init__(self, parent: Any) -> None:
        self.name, self.title, self.perSegment = "UnnamedScriptedEffect", "", True
        self.undoStates = 0
        self._self: Any = None
        self._frame, self._parameters = QFrame(), None
        self._frame.setLayout(QFormLayout())

    def setPythonSource(self, path: str) -> bool:
        """Read the file as a module with the name of its folder, and make an object of its class."""
        file = Path(path)
        spec = importlib.util.spec_from_file_location(file.parent.name, file)
        module = sys.modules[file.parent.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        name = file.stem if file.stem.endswith("Effect") else f"{file.stem}Effect"
        self._self = getattr(module, name)(self)
        setattr(slicer, file.parent.name, self._self)
        return True

    def self(self) -> Any:
        """Return the Python object."""
        return self._self

    def optionsFrame(self) -> QFrame:
        return self._frame

    def addOptionsWidget(self, added: QWidget | QLayout) -> None:
        self._frame.layout().addRow(added)

    def parameterSetNode(self) -> Any:
        return self._parameters

    def setParameterSetNode(self, node: Any) -> None:
        self._parameters = node

    def saveStateForUndo(self) -> None:
        self.undoStates += 1

    def modifySegmentByLabelmap(self, segmentationNode: Any, segmentID: str, labelmap: Any, mode: int,
                                bypassMasking: bool = False) -> None:
        """Set a segment; nothing is masked here."""
        assert mode == self.ModificationModeSet and bypassMasking
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(labelmap, segmentationNode, segmentID)
