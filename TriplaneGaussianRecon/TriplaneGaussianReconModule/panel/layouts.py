"""Layouts that buttons switch to, and the way back."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk

from . import views


class Layouts:
    """Which button has switched to the present layout, and which one was there before.

    Attributes:
        name: Of the layout, as it was given to `toggle`; empty once another layout is there.
    """

    def __init__(self, onLeft: Callable[[], None]) -> None:
        """onLeft: Called when such a layout was left, by whatever means."""
        self._onLeft = onLeft
        self._node: slicer.vtkMRMLLayoutNode | None = None
        self._tag = self._former = self._present = 0
        self.name = ""

    def toggle(self, name: str, arrange: Callable[[], None]) -> None:
        """Switch to a layout by `arrange`; if it is there, back to the one before."""
        if self.name == name:
            self.leave()
            return
        former = self._former if self.name else views.layoutNode().GetViewArrangement()
        if self.name:
            self._end()
        arrange()
        if views.layoutNode().GetViewArrangement() != former:
            self._begin(name, former)

    def follow(self) -> None:
        """Look after a comparison that came with a scene; what was before is not known."""
        node = views.layoutNode()
        if not self.name and node.GetViewArrangement() in (views.LAYOUT, views.LABELS_LAYOUT):
            self._begin("compare", node.SlicerLayoutFourUpView)

    def leave(self) -> None:
        """Back to the layout before, if a button has switched."""
        if self._node is not None:
            self._node.SetViewArrangement(self._former)

    def close(self) -> None:
        """Do not look after the layout any more."""
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node, self.name = None, ""

    def _begin(self, name: str, former: int) -> None:
        self._node, self.name, self._former = views.layoutNode(), name, former
        self._present = self._node.GetViewArrangement()
        self._tag = self._node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onModified)

    def _onModified(self, caller: Any, event: str) -> None:
        if self._node is not None and self._node.GetViewArrangement() != self._present:
            self._end()

    def _end(self) -> None:
        self.close()
        self._onLeft()
