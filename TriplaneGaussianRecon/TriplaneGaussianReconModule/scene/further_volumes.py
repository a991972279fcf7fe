"""Further volumes of the body that a volume shows: where they lie in its coordinates, before and after a run."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import RAS_TO_LPS, Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.errors import InputError

from .nodes import gridOf, imageOf, transformBetween


@dataclass(frozen=True, eq=False)  # arrays cannot be compared to one yes or no
class FurtherVolume:
    """A volume node, and how its own coordinates lie in those of the first volume.

    Attributes:
        node: The volume node.
        ownGrid: Its voxels in its own coordinates.
        toFirst: (4, 4) RAS mm, from the coordinates of `node`, without its parent transform, to those of the first.
        isMoved: Whether a run has found `toFirst`; before, it follows from the parent transforms.
    """

    node: slicer.vtkMRMLScalarVolumeNode
    ownGrid: Grid
    toFirst: np.ndarray
    isMoved: bool = False

    @classmethod
    def of(cls, node: slicer.vtkMRMLScalarVolumeNode, first: slicer.vtkMRMLScalarVolumeNode) -> FurtherVolume:
        """Look at both nodes.

        Raises:
            InputError: What lies between their parent transforms is not linear, or the node has no voxels.
        """
        transform = transformBetween(node, first)
        if transform is None:
            return cls(node, gridOf(node), np.eye(4))
        if not transform.IsA("vtkLinearTransform"):
            raise InputError(_("'{name}' lies under a transform against '{first}' that is not linear. Take it out of "
                               "that transform, put both under it, or harden it: in the Data module, right-click and "
                               "'Harden transform'.").format(name=node.GetName(), first=first.GetName()))
        return cls(node, gridOf(node), slicer.util.arrayFromVTKMatrix(transform.GetMatrix()))

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

    def moved(self, motion: np.ndarray) -> FurtherVolume:
        """Itself after a motion that was found: (4, 4) rigid, LPS mm, in the coordinates of the first volume."""
        return replace(self, toFirst=RAS_TO_LPS @ motion @ RAS_TO_LPS @ self.toFirst, isMoved=True)
