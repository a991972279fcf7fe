"""A program that deletes a saved result while a slice view shows its segmentation; it fails if anything is left.

    python deleted_result.py saved|reloaded folder|node

The view is Slicer's own displayable manager in a window that is never opened; it crashes where a display node goes
away too early, which is why this is a program of its own.
"""
from __future__ import annotations

import faulthandler
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from rendered_views import RenderedView
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
from TriplaneGaussianReconModule.scene.tidying import ROLE

SHAPE = (9, 14, 16)


def opened_view(scene: Any) -> tuple[Any, RenderedView]:
    """The node of a slice view that shows segmentations, and what must be kept while it is there."""
    node = slicer.vtkMRMLSliceNode()
    node.SetSingletonTag("Red")  # it stays when the scene is closed, as views do
    node.SetLayoutName("Red")
    scene.AddNode(node)
    return node, RenderedView(node, ["vtkMRMLSegmentationsDisplayableManager2D"], (64, 64))


def results_by_role(scene: Any) -> dict[str, Any]:
    """The nodes that a run left in the scene."""
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    return {node.GetAttribute(ROLE): node for node in nodes if node.GetAttribute(ROLE)}


def parts_left(scene: Any) -> list[str]:
    """Identifiers of the display and storage nodes in the scene."""
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    return [node.GetID() for node in nodes if node.IsA("vtkMRMLStorageNode") or node.IsA("vtkMRMLDisplayNode")]


def reload(scene: Any, folder: Path) -> None:
    """Save the scene, close it, and load it again."""
    assert scene.WriteToMRB(str(folder / "scene.mrb"))
    scene.Clear(False)
    with zipfile.ZipFile(folder / "scene.mrb") as archive:
        archive.extractall(folder)
    scene.SetURL(str(next(folder.rglob("*.mrml"))))
    assert scene.Import(None)


def main(state: str, what: str, folder: Path) -> None:
    """Reconstruct, save, delete."""
    with pytest.MonkeyPatch.context() as patch, mrml.opened_scene(folder, patch) as scene:
        view, kept = opened_view(scene)
        volume = mrml.add_volume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE))
        mask = np.zeros(SHAPE, bool)
        mask[:, 3:9, 4:12] = True
        segmentation = mrml.add_segmentation(volume, {"liver": mask})
        for node in (volume, segmentation):
            node.AddDefaultStorageNode()
        TriplaneGaussianReconLogic(StandInWorkerProcess()).reconstruct(volume, segmentation)
        for node in results_by_role(scene).values():
            node.AddDefaultStorageNode()
        if state == "reloaded":
            reload(scene, folder)
            view.Modified()  # what was loaded is shown when the view is drawn next
        results, hierarchy = results_by_role(scene), scene.GetSubjectHierarchyNode()
        if what == "folder":
            hierarchy.RemoveItem(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(results["segmentation"])))
        for node in results.values():
            if node.GetScene() is not None:
                scene.RemoveNode(node)
        left = parts_left(scene)
        assert len(left) == 4, f"display and storage nodes of the input alone should be left: {left}"
        del kept


if __name__ == "__main__":
    faulthandler.enable()
    with TemporaryDirectory() as path:
        main(*sys.argv[1:], Path(path))
