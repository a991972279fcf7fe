"""A reconstruction to draw."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.model.model import Model
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction, reconstruct

SHAPE = (17, 40, 42)


@pytest.fixture(scope="package")
def result(textured: Callable[..., np.ndarray]) -> Reconstruction:
    """With a label that only touches one side; 24 mm deep."""
    volume, grid = 1000 * textured(SHAPE), Grid(SHAPE, spacing=(1.0, 1.0, 1.5))
    layers = np.zeros((1, *SHAPE), np.uint8)
    layers[0, :, :16, :16] = 5
    observations = Observations.from_volume(Image(volume, grid), {"k": Selection.every(17, 2)},
                                            Segmentation(layers, (Segment("five", 5),), grid))
    return reconstruct(observations, grid, device="cpu")


@pytest.fixture(scope="package")
def model(result: Reconstruction) -> Model:
    """What it draws."""
    return result.model
