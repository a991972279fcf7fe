"""SimpleITK's rigid registration of one image with another, from a place that is about right.

It looks for the most mutual information: a damaged slice hardly moves that, while it carries a correlation away.  It
computes on one thread, so that results repeat bit for bit.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..config.registration import StepConfig
from ..data.conversions import simpleitk, to_sitk
from ..data.geometry import Grid
from ..errors import is_lack
from .stack_image import StackImage

_BINS = 64  # of grey values; fewer are less exact
_USUAL = (0.1, 99.9)  # percentiles of the grey values
_ROOM = 0.5  # of the range between these, by which grey values may go beyond it


def aligned(image: StackImage, target: StackImage, matrix: np.ndarray, steps: StepConfig, unit: float, *,
            samples: int, seed: int) -> np.ndarray:
    """Move an image over another until each tells most of the other where both are known.

    Call it within `one_thread_and_quiet`.

    Args:
        image: what moves.
        target: what stays.
        matrix: (4, 4) LPS mm, carries `image` to about where `target` shows the same.
        steps: how to search.
        unit: mm, of their lengths.
        samples: at about so many places that are known of `image` both are compared at most.
        seed: decides which.

    Returns:
        (4, 4) rigid; `matrix` as it was where nothing that is known in both lies in one place.

    Raises:
        MissingPackageError: SimpleITK is not installed.
    """
    sitk = _simpleitk()
    transform = _transform(matrix, image.middle)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(to_sitk(image.known, image.grid))
    method.SetMetricMovingMask(to_sitk(target.known, target.grid))
    if image.known.sum() > samples:
        method.SetMetricSamplingStrategy(method.RANDOM)
        chance = seed % (2 ** 32 - 1) + 1  # 32 bits, and 0 would stand for the clock
        method.SetMetricSamplingPercentage(samples / float(image.known.sum()), chance)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(steps.first * unit, steps.last * unit, steps.most,
                                                    steps.shorter, gradientMagnitudeTolerance=1e-12)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(_clipped(image), _clipped(target))
    except RuntimeError as error:  # no voxel is known in both
        if is_lack(error):
            raise
        return matrix
    found = np.eye(4)
    found[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    found[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return found


def seen(target: StackImage, grid: Grid, matrix: np.ndarray) -> StackImage:
    """Return what lies of `target` where `matrix` carries a grid, linear between voxels."""
    sitk = _simpleitk()
    raster = sitk.Image(grid.size, sitk.sitkFloat32)
    raster.CopyInformation(to_sitk(np.empty(grid.shape, np.uint8), grid))
    transform = _transform(matrix, np.zeros(3))
    values = sitk.Resample(to_sitk(target.values, target.grid), raster, transform, sitk.sitkLinear, 0.0)
    known = sitk.Resample(to_sitk(target.known, target.grid), raster, transform, sitk.sitkNearestNeighbor, 0)
    return StackImage(sitk.GetArrayFromImage(values), sitk.GetArrayFromImage(known) > 0, grid)


def _clipped(image: StackImage) -> Any:
    """For SimpleITK, without the few values that would leave all others to one bin."""
    low, high = np.percentile(image.values[image.known], _USUAL)
    room = _ROOM * (high - low)
    return to_sitk(np.clip(image.values, low - room, high + room), image.grid)


def _simpleitk() -> Any:
    return simpleitk("Finding how several volumes lie needs", "choose the motion 'none'")


def _transform(matrix: np.ndarray, centre: np.ndarray) -> Any:
    """A rigid motion about `centre` (mm)."""
    transform = _simpleitk().Euler3DTransform()
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(matrix[:3, :3].ravel().tolist(), 1e-6)  # by how much it may be off a rotation
    transform.SetTranslation((matrix[:3, :3] @ centre + matrix[:3, 3] - centre).tolist())
    return transform


@contextmanager
def one_thread_and_quiet() -> Iterator[None]:
    """Let SimpleITK work on one thread at a time, and say nothing.

    Only what holds for the whole process keeps the metric to one thread, and ITK from telling of poor overlaps.
    """
    process = _simpleitk().ProcessObject
    threads, tells = process.GetGlobalDefaultNumberOfThreads(), process.GetGlobalWarningDisplay()
    process.SetGlobalDefaultNumberOfThreads(1)
    process.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        process.SetGlobalDefaultNumberOfThreads(threads)
        process.SetGlobalWarningDisplay(tells)
