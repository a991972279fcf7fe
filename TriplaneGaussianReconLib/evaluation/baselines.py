"""Baselines: the ways of filling slices that a user could pick today, to measure against.

Each is an `Interpolator`.  To add one, write its function and enter it in `IMAGE_METHODS` or `LABEL_METHODS`.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError, ReconstructionError
from .safe_start import safe_start

# Called with:
#   positions: (P,) ascending positions of the slices, at least two, any gaps, in one unit with `targets`.
#   slices: [P, row, column], float32 intensities or integer labels.
#   targets: (T,) positions to fill; before the first and behind the last slice, that slice is repeated.
# Returns [T, row, column], float32 or the labels' type.  Raises InputError for fewer than two slices, or positions that
# do not ascend.
Interpolator = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

_ABSENT = -4.0  # pixels, the signed distance to a label on a slice without it, so that it ends on the way there


def nearest(positions: np.ndarray, slices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Copy the nearest slice, the earlier one where two are equally near; for intensities and labels."""
    positions, targets = _checked(positions, slices, targets)
    return slices[np.abs(targets[:, None] - positions).argmin(1)]


def linear(positions: np.ndarray, slices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Blend the two neighbouring slices by distance."""
    positions, targets = _checked(positions, slices, targets)
    filled = np.empty((len(targets), *slices.shape[1:]), np.float32)
    for number, position in enumerate(targets):
        filled[number] = _blend(positions, slices, position)
    return filled


def cubic(positions: np.ndarray, slices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Cubic spline through each pixel's values."""
    from scipy.interpolate import CubicSpline

    positions, targets = _checked(positions, slices, targets)
    return CubicSpline(positions, slices, axis=0)(targets).astype(np.float32)


def pchip(positions: np.ndarray, slices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Monotone piecewise cubic through each pixel's values: no overshoot."""
    from scipy.interpolate import PchipInterpolator

    positions, targets = _checked(positions, slices, targets)
    return PchipInterpolator(positions, slices, axis=0)(targets).astype(np.float32)


def flow(positions: np.ndarray, slices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Warp both neighbours along the optical flow between them and blend: registration-based interpolation.

    The flow's weights are set for intensities in [0, 1].
    """
    from scipy.ndimage import map_coordinates

    positions, targets = _checked(positions, slices, targets)
    pixels = np.stack(np.meshgrid(*map(np.arange, slices.shape[1:]), indexing="ij")).astype(np.float32)
    shifts: dict[int, np.ndarray] = {}
    filled = np.empty((len(targets), *slices.shape[1:]), np.float32)
    for number, position in enumerate(targets):
        first, share = _gap(positions, position)
        if share in (0.0, 1.0):
            filled[number] = slices[first + int(share)]
            continue
        if first not in shifts:
            shifts[first] = _half_flow(slices[first], slices[first + 1])
        shift = shifts[first]
        before = map_coordinates(slices[first], pixels - share * shift, order=3, mode="nearest")
        after = map_coordinates(slices[first + 1], pixels + (1 - share) * shift, order=3, mode="nearest")
        filled[number] = (1 - share) * before + share * after
    return filled


def shape(positions: np.ndarray, slices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Shape-based interpolation: each label's signed distance (pixels) is blended linearly, the largest wins."""
    positions, targets = _checked(positions, slices, targets)
    filled = np.zeros((len(targets), *slices.shape[1:]), slices.dtype)
    best = np.full(filled.shape, -np.inf)
    for label in np.unique(slices):
        distances = [signed_distance(mask) for mask in slices == label]
        for number, position in enumerate(targets):
            distance = _blend(positions, distances, position)
            filled[number][distance > best[number]] = label
            np.maximum(best[number], distance, out=best[number])
    return filled


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Signed Euclidean distance (pixels) to the border of a mask [row, column], positive inside."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return np.full(mask.shape, _ABSENT)
    return distance_transform_edt(mask) - distance_transform_edt(~mask)


def contour(positions: np.ndarray, slices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Morphological contour interpolation, the algorithm behind 'Fill between slices'; positions count by their rank.

    Runs in a process of its own, since some ITK builds abort when the process that ran it ends.

    Raises:
        ReconstructionError: The package is missing, or crashed.
        InputError: A slice lies at none of the targets.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            with safe_start():
                interpolated = pool.submit(contour_in_this_process, positions, slices, targets)
            return interpolated.result()
    except BrokenProcessPool:
        raise ReconstructionError("Contour interpolation crashed in its process. Leave this method out.") from None


def contour_in_this_process(positions: np.ndarray, slices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """As `contour`, for a caller that can afford to lose its process at the end."""
    positions, targets = _checked(positions, slices, targets)
    levels, level_of = np.unique(targets, return_inverse=True)
    if not np.isin(positions, levels).all():
        raise InputError("Contour interpolation fills whole slices: every given slice must lie at a position to fill.")
    try:
        import itk

        interpolate = itk.morphological_contour_interpolator
    except (ImportError, AttributeError):
        raise ReconstructionError("Contour interpolation needs the package itk-morphologicalcontourinterpolation. "
                                  "Install it, or leave this method out.") from None
    # ITK takes few integer types, so the labels travel as their ranks; background is rank 0 whether it occurs or not.
    values = np.unique(np.append(slices.ravel(), slices.dtype.type(0)))
    if values[0] < 0:
        raise InputError("Contour interpolation needs labels that are not negative.")
    sparse = np.zeros((len(levels), *slices.shape[1:]), np.uint8 if len(values) <= 256 else np.uint16)
    sparse[np.searchsorted(levels, positions)] = np.searchsorted(values, slices)
    filled = itk.array_from_image(interpolate(itk.image_from_array(sparse), axis=2))
    return values[filled[level_of]]


IMAGE_METHODS: dict[str, Interpolator] = {"nearest": nearest, "linear": linear, "cubic": cubic, "pchip": pchip,
                                          "flow": flow}
LABEL_METHODS: dict[str, Interpolator] = {"nearest": nearest, "shape": shape, "contour": contour}


def _half_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Symmetric TV-L1 displacement (2, rows, columns), in pixels, that carries `first` onto `second`."""
    from skimage.registration import optical_flow_tvl1

    settings = {"attachment": 10, "tightness": 0.3, "num_warp": 5, "num_iter": 10}
    return 0.5 * (optical_flow_tvl1(first, second, **settings) - optical_flow_tvl1(second, first, **settings))


def _gap(positions: np.ndarray, position: float) -> tuple[int, float]:
    """Return the number of the slice before `position`, and where in the gap `position` lies (0 to 1)."""
    first = int(np.clip(np.searchsorted(positions, position, side="right") - 1, 0, len(positions) - 2))
    return first, float((position - positions[first]) / (positions[first + 1] - positions[first]))


def _blend(positions: np.ndarray, values: Sequence[np.ndarray] | np.ndarray, position: float) -> np.ndarray:
    """Return the linear blend, at `position`, of the two (rows, columns) arrays among `values` around it."""
    first, _ = _gap(positions, position)
    slope = (values[first + 1] - values[first]) / (positions[first + 1] - positions[first])
    return values[first] + slope * (position - positions[first])


def _checked(positions: np.ndarray, slices: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both kinds of position as float64, the targets no further out than the slices reach."""
    positions, targets = np.asarray(positions, np.float64), np.asarray(targets, np.float64)
    if len(positions) < 2 or positions.shape != slices.shape[:1] or not (np.diff(positions) > 0).all():
        raise InputError(f"Interpolation needs at least two slices at ascending positions, not {len(slices)} slices at "
                         f"{len(positions)} positions.")
    return positions, np.clip(targets, positions[0], positions[-1])
