"""Baselines that fill labels with the image at hand, which is known on every slice.

Each is a `GuidedInterpolator`.  To add one, write its function and enter it in `GUIDED_METHODS`.  Packages are imported
where they are used, so that the memory of the other methods is their own.
"""
from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ..config.registration import FlowConfig
from ..errors import InputError, MissingPackageError
from .baselines import nearest, signed_distance

# Called with:
#   image: [slice, row, column], float32 in [0, 1], all slices.
#   labelled: (S,) ascending numbers of the slices that carry labels, at least two.
#   labels: [S, row, column], integer, of these slices.
# Returns [slice, row, column], the labels' type.  Raises InputError for fewer than two slices.
GuidedInterpolator = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

MOST_WALKED = 12  # labels, for each of which the random walker solves a system of equations as large as the volume
_STEEPNESS = 300  # how much a difference of intensity holds the random walker up; `beta` of scikit-image
_TOLERANCE = 1e-2  # of its solver
_NO_START = np.empty(0, np.float32)  # for the optical flow; zeros would count as a flow to start from


def propagated(image: np.ndarray, labelled: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Carry signed distances from slice to slice along the image's optical flow, from both sides, blended by distance.

    Beyond the first and the last labelled slice, that slice is repeated.
    """
    from ..runtime.threads import serial_opencv

    filled = nearest(labelled, labels, np.arange(len(image)))
    grey = np.round(255 * image).astype(np.uint8)
    with serial_opencv():
        for number, (first, last) in enumerate(pairwise(labelled.tolist())):
            filled[first + 1:last] = _across(grey[first:last + 1], labels[number], labels[number + 1])
    return filled


def random_walker(image: np.ndarray, labelled: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Random walks from each voxel through the image: the label that they most often meet first (Grady 2006).

    The labelled slices are the seeds, which is what growing from seeds amounts to.

    Raises:
        InputError: There are more than `MOST_WALKED` labels.
        MissingPackageError: scikit-image is not installed.
    """
    values = np.unique(labels)
    count = int(np.count_nonzero(values))
    if count > MOST_WALKED:
        raise InputError(f"it is for {MOST_WALKED} labels at most, as its time and memory grow with their number; here "
                         f"are {count}")
    if len(values) == 1:
        return np.full(image.shape, values[0])
    try:
        from skimage import segmentation
    except ImportError:
        raise MissingPackageError("The random walker needs scikit-image. Install it with 'pip install scikit-image', "
                                  "or leave this method out.") from None
    seeds = np.zeros(image.shape, np.int32)
    seeds[labelled] = np.searchsorted(values, labels) + 1
    walked = segmentation.random_walker(image, seeds, beta=_STEEPNESS, mode="cg_j", tol=_TOLERANCE, prob_tol=np.inf)
    return values[walked - 1]


GUIDED_METHODS: dict[str, GuidedInterpolator] = {"propagated": propagated, "random walker": random_walker}


def _across(grey: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The labels [slice, row, column] between the first and the last slice of `grey`, whose labels are given."""
    from scipy.ndimage import map_coordinates

    values, gap = np.union1d(before, after), len(grey) - 1
    ends = [np.stack([signed_distance(labels == value) for value in values]).astype(np.float32)
            for labels in (before, after)]
    ways = zip(_origins(grey), _origins(grey[::-1])[::-1], strict=True)
    filled = np.empty((gap - 1, *before.shape), before.dtype)
    for number, origins in enumerate(ways, start=1):
        carried = [np.stack([map_coordinates(distance, origin, order=1, mode="nearest") for distance in distances])
                   for distances, origin in zip(ends, origins, strict=True)]
        shares = (gap - number) / gap, number / gap
        filled[number - 1] = values[np.argmax(shares[0] * carried[0] + shares[1] * carried[1], axis=0)]
    return filled


def _origins(grey: np.ndarray) -> list[np.ndarray]:
    """For each slice but the first and the last: where on the first its pixels come from, (2, rows, columns) each.

    Nothing is taken to move on slices that are too small for the optical flow.
    """
    import cv2
    from scipy.ndimage import map_coordinates

    pixels = np.stack(np.meshgrid(*map(np.arange, grey.shape[1:]), indexing="ij")).astype(np.float32)
    if min(grey.shape[1:]) < FlowConfig().smallest_side:
        return [pixels] * (len(grey) - 2)
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    origins = [pixels]
    for former, here in pairwise(grey[:-1]):
        flow = estimator.calc(here, former, _NO_START)  # along columns and along rows
        step = pixels + np.moveaxis(flow[..., ::-1], 2, 0)
        origins.append(np.stack([map_coordinates(one, step, order=1, mode="nearest") for one in origins[-1]]))
    return origins[1:]
