"""Rigid motion as a matrix."""
from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError

_ROUNDING = 1e-3  # by which the axes may miss right angles and unit length: people write matrices with few digits


def rigid(matrix: ArrayLike) -> np.ndarray:
    """Return a rigid matrix (4, 4), its rotation brought to right angles and unit length to the last digit.

    Args:
        matrix: (4, 4) numbers that carry points (x, y, z, 1) in LPS mm.

    Raises:
        InputError: the matrix is no rotation followed by a shift.

    Example:
        >>> rigid([[0, -1, 0, 5], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])[:3, 3].tolist()
        [5.0, 0.0, 0.0]
    """
    try:
        found = np.asarray(matrix, np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (4, 4) or not np.isfinite(found).all():
        raise InputError("A rigid motion is a matrix of 4 rows with 4 numbers each. Correct it.")
    axes = found[:3, :3]
    if np.abs(axes.T @ axes - np.eye(3)).max() > _ROUNDING or np.abs(found[3] - (0, 0, 0, 1)).max() > _ROUNDING:
        raise InputError("The motion is not rigid: its matrix scales or shears. Give a rotation and a shift alone.")
    if np.linalg.det(axes) < 0:
        raise InputError("The motion is not rigid: its matrix mirrors. Give a rotation and a shift alone.")
    left, _, right = np.linalg.svd(axes)
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = left @ right, found[:3, 3]
    return result
