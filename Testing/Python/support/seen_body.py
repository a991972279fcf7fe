"""A smooth random body, what thick stacks across each axis see of it, and how near a solution comes to it."""
from __future__ import annotations

from functools import cache
from math import log10

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor

from TriplaneGaussianReconLib.data.geometry import AXES, Grid
from TriplaneGaussianReconLib.data.slice_profile import ProfileGaussians, profile_depths
from TriplaneGaussianReconLib.fitting.stack_view import MatrixView, SeenStack, Sight
from TriplaneGaussianReconLib.gaussians.lattice import Lattice

SHAPE, THICKNESS = (24, 24, 24), 4.0
LATTICE = Lattice(SHAPE, pitch=1.0, sigma=0.45, cutoff=9.0)


def quiet(_: int, __: int, ___: float | None = None, /) -> None:
    """Tell nobody."""


@cache
def body() -> np.ndarray:
    """[k, j, i] float32 in [0, 1]."""
    image = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 1.5)
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


@cache
def sights(noise: float = 0.0) -> list[Sight]:
    """Contiguous thick slices across each axis; sampled from the body, not drawn by Gaussians."""
    found, random = [], np.random.default_rng(0)
    for axis in AXES:
        planes = Grid(SHAPE).planes(axis, np.arange(1.5, 24, THICKNESS))
        pixels = sum(share * map_coordinates(body(), (planes.points() + depth * planes.normal).T[::-1], order=3,
                                             mode="nearest").T
                     for depth, share in zip(*profile_depths(THICKNESS, "gaussian", 17), strict=True))
        image = torch.from_numpy((pixels + random.normal(0.0, noise, planes.shape)).astype(np.float32))
        profile = ProfileGaussians.of("gaussian", THICKNESS, 1.0)
        found.append(Sight.of(MatrixView(SeenStack(planes, image, torch.ones_like(image), profile), LATTICE)))
    return found


def psnr(image: Tensor) -> float:
    """dB, of what has a range of 1."""
    return -10.0 * log10(float(((image - torch.from_numpy(body())) ** 2).mean()))
