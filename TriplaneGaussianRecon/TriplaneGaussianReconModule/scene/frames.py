"""Frames of a sequence: those to reconstruct, and the sequences of their results."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import slicer


@dataclass(frozen=True)
class Frame:
    """One volume to reconstruct.

    Attributes:
        proxy: The volume node that the user chose.
        segmentationProxy: The segmentation node that the user chose, if any.
        volume: The node with the voxels: `proxy`, or a data node of its sequence.
        segmentation: The node with the labels, likewise.
        value: Index value in the sequence; None without one.
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


def framesOf(volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode | None,
             isAll: bool = True) -> list[Frame]:
    """The frames of the sequence that is shown in a volume node, or the node itself if it shows none.

    A segmentation that the same browser shows goes through its frames as well; any other one counts for all frames.

    Args:
        volumeNode: Shows a frame.
        segmentationNode: Of the volume; None for none.
        isAll: Otherwise the node itself: what it shows now.
    """
    browser = browserOf(volumeNode)
    if browser is None or not isAll:
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
    """Sequences of results, filled frame by frame outside any scene; indexed like the one that `proxy` shows."""

    def __init__(self, browser: slicer.vtkMRMLSequenceBrowserNode, proxy: slicer.vtkMRMLScalarVolumeNode) -> None:
        self._browser, self._source = browser, browser.GetSequenceNode(proxy)
        self._sequences: dict[str, slicer.vtkMRMLSequenceNode] = {}

    def append(self, frame: Frame, nodes: Mapping[str, slicer.vtkMRMLNode]) -> None:
        """Copy the nodes that came of one frame; role -> node."""
        for role, node in nodes.items():
            if role not in self._sequences:
                sequence = self._sequences[role] = slicer.vtkMRMLSequenceNode()
                sequence.SetIndexName(self._source.GetIndexName())
                sequence.SetIndexUnit(self._source.GetIndexUnit())
                sequence.SetIndexType(self._source.GetIndexType())
            self._sequences[role].SetDataNodeAtValue(node, frame.value)

    def add(self, browser: slicer.vtkMRMLSequenceBrowserNode, proxies: Mapping[str, slicer.vtkMRMLNode]
            ) -> list[slicer.vtkMRMLSequenceNode]:
        """Put the sequences of these roles into the scene, shown by `browser` in the nodes `proxies` (role -> node).

        The browser is set to the frame and the pace of the one that shows the input.  Returns the sequences.
        """
        added = []
        for role, sequence in self._sequences.items():
            if role not in proxies:
                continue
            sequence.SetName(slicer.mrmlScene.GenerateUniqueName(f"{proxies[role].GetName()} sequence"))
            added.append(slicer.mrmlScene.AddNode(sequence))
            browser.AddProxyNode(proxies[role], sequence, False)
        browser.SetPlaybackRateFps(self._browser.GetPlaybackRateFps())
        browser.SetSelectedItemNumber(self._browser.GetSelectedItemNumber())
        return added
