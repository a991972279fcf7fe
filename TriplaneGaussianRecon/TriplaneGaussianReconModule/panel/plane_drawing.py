"""Draws any plane of a model as a volume of one slice, by the library's command line in a process of its own."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ..run.python_process import PythonProcess
from ..scene.nodes import TO_LPS
from ..scene.tidying import ROLE
from .views import placeBeside, show


class PlaneDrawing:
    """Draws planes, one at a time."""

    def __init__(self, onEnd: Callable[[slicer.vtkMRMLScalarVolumeNode | None, str], None], python: str | None = None,
                 environment: Mapping[str, str] | None = None) -> None:
        """Prepare to draw.

        Args:
            onEnd: Called with the volume node that was added, or None, and with what went wrong, or "".
            python: See `python_process.PythonProcess`.
            environment: See `python_process.PythonProcess`.
        """
        self._onEnd = onEnd
        self._process = PythonProcess(lambda line: None, self._end, python, environment)
        self._folder: TemporaryDirectory[str]  # from `start` on
        self._nodes: tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSliceNode] | None = None  # while it is running

    @property
    def isRunning(self) -> bool:
        """Whether a plane is being drawn."""
        return self._process.isRunning

    def start(self, model: Path, like: slicer.vtkMRMLScalarVolumeNode, view: slicer.vtkMRMLSliceNode) -> None:
        """Draw the plane that a slice view shows, and show it there; returns at once.

        Args:
            model: File of the model.
            like: The volume that the model belongs to.
            view: The slice view.
        """
        self._folder = TemporaryDirectory(prefix="TriplaneGaussianRecon-", dir=slicer.app.temporaryPath)
        point, normal = _planeIn(like, view)
        self._nodes = like, view
        self._process.start(["-m", "TriplaneGaussianReconLib", "render", str(model), "--output", str(self._file),
                             f"--point={_numbers(point)}", f"--normal={_numbers(normal)}"])

    def close(self) -> None:
        """Stop by force; `onEnd` is not called."""
        self._onEnd = lambda node, problem: None
        self._process.kill()

    @property
    def _file(self) -> Path:
        return Path(self._folder.name) / "plane.nrrd"

    def _end(self, problem: str) -> None:
        assert self._nodes is not None
        node, (like, view) = None, self._nodes
        self._nodes = None
        if not problem and self._process.exitCode:
            lines = self._process.log.strip().splitlines()
            problem = lines[-1] if lines else _("The plane could not be drawn.")
        if not problem and like.GetScene() is None:
            problem = _("The result was removed meanwhile.")
        if not problem:
            node = self._read(like)
            problem = "" if node is not None else _("The plane could not be read.")
        if not problem and view.GetScene() is not None:
            show(node, view)
        self._folder.cleanup()
        self._onEnd(node, problem)

    def _read(self, like: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode | None:
        read, storage = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(self._file))
        if not storage.ReadData(read):
            return None
        scene = slicer.mrmlScene
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(
            _("{name} plane").format(name=like.GetName())))
        node.CopyContent(read)
        node.SetAndObserveTransformNodeID(like.GetTransformNodeID())
        node.CreateDefaultDisplayNodes()
        if like.GetDisplayNode() is not None:
            node.GetDisplayNode().CopyContent(like.GetDisplayNode())
            node.GetDisplayNode().SetAndObserveColorNodeID(like.GetDisplayNode().GetColorNodeID())
        node.SetAttribute(ROLE, "plane")
        placeBeside(node, like)
        return node


def _planeIn(volumeNode: slicer.vtkMRMLScalarVolumeNode, view: slicer.vtkMRMLSliceNode
             ) -> tuple[np.ndarray, np.ndarray]:
    """A point of the plane of a slice view and its normal, in the volume's own coordinates, mm LPS."""
    toRAS = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
    fromWorld = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, volumeNode.GetParentTransformNode(), fromWorld)
    corners = [toRAS[:3, 3], toRAS[:3, 3] + toRAS[:3, 0], toRAS[:3, 3] + toRAS[:3, 1]]
    point, right, up = (TO_LPS @ fromWorld.TransformPoint(corner) for corner in corners)
    normal = np.cross(right - point, up - point)
    return point, normal / np.linalg.norm(normal)


def _numbers(vector: np.ndarray) -> str:
    return ",".join(f"{number:.9g}" for number in vector)
