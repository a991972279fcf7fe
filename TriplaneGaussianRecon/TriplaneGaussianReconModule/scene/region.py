"""A markups ROI as the part of a volume that is to be reconstructed, and a new one in the middle of a volume."""
from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.region import Region
from TriplaneGaussianReconLib.errors import InputError

from .nodes import TO_LPS, gridOf

_STEPS = 5  # points along each side of the box that are looked at: under a transform that bends, corners say too little


def regionOf(roiNode: slicer.vtkMRMLMarkupsROINode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Region:
    """Return the voxels of a volume that a box reaches into, each under its own transforms.

    A box that is turned against the volume means the box of voxels about it.

    Raises:
        InputError: The box has no size, or lies outside of the volume; or the volume has no voxels.
    """
    size, matrix = np.array(roiNode.GetSize()), slicer.util.arrayFromVTKMatrix(roiNode.GetObjectToNodeMatrix())
    if not size.all():
        raise InputError(_("The region '{name}' has no size yet. Draw it in a view, or choose another one.").format(
            name=roiNode.GetName()))
    side = np.linspace(-0.5, 0.5, _STEPS)
    own = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3) * size
    points = own @ matrix[:3, :3].T + matrix[:3, 3]
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(roiNode.GetParentTransformNode(),
                                                         volumeNode.GetParentTransformNode(), transform)
    return Region.about(np.array([transform.TransformPoint(point) for point in points]) @ TO_LPS, gridOf(volumeNode))


def placeIn(roiNode: slicer.vtkMRMLMarkupsROINode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Put a new box into the middle of a volume, along its axes, half as long as each of them; raises InputError for a
    volume without voxels.
    """
    grid, matrix, parent = gridOf(volumeNode), np.eye(4), volumeNode.GetParentTransformNode()
    middle = TO_LPS @ grid.index_to_physical((np.array(grid.size) - 1) / 2.0)
    if parent is None or parent.IsTransformToWorldLinear():
        roiNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        matrix[:3, :3] = TO_LPS @ np.array(grid.direction)
        if np.linalg.det(matrix[:3, :3]) < 0:
            matrix[:3, 2] *= -1.0  # boxes are right-handed
    else:  # Slicer bends no boxes
        volumeNode.TransformPointToWorld(middle.copy(), middle)
    matrix[:3, 3] = middle
    roiNode.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
    roiNode.SetSize(*(0.5 * np.array(grid.size) * grid.spacing))
    roiNode.CreateDefaultDisplayNodes()
    roiNode.GetDisplayNode().SetFillVisibility(False)  # which would hide what is behind it
    roiNode.GetDisplayNode().SetHandlesInteractive(True)
