"""What is used of each further volume: as the logic is given it, and as the panel keeps it in a parameter node."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError

from ..scene.nodes import segmentIDsOf
from .request import slicesText

if TYPE_CHECKING:
    from .parameters import TriplaneGaussianReconParameterNode


@dataclass(frozen=True)
class FurtherSettings:
    """What is used of a further volume.

    Attributes:
        excludedSlices: Slices that are left out, such as 7,12,20-23, along the axis of the largest spacing; empty for
            none.
        segmentationNode: Its labels, of which all segments take part; None for none.
    """

    excludedSlices: str = ""
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> FurtherSettings:
        """Take them by their names; raises InputError for another name, slices that are none, or no segmentation."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise InputError(_("Of a further volume there is no choice '{name}'. Choose of {known}.").format(
                    name=name, known=", ".join(known)))
        found = cls(**{**given, "excludedSlices": slicesText(given.get("excludedSlices", ""))})
        if found.segmentationNode is not None:
            segmentIDsOf(found.segmentationNode)
        return found

    def told(self, name: str) -> str:
        """The name of the volume and what is used of it, as the provenance of results tells it."""
        parts = [f"without slices {self.excludedSlices}"] if self.excludedSlices.strip() else []
        parts += [f"labels of '{self.segmentationNode.GetName()}'"] if self.segmentationNode is not None else []
        return f"{name} ({'; '.join(parts)})" if parts else name


def settingsOf(parameters: TriplaneGaussianReconParameterNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
               ) -> FurtherSettings:
    """What was chosen for a volume, which need not be checked now."""
    return _kept(parameters).get(volumeNode, FurtherSettings())


def keepSettings(parameters: TriplaneGaussianReconParameterNode, volumeNode: slicer.vtkMRMLScalarVolumeNode,
                 settings: FurtherSettings) -> None:
    """Keep what was chosen for a volume, and forget volumes that are not in the scene any more."""
    kept = _kept(parameters) | {volumeNode: settings}
    kept = {node: each for node, each in kept.items() if each != FurtherSettings()}
    with slicer.util.NodeModify(parameters):
        parameters.settingsVolumes = list(kept)
        parameters.settingsExcluded = [each.excludedSlices for each in kept.values()]
        parameters.settingsSegmentations = [each.segmentationNode for each in kept.values()]


def _kept(parameters: TriplaneGaussianReconParameterNode
          ) -> dict[slicer.vtkMRMLScalarVolumeNode, FurtherSettings]:
    """All that was chosen, by the volume."""
    kept = zip(parameters.settingsVolumes, parameters.settingsExcluded, parameters.settingsSegmentations, strict=False)
    return {volume: FurtherSettings(excluded, segmentation if _isThere(segmentation) else None)
            for volume, excluded, segmentation in kept if _isThere(volume)}


def _isThere(node: slicer.vtkMRMLNode | None) -> bool:
    """Whether a node is in the scene; a parameter may hold None, or a node that was removed."""
    return node is not None and node.GetScene() is not None
