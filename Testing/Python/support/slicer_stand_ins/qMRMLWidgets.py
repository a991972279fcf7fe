"""Stand-ins for the widgets of Slicer that the panel uses.

Looked up in Slicer, Libs/MRML/Widgets/qMRMLWidget.h, qMRMLNodeComboBox.h and .cxx, qMRMLSceneModel.cxx,
qMRMLNodeFactory.cxx.  Signals with a vtkObject* carry a Python object here.
"""
from __future__ import annotations

from typing import Any

import slicer
from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QWidget


class qMRMLWidget(QWidget):
    """A widget that knows the scene."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QWidget):
    """Lists the nodes of a scene that are of given classes and have given attributes."""

    currentNodeChanged = Signal(object)
    nodeAddedByUser = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._tags: list[int] = []
        self._nodes: list[Any] = []
        self._current: Any = None
        self._attributes: dict[str, tuple[str, str]] = {}
        self._types: list[str] = []
        self._flags = {"noneEnabled": False, "addEnabled": True, "removeEnabled": True, "renameEnabled": False,
                       "editEnabled": False, "showHidden": False, "showChildNodeTypes": True,
                       "selectNodeUponCreation": True}
        self._base_name, self._none = "", "None"
        self._combo = QComboBox(self)
        self._combo.activated.connect(self._activated)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self.setEnabled(False)  # until there is a scene

    def _types_(self) -> list[str]:
        return self._types

    def _set_types(self, types: list[str]) -> None:
        self._types = list(types)
        self._update()

    nodeTypes = Property("QStringList", _types_, _set_types)
    baseName = Property(str, lambda self: self._base_name, lambda self, name: setattr(self, "_base_name", name))
    noneDisplay = Property(str, lambda self: self._none, lambda self, text: setattr(self, "_none", text))
    currentNodeID = Property(str, lambda self: self._current.GetID() if self._current else "")

    def _set_flag(self, name: str, value: bool) -> None:
        self._flags[name] = value
        self._update()

    for _name in ("noneEnabled", "addEnabled", "removeEnabled", "renameEnabled", "editEnabled", "showHidden",
                  "showChildNodeTypes", "selectNodeUponCreation"):
        locals()[_name] = Property(bool, lambda self, name=_name: self._flags[name],
                                   lambda self, value, name=_name: self._set_flag(name, value))
    del _name

    def addAttribute(self, nodeType: str, name: str, value: str) -> None:
        """Show only nodes with this attribute, and give it to nodes that are created here."""
        self._attributes[nodeType] = (name, value)
        self._update()

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, self._tags = scene, []
        self.setEnabled(scene is not None)
        if scene is not None:
            self._tags = [scene.AddObserver(event, lambda caller, event: self._update()) for event in (
                scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent)]
        self._update()

    def nodeCount(self) -> int:
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def currentNode(self) -> Any:
        return self._current

    def setCurrentNode(self, node: Any) -> None:
        self._select(node if node in self._nodes else None)

    def addNode(self) -> Any:
        """Create a node as the menu item "Create new ..." does."""
        name = self._scene.GenerateUniqueName(self._base_name or self._types[0])
        node = self._scene.CreateNodeByClass(self._types[0])
        node.UnRegister(None)
        node.SetName(name)
        if self._types[0] in self._attributes:
            node.SetAttribute(*self._attributes[self._types[0]])
        node = self._scene.AddNode(node)
        if self._flags["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self._current)

    def _activated(self, row: int) -> None:
        self._select(self.nodeFromIndex(row - self._flags["noneEnabled"]))

    def _is_listed(self, node: Any) -> bool:
        is_type = any(node.IsA(kind) if self._flags["showChildNodeTypes"] else node.GetClassName() == kind
                      for kind in self._types)
        name, value = self._attributes.get(node.GetClassName(), (None, None))
        return (is_type and (self._flags["showHidden"] or not node.GetHideFromEditors())
                and (name is None or node.GetAttribute(name) == value))

    def _update(self) -> None:
        if self._scene is None or self._scene.IsBatchProcessing():
            return
        nodes = [self._scene.GetNthNode(n) for n in range(self._scene.GetNumberOfNodes())]
        self._nodes = [node for node in nodes if self._is_listed(node)]
        self._select(self._current if self._current in self._nodes else self._first())

    def _first(self) -> Any:
        """What is chosen by itself: the first node, unless none is a choice too."""
        return None if self._flags["noneEnabled"] or not self._nodes else self._nodes[0]

    def _select(self, node: Any) -> None:
        self._combo.clear()
        self._combo.addItems([self._none] * self._flags["noneEnabled"] + [found.GetName() for found in self._nodes])
        row = self._nodes.index(node) + self._flags["noneEnabled"] if node else 0 if self._flags["noneEnabled"] else -1
        self._combo.setCurrentIndex(row)
        if node is not self._current:
            self._current = node
            self.currentNodeChanged.emit(node)


slicer.qMRMLWidget = qMRMLWidget
slicer.qMRMLNodeComboBox = qMRMLNodeComboBox
