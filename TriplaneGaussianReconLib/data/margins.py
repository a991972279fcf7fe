"""Constant margins: what surrounds the field of view of a scanner, or slices that were cut out of a turned volume.

Files often do not say that such pixels hold no data.  One value all around tells nothing by itself, since air may have
one value, too.  But the outline of a body changes from slice to slice and is round; that of a field of view does not
change, and what was cut out of a turned volume is convex with flat faces.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from .geometry import Axis, array_axis
from .images import Image
from .selection import Selection

_LEAST = 0.01  # share of the pixels that a margin takes
_SAME = 0.98  # share of the pixels ever inside that are inside on every slice, where the outline does not change
_FLAT = 0.98  # share of the outline that lies on a few planes
_FACES = 8  # planes, at most: a box has six
_OFF = 1.5  # pixels from a face, at most
_POINTS = 4000  # of the outline that are looked at
_SMALLEST = 12.0  # pixels across; what is smaller may be round and seem flat


def with_margin_told(image: Image, axis: Axis, used: Selection) -> Image:
    """Return an image whose padding is the value of its margin, where it has one and nothing was said of padding.

    Args:
        image: The volume.
        axis: Along which its slices lie.
        used: Which of them are looked at; the others stay as they are.
    """
    if image.padding is not None:
        return image
    dimension, indices = array_axis(axis), list(used.indices)
    slices = np.moveaxis(np.take(image.array, indices, dimension), dimension, 0)
    found = margin_of(slices)
    if found is None:
        return image
    value, covered = found
    array = image.array.copy()
    np.moveaxis(array, dimension, 0)[indices] = np.where(covered, array.dtype.type(value), slices)
    return replace(image, array=array, padding=value)


def margin_of(pixels: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Find a margin that holds no data.

    Args:
        pixels: [plane, row, column].

    Returns:
        Its value, and bool like `pixels`, which of them it covers, with the pixels next to it, which may be mixed with
        it; None where there is no margin.

    Example:
        >>> rows, columns = np.indices((64, 64)) - 31.5
        >>> scan = np.random.default_rng(0).normal(size=(9, 64, 64))
        >>> margin_of(scan) is None
        True
        >>> scan[:, rows ** 2 + columns ** 2 > 32 ** 2] = -2000.0
        >>> margin_of(scan)[0]
        -2000.0
    """
    from scipy.ndimage import binary_erosion, binary_fill_holes

    border = np.concatenate([edge.ravel() for edge in (pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1])])
    values, counts = np.unique(border, return_counts=True)
    value = values[counts.argmax()]
    if (pixels == value).mean() < _LEAST:
        return None
    inside = np.stack([binary_fill_holes(plane != value) for plane in pixels])
    if not inside.any() or inside.mean() > 1.0 - _LEAST or not (_is_straight(inside) or _is_flat(inside)):
        return None
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)[None]
    return float(value), ~binary_erosion(inside, cross, border_value=True)


def _is_straight(inside: np.ndarray) -> bool:
    """Whether the outline is the same on all slices that have one."""
    shown = inside[inside.any(axis=(1, 2))]
    return len(shown) > 1 and bool(shown.all(axis=0).sum() >= _SAME * shown.any(axis=0).sum())


def _is_flat(inside: np.ndarray) -> bool:
    """Whether the outline is convex, on a few planes."""
    from scipy.ndimage import binary_erosion
    from scipy.spatial import ConvexHull, QhullError

    core = binary_erosion(inside, np.ones((1, 3, 3), bool), border_value=True)
    outline = np.argwhere(inside & ~core).astype(float)
    extent = np.ptp(outline, axis=0)
    if extent[0] < 2 or extent[1:].min() < _SMALLEST:
        return False
    outline = outline[::len(outline) // _POINTS + 1]
    try:
        faces = ConvexHull(outline).equations
    except QhullError:  # all lies on one plane
        return True
    faces = faces[np.linalg.norm(faces[:, 1:3], axis=1) > 1e-3]  # else a slice itself
    off = np.abs(faces[:, :3] @ outline.T + faces[:, 3:]) / np.linalg.norm(faces[:, 1:3], axis=1, keepdims=True)
    near, left = off < _OFF, np.ones(len(outline), bool)
    for _ in range(_FACES):
        left &= ~near[(near & left).sum(axis=1).argmax()]
    return bool(left.mean() <= 1.0 - _FLAT)
