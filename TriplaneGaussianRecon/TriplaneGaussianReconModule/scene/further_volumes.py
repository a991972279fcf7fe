"""Further volumes of the body that a volume shows: where they lie in its coordinates, before and after a run."""
from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import RAS_TO_LPS, Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.errors import InputError

from .nodes import gridOf, imageOf, readSegmentation, segmentIDsOf, transformBetween


@dataclass(frozen=True, eq=False)  # arrays cannot be compared to one yes or no
class FurtherVolume:
    """A volume node, and how its own coordinates lie in those of the first volume.

    Attributes:
        node: The volume node.
        ownGrid: Its voxels in its own coordinates.
        toFirst: (4, 4) RAS mm, from the coordinates of `node`, without its parent transform, to those of the first.
        segmentation: Its labels, under any transforms; None without.
        isMoved: Whether a run has found `toFirst`; before, it follows from the parent transforms.
    """

    node: slicer.vtkMRMLScalarVolumeNode
    ownGrid: Grid
    toFirst: np.ndarray
    segmentation: slicer.vtkMRMLSegmentationNode | None = None
    isMoved: bool = False

    @classmethod
    def of(cls, node: slicer.vtkMRMLScalarVolumeNode, first: slicer.vtkMRMLScalarVolumeNode,
           segmentation: slicer.vtkMRMLSegmentationNode | None = None) -> FurtherVolume:
        """Look at both volume nodes.

        Raises:
            InputError: What lies between their parent transforms is not linear, or the node has no voxels.
        """
        transform = transformBetween(node, first)
        if transform is None:
            return cls(node, gridOf(node), np.eye(4), segmentation)
        if not transform.IsA("vtkLinearTransform"):
            raise InputError(_("'{name}' lies under a transform against '{first}' that is not linear. Take it out of "
                               "that transform, put both under it, or harden it: in the Data module, right-click and "
                               "'Harden transform'.").format(name=node.GetName(), first=first.GetName()))
        return cls(node, gridOf(node), slicer.util.arrayFromVTKMatrix(transform.GetMatrix()), segmentation)

    @property
    def grid(self) -> Grid:
        """Its voxels in the coordinates of the first volume."""
        matrix = RAS_TO_LPS @ self.toFirst @ RAS_TO_LPS @ self.ownGrid.ijk_to_lps
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        return Grid(self.ownGrid.shape, tuple(matrix[:3, 3]), tuple(spacing),
                    tuple(map(tuple, matrix[:3, :3] / spacing)))

    def image(self) -> Image:
        """The same with its values, not copied; raises InputError as `imageOf` does."""
        return Image(imageOf(self.node).array, self.grid)

    def labels(self) -> Generator[None, None, tuple[Segmentation | None, list[str]]]:
        """Its labels on the voxels of `image`, and what the user should know; as `readSegmentation` finds them.

        Segments have no identifiers: those of the first volume may be the same.
        """
        if self.segmentation is None:
            return None, []
        found, remarks = yield from readSegmentation(
            self.ownGrid, self.segmentation, segmentIDsOf(self.segmentation),
            transformBetween(self.segmentation, self.node))
        segments = tuple(replace(segment, identifier="") for segment in found.segments)
        return replace(found, segments=segments, grid=self.grid), remarks

    def moved(self, motion: np.ndarray) -> FurtherVolume:
        """Itself after a motion that was found: (4, 4) rigid, LPS mm, in the coordinates of the first volume."""
        return replace(self, toFirst=RAS_TO_LPS @ motion @ RAS_TO_LPS @ self.toFirst, isMoved=True)
