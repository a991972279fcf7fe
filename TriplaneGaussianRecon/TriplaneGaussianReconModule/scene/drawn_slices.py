"""On which slices of a volume which segments are drawn."""
from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import slicer

from TriplaneGaussianReconLib.data.geometry import Axis
from TriplaneGaussianReconLib.data.label_slices import segments_on_slices

from .nodes import gridOf, readSegmentation, transformBetween


def presenceOf(volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode,
               segmentIDs: Sequence[str], axis: Axis) -> Generator[None, None, np.ndarray]:
    """Find which segments each slice along `axis` carries, a piece at a time.

    Returns:
        bool (slice, segment), of the segments that have a voxel in the volume.

    Raises:
        InputError: None has.
    """
    segmentation, _notes = yield from readSegmentation(gridOf(volumeNode), segmentationNode, segmentIDs,
                                                       transformBetween(segmentationNode, volumeNode))
    return (yield from segments_on_slices(segmentation, axis))
