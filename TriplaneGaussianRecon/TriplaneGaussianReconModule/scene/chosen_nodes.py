"""Nodes that the user has chosen to take a result, instead of new ones.

A chosen node keeps its name, its place in the subject hierarchy and its display node, and is none of those that are
removed with the results.
"""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError


@dataclass(frozen=True)
class ChosenNodes:
    """Which node takes the volume, and which the segmentation; None for a new one."""

    volume: slicer.vtkMRMLScalarVolumeNode | None = None
    segmentation: slicer.vtkMRMLSegmentationNode | None = None

    def check(self, inputs: Collection[slicer.vtkMRMLNode | None], hasSegmentation: bool, isSequence: bool) -> None:
        """Check what can be checked before anything starts.

        Args:
            inputs: What is reconstructed, which is never changed.
            hasSegmentation: Whether there will be a segmentation.
            isSequence: Whether there will be sequences instead of single nodes.

        Raises:
            InputError: A node cannot take the result.
        """
        if isSequence and (self.volume, self.segmentation) != (None, None):
            raise InputError(_("All frames of a sequence become a new sequence. Choose no output volume and no output "
                               "segmentation, or reconstruct the frame that is shown alone."))
        for node, kind in ((self.volume, "vtkMRMLScalarVolumeNode"), (self.segmentation, "vtkMRMLSegmentationNode")):
            if node is None:
                continue
            name = node.GetName()
            if node in inputs:
                raise InputError(_("'{name}' is an input, which is never changed. Choose another node for the output, "
                                   "or none, so that a new one is made.").format(name=name))
            if node.GetClassName() != kind:
                raise InputError(_("'{name}' cannot take the output: it is a {kind}. Choose a scalar volume for the "
                                   "volume, and a segmentation for the segmentation.").format(
                    name=name, kind=node.GetNodeTagName()))
        if self.segmentation is not None and not hasSegmentation:
            raise InputError(_("There is no segmentation to be filled, so nothing would come into '{name}'. Choose one "
                               "as input, or no output segmentation.").format(name=self.segmentation.GetName()))

    def there(self) -> dict[str, slicer.vtkMRMLDisplayableNode]:
        """Those that are in the scene still, by the role of what they take."""
        chosen = {"volume": self.volume, "segmentation": self.segmentation}
        return {role: node for role, node in chosen.items() if node is not None and node.GetScene() is not None}


NEW = ChosenNodes()  # all of them are new


class Former:
    """What a node held before it took a result; voxels and segments are shared, not copied."""

    def __init__(self, node: slicer.vtkMRMLDisplayableNode) -> None:
        """Look at the node."""
        self._node, self._transform, display = node, node.GetTransformNodeID(), node.GetDisplayNode()
        self._hasDisplay, self._segmentation = display is not None, None
        self._contents = [(display, _contentOf(display))] if display is not None else []
        if node.IsA("vtkMRMLSegmentationNode"):
            self._segmentation = node.GetSegmentation()
        else:
            self._contents.append((node, _contentOf(node)))

    def giveBack(self) -> None:
        """Let the node hold it again."""
        if not self._hasDisplay:
            self._node.SetAndObserveDisplayNodeID(None)
        if self._segmentation is not None:
            setSegmentation(self._node, self._segmentation)
        for node, content in self._contents:
            node.CopyContent(content, False)
        self._node.SetAndObserveTransformNodeID(self._transform)


def setSegmentation(node: slicer.vtkMRMLSegmentationNode, segmentation: slicer.vtkSegmentation) -> None:
    """Let a node have these segments instead of others, and tell so.

    The subject hierarchy does not listen to another vtkSegmentation, but lists all segments anew where it hears that
    one was added and not which.
    """
    node.SetAndObserveSegmentation(segmentation)
    node.StorableModified()
    node.InvokeEvent(slicer.vtkSegmentation.SegmentAdded)


def _contentOf(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLNode:
    """A node outside the scene with the same content."""
    copy = slicer.mrmlScene.CreateNodeByClass(node.GetClassName())
    copy.UnRegister(None)  # Python owns it now
    copy.CopyContent(node, False)
    return copy
