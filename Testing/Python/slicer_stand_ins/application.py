"""Stand-ins for the application and for its manager of layouts, as far as the panel has to do with them.

Looked up in Slicer: Base/QTCore/qSlicerCoreApplication.h, Base/QTGUI/qSlicerApplication.h (StandInApplication) and
Libs/MRML/Widgets/qMRMLLayoutManager.cxx (StandInLayoutManager).
"""
from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk


class StandInLayoutManager:
    """Says which views are in the layout, and gives each slice view the logic that shows slices in it."""

    def __init__(self, scene: Any, applicationLogic: Any) -> None:
        self._scene, self._application = scene, applicationLogic
        self._slice_logics = vtk.vtkCollection()
        applicationLogic.SetSliceLogics(self._slice_logics)
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        self._logic.SetMRMLScene(scene)
        self.layoutNode = self._logic.GetLayoutNode()
        self._tag = self.layoutNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._update())
        self.layoutNode.SetViewArrangement(self.layoutNode.SlicerLayoutFourUpView)
        self._update()

    def close(self) -> None:
        self.layoutNode.RemoveObserver(self._tag)

    def _update(self) -> None:
        views = self._logic.GetViewNodes()
        shown = [views.GetItemAsObject(n) for n in range(views.GetNumberOfItems())]
        for node in slicer.util.getNodesByClass("vtkMRMLAbstractViewNode"):
            node.SetMappedInLayout(node in shown)
            if node.IsA("vtkMRMLSliceNode") and self._application.GetSliceLogic(node) is None:
                self._add_slice_logic(node)

    def _add_slice_logic(self, node: Any) -> None:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._application)
        logic.SetMRMLScene(self._scene)
        logic.SetSliceNode(node)
        self._slice_logics.AddItem(logic)


class StandInApplication(qt.QObject):
    """`slicer.app`."""

    startupCompleted = qt.Signal()

    def __init__(self, temporaryPath: str, applicationLogic: Any) -> None:
        super().__init__()
        self.temporaryPath, self.applicationName = temporaryPath, "stand-in for 3D Slicer"
        self.majorVersion, self.minorVersion = 5, 12
        self._application_logic = applicationLogic

    def applicationLogic(self) -> Any:
        return self._application_logic

    def testingEnabled(self) -> bool:
        return True

    def topLevelWidgets(self) -> list[Any]:
        return []
