"""Which segmentation belongs to a volume, and whether one lies on its voxels."""
from __future__ import annotations

import slicer

from .nodes import gridOf, isOnVoxels, transformBetween
from .tidying import ROLE


def drawnOn(segmentationNode: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLNode | None:
    """The volume that a segmentation was drawn on, as the Segment Editor notes it; None where nothing tells."""
    return segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())


def segmentationOf(volumeNode: slicer.vtkMRMLScalarVolumeNode, preferred: slicer.vtkMRMLSegmentationNode | None
                   ) -> slicer.vtkMRMLSegmentationNode | None:
    """The segmentation that belongs to a volume: one that was drawn on it, or else the only one beside it in its study
    or folder for which nothing tells what it was drawn on.  Results of a run belong to none.

    preferred: Where it is one of several.
    """
    every = [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
             if not node.GetHideFromEditors() and node.GetAttribute(ROLE) is None]
    drawn = [node for node in every if drawnOn(node) is volumeNode]
    beside = [node for node in every if drawnOn(node) is None and _areTogether(node, volumeNode)]
    found = drawn or (beside if len(beside) == 1 else [])
    return preferred if preferred in found else next(iter(found), None)


def isResampled(segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a segmentation lies on other voxels than a volume; raises InputError for a volume without voxels."""
    return not isOnVoxels(gridOf(volumeNode), segmentationNode, transformBetween(segmentationNode, volumeNode))


def _areTogether(first: slicer.vtkMRMLNode, second: slicer.vtkMRMLNode) -> bool:
    """Whether two nodes lie in one item of the subject hierarchy other than the scene, or one in the other."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    own, other = hierarchy.GetItemByDataNode(first), hierarchy.GetItemByDataNode(second)
    if not own or not other:
        return False
    parents = hierarchy.GetItemParent(own), hierarchy.GetItemParent(other)
    isInOne = parents[0] == parents[1] and parents[0] != hierarchy.GetSceneItemID()
    return isInOne or parents[0] == other or parents[1] == own
