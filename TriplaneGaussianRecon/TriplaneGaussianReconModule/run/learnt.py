"""What runs learnt about labels, so that the next run on the same input goes on from it."""
from __future__ import annotations

from collections.abc import Sequence

import slicer
import vtk

from TriplaneGaussianReconLib.jobs.request import Request

from ..scene.frames import Frame

_Input = tuple[str, str | None, str | None]  # identifiers of volume and segmentation, and the frame's value
_Choices = tuple[object, ...]


class LearntLabels:
    """Keeps the label network of the last run on each input, in memory, while volume and segmentation are in the scene.

    A run with another preset, another seed, another region or other segments starts anew.  Whether the voxels are
    still those that it was learnt from is for the library to find out.
    """

    def __init__(self) -> None:
        self._kept: dict[_Input, tuple[_Choices, bytes]] = {}
        self._tag: int | None = None

    def of(self, frame: Frame, request: Request, segmentIDs: Sequence[str]) -> bytes | None:
        """Return the content of the file that the last run on this input left; None where it would be of no use."""
        choices, network = self._kept.get(_input(frame), (None, None))
        return network if choices == _choices(request, segmentIDs) else None

    def keep(self, frame: Frame, request: Request, segmentIDs: Sequence[str], network: bytes) -> None:
        """Keep what a run left, instead of what an earlier one did."""
        self._kept[_input(frame)] = _choices(request, segmentIDs), network
        if self._tag is None:
            self._tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onNodeRemoved)

    def forget(self) -> None:
        """Drop everything."""
        self._kept.clear()
        if self._tag is not None:
            slicer.mrmlScene.RemoveObserver(self._tag)
            self._tag = None

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeRemoved(self, scene: slicer.vtkMRMLScene, event: str, node: slicer.vtkMRMLNode) -> None:
        """Drop what belongs to a node that goes away, as all nodes do when the scene is closed."""
        for key in [key for key in self._kept if node is not None and node.GetID() in key[:2]]:
            del self._kept[key]


def _input(frame: Frame) -> _Input:
    return frame.proxy.GetID(), frame.segmentationProxy and frame.segmentationProxy.GetID(), frame.value


def _choices(request: Request, segmentIDs: Sequence[str]) -> _Choices:
    return request.preset, request.seed, request.region, *segmentIDs
