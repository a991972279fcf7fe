"""Which number type holds which voxels: fine enough for intensities, small enough for labels."""
from __future__ import annotations

import numpy as np

from ..errors import InputError

# So many values have a segmentation that is no scan for sure; and so many channels can be numbered.
_FEW_LABELS, _MOST_LABELS = 64, 30_000
_DIFFERING_SHARE = 0.5  # of neighbouring voxels; labels of a segmentation differ at their borders alone


def value_type(lowest: float, highest: float) -> np.dtype:
    """Return the type for intensities between `lowest` and `highest`.

    It is float32, unless that tells fewer than 65 536 values in this range apart: then float64.  Temperatures, times
    and phases may lie far from zero, and all that matters in a narrow range there.
    """
    step = float(np.spacing(np.float32(max(abs(lowest), abs(highest)))))
    return np.dtype(np.float32 if step * 2 ** 16 <= highest - lowest else np.float64)


def rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Return `slope * stored + intercept` in the type of `value_type`; `stored` itself where that changes nothing."""
    if (slope, intercept) == (1.0, 0.0):
        return stored
    array: np.ndarray = stored * np.float64(slope) + np.float64(intercept)
    finite = array[np.isfinite(array)]
    if stored.dtype == np.float64 or not len(finite):
        return array
    return array.astype(value_type(float(finite.min()), float(finite.max())), copy=False)


def whole_labels(labels: np.ndarray) -> np.ndarray:
    """Return `labels` of any shape as they are if their type is an integer of 32 bits at most, else in one that is.

    Raises:
        InputError: the labels are not whole numbers, or need more than 32 bits, which no file of labels holds.
    """
    if np.issubdtype(labels.dtype, np.integer) and labels.dtype.itemsize <= 4:
        return labels
    if not (np.isfinite(labels).all() and np.array_equal(labels, np.round(labels))):
        raise InputError("Labels must be whole numbers. Convert the label map to an integer type; a scan is no "
                         "segmentation, and probabilities need a threshold first.")
    return labels.astype(smallest_label_type(int(labels.min(initial=0)), int(labels.max(initial=0))))


def check_labels(labels: np.ndarray, values: np.ndarray) -> None:
    """Raise InputError for a scan in the place of labels.

    Args:
        labels: Of any shape, whole numbers.
        values: Those that occur.
    """
    if len(values) > _MOST_LABELS:
        raise InputError(f"There are {len(values)} different labels, and at most {_MOST_LABELS} can be told apart. "
                         "Give a segmentation, or merge labels.")
    if len(values) > _FEW_LABELS:
        one, other = labels[..., 1:], labels[..., :-1]
        inside = (one != 0) & (other != 0)
        if np.count_nonzero(inside & (one != other)) > _DIFFERING_SHARE * np.count_nonzero(inside):
            raise InputError(f"The labels have {len(values)} different values, and most voxels differ from their "
                             "neighbours: this is a scan rather than a segmentation. Give its segmentation.")


def smallest_label_type(lowest: int, highest: int) -> type[np.integer]:
    """Return the smallest integer type that holds labels from `lowest` to `highest`.

    Raises:
        InputError: they need more than 32 bits.
    """
    candidates = (np.uint8, np.uint16, np.uint32) if lowest >= 0 else (np.int16, np.int32)
    for candidate in candidates:
        if np.iinfo(candidate).min <= lowest and highest <= np.iinfo(candidate).max:
            return candidate
    raise InputError(f"Label values from {lowest} to {highest} need more than 32 bits. Number the labels anew.")
