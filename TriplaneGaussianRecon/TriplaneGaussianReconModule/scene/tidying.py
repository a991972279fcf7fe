"""What belongs to a result goes with it, whoever removes it.

When Slicer removes a node it leaves its display and storage nodes behind, and does not know of models.
Needs no numpy: it begins when the application does, since results may be in a scene that is loaded.
"""
from __future__ import annotations

import weakref
from tempfile import TemporaryDirectory
from typing import Any

import slicer
import vtk

ROLE = "TriplaneGaussianRecon.Role"  # attribute of all nodes that a run leaves

_tidied: weakref.WeakSet[Any] = weakref.WeakSet()
_models: dict[Any, TemporaryDirectory[str]] = {}
_leftBehind: dict[Any, list[str]] = {}  # node that is being removed -> identifiers of its display and storage nodes


def tidyUp(scene: slicer.vtkMRMLScene) -> None:
    """From now on remove what belongs to a result together with it, whoever removes it."""
    if scene not in _tidied:
        scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, _onNodeAboutToBeRemoved)
        # After the views, which follow pointers to display nodes until they have let go of the node itself.
        scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, _onNodeRemoved, -1.0)
        _tidied.add(scene)


def keepModels(node: slicer.vtkMRMLNode, models: TemporaryDirectory[str]) -> None:
    """Delete a folder with models together with a node that is a result."""
    _models[node] = models


@vtk.calldata_type(vtk.VTK_OBJECT)
def _onNodeAboutToBeRemoved(scene: slicer.vtkMRMLScene | None, event: str, node: slicer.vtkMRMLNode) -> None:
    if node is None or node.GetAttribute(ROLE) is None:
        return
    models = _models.pop(node, None)
    if models is not None:
        models.cleanup()
    if scene is not None and not scene.IsClosing():  # there is none when it is being deleted
        _leftBehind[node] = _partsOf(node)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _onNodeRemoved(scene: slicer.vtkMRMLScene | None, event: str, node: slicer.vtkMRMLNode) -> None:
    parts = _leftBehind.pop(node, ())
    if scene is None:
        return
    for part in map(scene.GetNodeByID, parts):
        if part is not None:
            scene.RemoveNode(part)


def _partsOf(node: slicer.vtkMRMLNode) -> list[str]:
    """Identifiers of the display and storage nodes of a node, the last ones first."""
    parts = []
    if node.IsA("vtkMRMLDisplayableNode"):
        parts += [node.GetNthDisplayNodeID(n) for n in reversed(range(node.GetNumberOfDisplayNodes()))]
    if node.IsA("vtkMRMLStorableNode"):
        parts += [node.GetNthStorageNodeID(n) for n in reversed(range(node.GetNumberOfStorageNodes()))]
    return [identifier for identifier in parts if identifier]
