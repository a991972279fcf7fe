"""Slicer's own slice and 3D views, drawn into windows that are never opened, so that pixels can be looked at.

What draws is real: the slice logic's image, and the displayable managers of `slicer-core`.  Stand-ins are the window
itself, which the application has from Qt, and how it shows the slice logic's image: looked up in commontk/CTK,
Libs/Visualization/VTK/Core/vtkLightBoxRendererManager.cpp, and Slicer's Libs/MRML/Widgets/qMRMLSliceView.cxx and
qMRMLThreeDView.cxx.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk
import vtk.util.numpy_support

SLICE_MANAGERS = ("vtkMRMLSegmentationsDisplayableManager2D", "vtkMRMLModelSliceDisplayableManager",
                  "vtkMRMLCrosshairDisplayableManager")
THREE_D_MANAGERS = ("vtkMRMLCameraDisplayableManager", "vtkMRMLViewDisplayableManager",
                    "vtkMRMLModelDisplayableManager", "vtkMRMLSegmentationsDisplayableManager3D")


class RenderedView:
    """A view node, and the window that its displayable managers draw into.

    Its node lets go of the managers when `close` is called.
    """

    def __init__(self, node: Any, managers: Sequence[str], size: tuple[int, int], behind: Sequence[Any] = ()) -> None:
        """size: Width and height in pixels.  behind: What is drawn below all that the managers draw."""
        self.node, self.renderer = node, vtk.vtkRenderer()
        for prop in behind:
            self.renderer.AddViewProp(prop)
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        self.window.SetMultiSamples(0)  # a pixel has one colour
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.window.SetInteractor(vtk.vtkGenericRenderWindowInteractor())
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        for name in managers:
            manager = getattr(slicer, name)()
            manager.SetMRMLApplicationLogic(slicer.modules.application.logic())
            self.group.AddDisplayableManager(manager)
        self.group.SetMRMLDisplayableNode(node)

    def pixels(self) -> np.ndarray:
        """Draw; return red, green and blue, uint8 [y, x, 3] from the lower left corner, as Slicer counts."""
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        width, height, _ = grab.GetOutput().GetDimensions()
        values = vtk.util.numpy_support.vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
        return values.reshape(height, width, -1)[..., :3].copy()

    def close(self) -> None:
        """Let go of the node and the scene, and of the window."""
        self.group.SetMRMLDisplayableNode(None)
        self.window.Finalize()


class RenderedSliceView(RenderedView):
    """A slice view; `logic` makes its image from the volumes that it shows."""

    def __init__(self, node: Any, logic: Any) -> None:
        self.logic, self._mapper = logic, vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255.0)
        self._mapper.SetColorLevel(127.5)
        self._image = vtk.vtkActor2D()
        self._image.SetMapper(self._mapper)
        self._image.GetProperty().SetDisplayLocationToBackground()
        super().__init__(node, SLICE_MANAGERS, node.GetDimensions()[:2], [self._image])

    def pixels(self) -> np.ndarray:
        """As `RenderedView.pixels`; a view without a volume has no image."""
        connection = self.logic.GetImageDataConnection()
        self._image.SetVisibility(connection is not None)
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        return super().pixels()


@contextmanager
def slice_views(*names: str) -> Iterator[list[RenderedSliceView]]:
    """The views of this layout with these singleton tags, drawn, in the application's scene."""
    application = slicer.modules.application.logic()
    nodes = [slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode") for name in names]
    views = [RenderedSliceView(node, application.GetSliceLogic(node)) for node in nodes]
    yield views
    for view in views:
        view.close()


@contextmanager
def three_d_view(size: tuple[int, int] = (300, 300)) -> Iterator[RenderedView]:
    """A 3D view of the application's scene with a black background, without box and letters."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLViewNode")
    node.SetBoxVisible(False)
    node.SetAxisLabelsVisible(False)
    node.SetBackgroundColor(0.0, 0.0, 0.0)
    node.SetBackgroundColor2(0.0, 0.0, 0.0)
    view = RenderedView(node, THREE_D_MANAGERS, size)
    yield view
    view.close()
    slicer.mrmlScene.RemoveNode(node)
