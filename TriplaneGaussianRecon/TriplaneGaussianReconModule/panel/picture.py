"""A slice as a picture, the way radiologists look at it."""
from __future__ import annotations

import numpy as np
import qt
import slicer

from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid

_LARGEST = 256  # pixels of the longer side of a picture on the panel


def pixmap(image: np.ndarray, grid: Grid, axis: Axis, window: tuple[float, float]) -> qt.QPixmap:
    """Return a slice as a picture.

    Args:
        image: [row, column], rows and columns in the order of [k, j, i].
        grid: Of the volume in world space, LPS.
        axis: Across which the slice lies.
        window: Values shown as black and as white.
    """
    upright, (height, width) = _upright(image, grid, axis)
    black, white = window
    grey = np.clip((upright - black) / max(white - black, 1e-12), 0.0, 1.0)
    pixels = np.rint(255.0 * np.nan_to_num(grey)).astype(np.uint8)
    made = qt.QPixmap()
    made.loadFromData(b"P5 %d %d 255\n" % pixels.shape[::-1] + pixels.tobytes(), "PGM")
    scale = _LARGEST / max(height, width)
    return made.scaled(max(1, round(width * scale)), max(1, round(height * scale)), qt.Qt.IgnoreAspectRatio,
                       qt.Qt.SmoothTransformation)


def windowOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> tuple[float, float]:
    """The values that a volume shows as black and as white."""
    display = volumeNode.GetScalarVolumeDisplayNode()
    if display is None:
        black, white = volumeNode.GetImageData().GetScalarRange()
        return black, white
    return display.GetWindowLevelMin(), display.GetWindowLevelMax()


def _upright(image: np.ndarray, grid: Grid, axis: Axis) -> tuple[np.ndarray, tuple[float, float]]:
    """Turn a slice the way it is looked at; returns it with its height and width in mm.

    The patient's left, or posterior, is on the right; anterior or superior is at the top.
    """
    column, row = (n for n in range(3) if n != AXES.index(axis))
    direction = np.array(grid.direction)
    nearest = np.abs(direction).argmax(axis=0)
    if nearest[column] > nearest[row]:
        image, column, row = image.T, row, column
    if direction[nearest[column], column] < 0:
        image = image[:, ::-1]
    if (direction[nearest[row], row] < 0) != (nearest[row] == 2):
        image = image[::-1]
    return image, (image.shape[0] * grid.spacing[row], image.shape[1] * grid.spacing[column])
