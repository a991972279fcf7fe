"""What Gaussians are trained on."""
from __future__ import annotations

import numpy as np
import torch

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.fitting.targets import TargetPlanes

IMAGE = torch.arange(60.0).reshape(3, 4, 5)
PLANES = PlaneStack([[0, 0, 0], [0, 0, 2], [0, 0, 3]], [0, 1, 0], [1, 0, 0], 4, 5)


def test_all_pixels_weigh_the_same_or_their_share_of_that() -> None:
    assert TargetPlanes.uniform(PLANES, IMAGE, 0.5).weight.unique().tolist() == [0.5]
    shares = np.linspace(0.0, 1.0, 60).reshape(3, 4, 5)
    weight = TargetPlanes.uniform(PLANES, IMAGE, 0.5, shares=shares).weight
    torch.testing.assert_close(weight, torch.from_numpy(0.5 * shares).float())
