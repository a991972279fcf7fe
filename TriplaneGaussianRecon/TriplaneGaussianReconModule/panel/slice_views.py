"""Slices of a volume in the slice views of Slicer."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid
from TriplaneGaussianReconLib.errors import InputError

from ..scene.nodes import TO_LPS, gridOf

_STRAIGHT = 0.999999  # cosine of an angle below which a view is not tilted against slices
_STEPS = 20  # of Newton's method; one is enough unless a parent transform bends the volume


def shownSlice(volumeNode: slicer.vtkMRMLScalarVolumeNode, axis: Axis) -> tuple[int, str]:
    """Return the slice of a volume that a slice view shows, and the name of that view.

    The view is the one that looks most nearly along the axis. Where it is tilted against the slices, its slice is the
    one at which it crosses the line through the middles of the slices.

    Raises:
        InputError: No view looks along the axis, or the view does not cross the volume.
    """
    grid, number = gridOf(volumeNode), AXES.index(axis)
    view, _cosine = _viewAlong(volumeNode, grid, axis)
    index = _crossing(volumeNode, grid, number, *_plane(view))
    if not -0.5 <= index <= grid.count(axis) - 0.5:
        raise InputError(_("The slice view {view} does not show the volume. Scroll to the slice first."
                           ).format(view=view.GetName()))
    return int(np.clip(np.floor(index + 0.5), 0, grid.count(axis) - 1)), view.GetName()


def turnToSlices(volumeNode: slicer.vtkMRMLScalarVolumeNode, axis: Axis) -> bool:
    """Turn the view of `shownSlice` to the slice that it shows, if it is tilted; return whether that turned it.

    Slices of a sheared volume may have no view along them: it is turned as far as may be, and once.  No plane lies
    along slices that a transform bends, so that the view of those stays as it is.

    Raises:
        InputError: As `shownSlice`; the view stays as it is.
    """
    index, _name = shownSlice(volumeNode, axis)
    view, cosine = _viewAlong(volumeNode, gridOf(volumeNode), axis)
    parent = volumeNode.GetParentTransformNode()
    if cosine >= _STRAIGHT or parent is not None and not parent.IsTransformToWorldLinear():
        return False
    normal = _plane(view)[1]
    showSlice(volumeNode, axis, index)
    return bool(abs(normal @ _plane(view)[1]) < _STRAIGHT)


def showSlice(volumeNode: slicer.vtkMRMLScalarVolumeNode, axis: Axis, index: int) -> str:
    """Let a slice view show a slice of a volume, and return the name of that view.

    The view is the one that looks most nearly along the axis; where it is tilted against the slices it is turned to
    them.  The other views stay as they are.

    Raises:
        InputError: No view looks along the axis.
    """
    grid = gridOf(volumeNode)
    view, cosine = _viewAlong(volumeNode, grid, axis)
    if cosine < _STRAIGHT:
        view.RotateToVolumePlane(volumeNode)
    ijk = (np.array(grid.shape[::-1]) - 1) / 2.0
    ijk[AXES.index(axis)] = index
    view.JumpSliceByOffsetting(*_world(volumeNode, grid, ijk))
    return str(view.GetName())


def mappedViews() -> list[slicer.vtkMRMLSliceNode]:
    """The slice views of the current layout."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode") if node.IsMappedInLayout()]


def worldGrid(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Grid:
    """The grid of a volume under its parent transform; one that bends is made linear at the volume's middle."""
    grid = gridOf(volumeNode)
    middle = (np.array(grid.shape[::-1]) - 1) / 2.0
    steps = TO_LPS @ np.stack([_world(volumeNode, grid, middle + 0.5 * unit)
                              - _world(volumeNode, grid, middle - 0.5 * unit) for unit in np.eye(3)], axis=1)
    spacing = np.linalg.norm(steps, axis=0)
    origin = TO_LPS @ _world(volumeNode, grid, middle) - steps @ middle
    return replace(grid, origin=tuple(origin), spacing=tuple(spacing), direction=tuple(map(tuple, steps / spacing)))


def _viewAlong(volumeNode: slicer.vtkMRMLScalarVolumeNode, grid: Grid, axis: Axis
               ) -> tuple[slicer.vtkMRMLSliceNode, float]:
    """The view that looks most nearly along an axis, and the cosine of the angle; raises InputError if none does."""
    middle, half = (np.array(grid.shape[::-1]) - 1) / 2.0, 0.5 * np.eye(3)[AXES.index(axis)]
    step = _world(volumeNode, grid, middle + half) - _world(volumeNode, grid, middle - half)
    views = [(abs(_plane(node)[1] @ step) / np.linalg.norm(step), node) for node in mappedViews()]
    cosine, view = max(views, key=lambda found: found[0], default=(0.0, None))
    if view is None or cosine < np.cos(np.deg2rad(45.0)):
        raise InputError(_("No slice view shows slices along axis {axis}. Choose a layout with such a view."
                           ).format(axis=axis.upper()))
    return view, cosine


def _plane(sliceNode: slicer.vtkMRMLSliceNode) -> tuple[np.ndarray, np.ndarray]:
    """A point of the plane of a slice view, and its unit normal; mm RAS."""
    matrix = slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceToRAS())
    return matrix[:3, 3], matrix[:3, 2] / np.linalg.norm(matrix[:3, 2])


def _world(volumeNode: slicer.vtkMRMLScalarVolumeNode, grid: Grid, ijk: np.ndarray) -> np.ndarray:
    """Where a voxel is, mm RAS, under the volume's parent transform."""
    point = [0.0] * 3
    volumeNode.TransformPointToWorld(list(TO_LPS @ grid.index_to_physical(ijk)), point)
    return np.array(point)


def _crossing(volumeNode: slicer.vtkMRMLScalarVolumeNode, grid: Grid, number: int, point: np.ndarray,
              normal: np.ndarray) -> float:
    """Index along an axis at which a plane crosses the line through the middles of the slices."""
    ijk = (np.array(grid.shape[::-1]) - 1) / 2.0
    for _step in range(_STEPS):
        here = _world(volumeNode, grid, ijk)
        slope = (_world(volumeNode, grid, ijk + 0.5 * np.eye(3)[number]) - here) @ normal / 0.5
        ijk[number] += (point - here) @ normal / slope
    return float(ijk[number])
