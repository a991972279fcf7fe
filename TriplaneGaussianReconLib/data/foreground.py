"""What of a slice shows the body: that alone tells how well slices are filled, since anything fills air well."""
from __future__ import annotations

import numpy as np

_ENDS = (2.0, 98.0)  # percentiles, between which the range lies
_ABOVE = 0.05  # of the range, by which the body is brighter than what is around it
_ENOUGH = 10 ** 6  # pixels, of which percentiles are taken
_BLUR = 1.0  # pixels, standard deviation, so that noise in the air is not taken for something


def foreground(slices: np.ndarray) -> np.ndarray:
    """Tell what is brighter than what surrounds the body, with all that this encloses.

    The value that fills the outside of an ultrasound sweep or of a masked volume does not count for the range; air in
    CT and noise in MR lie below the threshold.  Where a scan shows the body alone, nearly all of it is foreground.

    Args:
        slices: [slice, row, column], any real type.

    Returns:
        bool, of the same shape.

    Example:
        >>> slice_ = np.zeros((1, 20, 20))
        >>> slice_[0, 5:15, 5:15] = 100.0
        >>> slice_[0, 9:11, 9:11] = 0.0
        >>> inside = foreground(slice_)
        >>> bool(inside[0, 10, 10]), bool(inside[0, 0, 0])
        (True, False)
    """
    import cv2

    counted = slices > slices.min()
    if not counted.any():
        return np.zeros(slices.shape, bool)
    # Raised to this, what fills the outside does not darken its surroundings.
    lowest = np.percentile(_some(slices[counted]), _ENDS[0])
    smooth = np.stack([cv2.GaussianBlur(np.maximum(one, lowest).astype(np.float32), (0, 0), _BLUR) for one in slices])
    low, high = np.percentile(_some(smooth[counted]), _ENDS)
    if not high > low:  # a body of one value
        return np.stack([_filled(one) for one in counted])
    return np.stack([_filled(one > low + _ABOVE * (high - low)) for one in smooth])


def _some(values: np.ndarray) -> np.ndarray:
    """Enough of many values (n,) to tell their percentiles."""
    return values[::max(1, len(values) // _ENOUGH)]


def _filled(mask: np.ndarray) -> np.ndarray:
    """The mask [row, column] with its holes: what is not joined to the border of the image."""
    import cv2

    count, parts = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)
    is_outside = np.zeros(count, bool)
    is_outside[np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])] = True
    is_outside[0] = False  # the mask itself
    return ~is_outside[parts]
