"""Small volumes for files of all kinds."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import DTypeLike

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.io.readers import read_image

FORMATS = ("nrrd", "nii.gz", "nii", "mha", "npz")


def rotation(a: float, b: float, c: float) -> np.ndarray:
    return np.reshape(sitk.Euler3DTransform((0, 0, 0), a, b, c).GetMatrix(), (3, 3))


DIRECTIONS = {
    "identity": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([1.0, 1.0, -1.0]),
    "sagittal": np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "oblique": rotation(0.3, -0.2, 0.5),
}


def make_grid(name: str = "oblique", shape: tuple[int, int, int] = (4, 5, 6)) -> Grid:
    return Grid(shape, (-31.5, 12.25, 104.0), (0.7, 0.9, 3.3), tuple(map(tuple, DIRECTIONS[name])))


def voxels(dtype: DTypeLike = np.int16, shape: tuple[int, ...] = (4, 5, 6)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def assert_same_place(one: Grid, other: Grid) -> None:
    assert one.shape == other.shape
    np.testing.assert_allclose(one.origin, other.origin, atol=1e-4)
    np.testing.assert_allclose(one.spacing, other.spacing, rtol=1e-6)
    np.testing.assert_allclose(one.direction, other.direction, atol=1e-6)


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_image(path)
    for word in (str(path), *words):
        assert word in str(caught.value)
