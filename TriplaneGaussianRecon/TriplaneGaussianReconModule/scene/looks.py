"""How segmentations look for a while, beside something else; what they looked like before is given back.

It is kept in attributes of their display nodes: a scene that is saved meanwhile knows it, too.
"""
from __future__ import annotations

import json
from collections.abc import Mapping

import slicer

_BEFORE = "TriplaneGaussianRecon.BeforeApart"  # attribute: visibility, and in which views
_OUTLINED = "TriplaneGaussianRecon.Outlined"  # attribute: reasons, and whether outlines were shown before


def showApart(scene: slicer.vtkMRMLScene, views: Mapping[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLSliceNode]
              ) -> None:
    """Show each of these segmentations in its view alone, and no others, until `giveBack`.

    With nothing beside it or over it, there is no reason for outlines meanwhile.
    """
    giveBack(scene)
    wanted = {node.GetDisplayNode(): view for node, view in views.items()}
    for display in _displays(scene):
        view = wanted.get(display)
        if view is None and not display.GetVisibility():
            continue
        restriction = [display.GetNthViewNodeID(n) for n in range(display.GetNumberOfViewNodeIDs())]
        display.SetAttribute(_BEFORE, json.dumps([bool(display.GetVisibility()), restriction]))
        with slicer.util.NodeModify(display):
            display.SetVisibility(view is not None)
            if view is not None:
                _restrict(display, [view.GetID()])
        _follow(display)


def giveBack(scene: slicer.vtkMRMLScene) -> None:
    """Show segmentations as they were before `showApart`."""
    for display in _displays(scene):
        kept = display.GetAttribute(_BEFORE)
        if kept is not None:
            isVisible, restriction = json.loads(kept)
            display.RemoveAttribute(_BEFORE)
            with slicer.util.NodeModify(display):
                display.SetVisibility(isVisible)
                _restrict(display, restriction)
            _follow(display)


def outline(node: slicer.vtkMRMLSegmentationNode, reason: str) -> None:
    """Show the outlines of a segmentation alone, until `fill` for each reason; one without fill stays as it is."""
    display = node.GetDisplayNode()
    reasons, hadOutline = _outlined(display)
    if display is not None and reason not in reasons and (reasons or display.GetVisibility2DFill()):
        display.SetAttribute(_OUTLINED, json.dumps([[*reasons, reason], hadOutline]))
        _follow(display)


def fill(node: slicer.vtkMRMLSegmentationNode, reason: str) -> None:
    """This reason for outlines is gone."""
    display = node.GetDisplayNode()
    reasons, hadOutline = _outlined(display)
    if reason not in reasons:
        return
    reasons.remove(reason)
    if reasons:
        display.SetAttribute(_OUTLINED, json.dumps([reasons, hadOutline]))
    else:
        _fill(display)


def startAfresh(display: slicer.vtkMRMLDisplayNode) -> None:
    """Let a display node that was copied from another one keep nothing of how that one looks for a while."""
    if display.GetAttribute(_OUTLINED) is not None:
        _fill(display)
    if display.GetAttribute(_BEFORE) is not None:
        display.RemoveAllViewNodeIDs()
        display.RemoveAttribute(_BEFORE)


def _outlined(display: slicer.vtkMRMLSegmentationDisplayNode | None) -> tuple[list[str], bool]:
    """For which reasons outlines are shown alone, and whether they were shown before."""
    if display is None:
        return [], False
    kept = display.GetAttribute(_OUTLINED)
    return ([], bool(display.GetVisibility2DOutline())) if kept is None else tuple(json.loads(kept))


def _follow(display: slicer.vtkMRMLSegmentationDisplayNode) -> None:
    """Show outlines alone where there are reasons, unless it is shown apart."""
    if display.GetAttribute(_OUTLINED) is not None:
        isOutlined, hadOutline = display.GetAttribute(_BEFORE) is None, _outlined(display)[1]
        with slicer.util.NodeModify(display):
            display.SetVisibility2DFill(not isOutlined)
            display.SetVisibility2DOutline(isOutlined or hadOutline)


def _fill(display: slicer.vtkMRMLSegmentationDisplayNode) -> None:
    """Show it as before all reasons for outlines."""
    _reasons, hadOutline = _outlined(display)
    display.RemoveAttribute(_OUTLINED)
    with slicer.util.NodeModify(display):
        display.SetVisibility2DFill(True)
        display.SetVisibility2DOutline(hadOutline)


def _restrict(display: slicer.vtkMRMLDisplayNode, identifiers: list[str]) -> None:
    """Show it in these views alone; without any, in all."""
    display.RemoveAllViewNodeIDs()
    for identifier in identifiers:
        display.AddViewNodeID(identifier)


def _displays(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSegmentationDisplayNode]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationDisplayNode")
    return [scene.GetNthNodeByClass(n, "vtkMRMLSegmentationDisplayNode") for n in range(count)]
