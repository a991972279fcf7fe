"""Frames of a sequence: what is to be reconstructed one after another, and the sequences that come of it."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import slicer


@dataclass(frozen=True)
class Frame:
    """One volume to reconstruct.

    proxy, segmentationProxy: the nodes that the user chose.  volume, segmentation: those that hold the voxels, which
    are the same, or data nodes of sequences.  value: index value in the sequence, None if there is none.
    """

    proxy: slicer.vtkMRMLScalarVolumeNode
    segmentationProxy: slicer.vtkMRMLSegmentationNode | None
    volume: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode | None
    value: str | None = None


def browserOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSequenceBrowserNode | None:
    """The browser that shows a sequence of several items in this volume node, if there is one."""
    browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(volumeNode)
    if browser is None or browser.GetSequenceNode(volumeNode).GetNumberOfDataNodes() < 2:
        return None
    return browser


def framesOf(volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode | None
             ) -> list[Frame]:
    """The frames of the sequence that is shown in a volume node, or the node itself if it shows none.

    A segmentation that the same browser shows goes through its frames as well; any other one counts for all frames.
    """
    browser = browserOf(volumeNode)
    if browser is None:
        return [Frame(volumeNode, segmentationNode, volumeNode, segmentationNode)]
    volumes, labels = browser.GetSequenceNode(volumeNode), None
    if segmentationNode is not None and browser.IsProxyNodeID(segmentationNode.GetID()):
        labels = browser.GetSequenceNode(segmentationNode)
    found = []
    for number in range(volumes.GetNumberOfDataNodes()):
        value = volumes.GetNthIndexValue(number)
        segmentation = segmentationNode if labels is None else labels.GetDataNodeAtValue(value, False)
        found.append(Frame(volumeNode, segmentationNode, volumes.GetNthDataNode(number), segmentation, value))
    return found


class Sequences:
    """Sequences of results, filled frame by frame outside any scene, like the sequence `source`."""

    def __init__(self, source: slicer.vtkMRMLSequenceNode) -> None:
        self._source, self._sequences = source, dict[str, slicer.vtkMRMLSequenceNode]()

    def append(self, value: str, nodes: Mapping[str, slicer.vtkMRMLNode]) -> None:
        """Copy the nodes of one frame; role -> node."""
        for role, node in nodes.items():
            if role not in self._sequences:
                sequence = self._sequences[role] = slicer.vtkMRMLSequenceNode()
                sequence.SetIndexName(self._source.GetIndexName())
                sequence.SetIndexUnit(self._source.GetIndexUnit())
                sequence.SetIndexType(self._source.GetIndexType())
            self._sequences[role].SetDataNodeAtValue(node, value)

    def add(self, browser: slicer.vtkMRMLSequenceBrowserNode, proxies: Mapping[str, slicer.vtkMRMLNode]
            ) -> list[slicer.vtkMRMLSequenceNode]:
        """Put the sequences into the scene, shown by `browser` in the nodes `proxies` (role -> node)."""
        added = []
        for role, sequence in self._sequences.items():
            sequence.SetName(slicer.mrmlScene.GenerateUniqueName(f"{proxies[role].GetName()} sequence"))
            added.append(slicer.mrmlScene.AddNode(sequence))
            browser.AddProxyNode(proxies[role], sequence, False)
        return added
