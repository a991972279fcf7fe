"""Stand-ins for the application, its manager of layouts and its slice views, as far as the panel has to do with them.

Looked up in Slicer: Base/QTCore/qSlicerCoreApplication.h, Base/QTGUI/qSlicerApplication.h (StandInApplication),
Libs/MRML/Widgets/qMRMLLayoutManager.cxx and commontk/CTK Libs/Widgets/ctkLayoutManager.cpp (StandInLayoutManager),
Libs/MRML/Widgets/qMRMLSliceWidget.cxx, qMRMLSliceControllerWidget.cxx, qMRMLSliderWidget.cxx and commontk/CTK
Libs/Widgets/ctkSliderWidget.cpp (StandInSliceView), Libs/MRML/Widgets/qMRMLThreeDWidget.h and qMRMLThreeDView.h.
"""
from __future__ import annotations

from typing import Any

import qt
import shiboken6
import slicer
import vtk


class StandInSliceView(qt.QWidget):
    """A slice view without pixels: a slider for the offset, and a size.

    As there, what the slider says arrives late, by a queued connection; it says so when it is moved, and once when it
    is made, since it is then given the decimals of a unit.  The logic is told each size as the widget gets it.
    """

    sliderMoved = qt.Signal(float)

    def __init__(self, logic: Any, parent: qt.QWidget) -> None:
        super().__init__(parent)
        self._logic = logic
        self.setVisible(False)
        self.sliderMoved.connect(self._set_offset, qt.Qt.QueuedConnection)
        self.sliderMoved.emit(0.0)

    def _set_offset(self, offset: float) -> None:
        self._logic.StartSliceOffsetInteraction()
        self._logic.SetSliceOffset(offset)
        self._logic.EndSliceOffsetInteraction()

    def resizeEvent(self, event: Any) -> None:
        self._logic.ResizeSliceNode(event.size().width(), event.size().height())


class StandInThreeDView:
    """A 3D view and the widget that it is in, without pixels; it counts how often it looked at what it shows."""

    def __init__(self) -> None:
        self.looked = 0

    def threeDView(self) -> StandInThreeDView:
        return self

    def resetFocalPoint(self) -> None:
        self.looked += 1


class StandInLayoutManager:
    """Shows the slice views of the layout, side by side whatever it is, and gives each the logic that shows slices."""

    def __init__(self, scene: Any, applicationLogic: Any) -> None:
        self._scene, self._application = scene, applicationLogic
        self._slice_logics = vtk.vtkCollection()
        applicationLogic.SetSliceLogics(self._slice_logics)
        self._views: dict[str, StandInSliceView] = {}
        self.threeDViews = [StandInThreeDView()]
        self._shown: list[StandInSliceView] = []
        self._viewport, self._splitter = qt.QWidget(), None
        self._viewport.resize(1200, 400)
        self._viewport.show()
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        self._logic.SetMRMLScene(scene)
        self.layoutNode = self._logic.GetLayoutNode()
        self._tag = self.layoutNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._update())
        self.layoutNode.SetViewArrangement(self.layoutNode.SlicerLayoutFourUpView)
        self._update()
        qt.QCoreApplication.sendPostedEvents()

    def close(self) -> None:
        self.layoutNode.RemoveObserver(self._tag)
        self._viewport.close()
        self._viewport.deleteLater()

    @property
    def threeDViewCount(self) -> int:
        return len(self.threeDViews)

    def threeDWidget(self, number: int) -> Any:
        return self.threeDViews[number]

    def sliceWidget(self, name: str) -> StandInSliceView:
        return self._views[name]

    def _update(self) -> None:
        views = self._logic.GetViewNodes()
        shown = [views.GetItemAsObject(n) for n in range(views.GetNumberOfItems())]
        for node in slicer.util.getNodesByClass("vtkMRMLAbstractViewNode"):
            node.SetMappedInLayout(node in shown)
            if node.IsA("vtkMRMLSliceNode") and self._application.GetSliceLogic(node) is None:
                self._add_slice_view(node)
        shown_views = [self._views[node.GetSingletonTag()] for node in shown if node.IsA("vtkMRMLSliceNode")]
        if shown_views != self._shown:
            self._shown = shown_views
            self._clear_layout()
            self._set_up_layout()

    def _add_slice_view(self, node: Any) -> None:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._application)
        logic.SetMRMLScene(self._scene)
        logic.SetSliceNode(node)
        self._slice_logics.AddItem(logic)
        self._views[node.GetSingletonTag()] = StandInSliceView(logic, self._viewport)

    def _clear_layout(self) -> None:
        if self._splitter is None:
            return
        self._splitter.setVisible(False)
        for view in self._views.values():
            view.setVisible(False)
            view.setParent(self._viewport)
        shiboken6.delete(self._viewport.layout())
        shiboken6.delete(self._splitter)

    def _set_up_layout(self) -> None:
        self._splitter = qt.QSplitter(qt.Qt.Horizontal)
        for view in self._shown:
            view.setVisible(True)
            self._splitter.addWidget(view)
        layout = qt.QHBoxLayout()
        layout.addWidget(self._splitter)
        self._viewport.setLayout(layout)  # Qt shows what it holds later, by a queued call, and then gives it its size


class StandInApplication(qt.QObject):
    """`slicer.app`."""

    startupCompleted = qt.Signal()

    def __init__(self, temporaryPath: str, applicationLogic: Any, layoutManager: StandInLayoutManager) -> None:
        super().__init__()
        self.temporaryPath, self.applicationName = temporaryPath, "stand-in for 3D Slicer"
        self.majorVersion, self.minorVersion = 5, 12
        self._application_logic, self._layout_manager = applicationLogic, layoutManager

    def applicationLogic(self) -> Any:
        return self._application_logic

    def layoutManager(self) -> StandInLayoutManager:
        return self._layout_manager

    def revisionUserSettings(self) -> qt.QSettings:
        return qt.QSettings()

    def testingEnabled(self) -> bool:
        return True

    def topLevelWidgets(self) -> list[Any]:
        return []
