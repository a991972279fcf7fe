"""How exactly observed slices are reproduced, as sums that can be added up."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.data.intensity import IntensityScale
from TriplaneGaussianReconLib.data.model_space import ModelSpaceStack
from TriplaneGaussianReconLib.fitting.residual import Residual, residual_of
from TriplaneGaussianReconLib.labels.channels import LabelChannels

SCALE = IntensityScale(offset=0.0, scale=100.0, background=0.0, lowest=0.0, highest=100.0)
PLANES = PlaneStack([[0, 0, 0], [0, 0, 2]], [0, 1, 0], [1, 0, 0], 2, 3)


def test_differences_are_summed_in_input_units() -> None:
    stack = ModelSpaceStack(PLANES, np.full((2, 2, 3), 0.5, np.float32), None)
    raster = torch.full((2, 1, 2, 3), 0.5)
    raster[1, 0, 0, 0] = 0.9
    residual = residual_of([(slice(0, 2), raster)], stack, (-np.inf, np.inf), SCALE, LabelChannels(()))
    assert (residual.pixels, residual.labels) == (12, 0)
    np.testing.assert_allclose((residual.absolute, residual.squared, residual.largest), (40.0, 1600.0, 40.0), rtol=1e-5)
    near = residual_of([(slice(0, 2), raster)], stack, (-np.inf, 1.0), SCALE, LabelChannels(()))
    assert (near.pixels, near.largest) == (6, 0.0)


def test_labels_count_on_planes_that_carry_some() -> None:
    channels = LabelChannels((Segment("a", 4),))
    stack = ModelSpaceStack(PLANES, np.zeros((2, 2, 3), np.float32), np.full((1, 2, 2, 3), 4, np.uint8))
    raster = torch.tensor([0.0, 0.2, 0.8])[None, :, None, None].expand(2, 3, 2, 3).clone()
    raster[0, 2, 0, 0] = 0.1
    for labelled, labels, agreeing in ((None, 12, 11), ([True, False], 6, 5), ([False, True], 6, 6), ([0, 0], 0, 0)):
        some = replace(stack, labelled=None if labelled is None else np.array(labelled, bool))
        residual = residual_of([(slice(0, 2), raster)], some, (-np.inf, np.inf), SCALE, channels)
        assert (residual.pixels, residual.labels, residual.agreeing) == (12, labels, agreeing)


def test_residuals_add_up() -> None:
    assert Residual(1, 2.0, 3.0, 4.0, 5, 6) + Residual(10, 20.0, 30.0, 1.0, 50, 60) == Residual(
        11, 22.0, 33.0, 4.0, 55, 66)


def test_values_near_the_end_of_single_precision_do_not_overflow() -> None:
    stack = ModelSpaceStack(PLANES, np.full((2, 2, 3), 0.5, np.float32), None)
    scale = IntensityScale(offset=0.0, scale=1e30, background=0.0, lowest=0.0, highest=1e30)
    with np.errstate(all="raise"):
        residual = residual_of([(slice(0, 2), torch.zeros((2, 1, 2, 3)))], stack, (-np.inf, np.inf), scale,
                               LabelChannels(()))
    np.testing.assert_allclose(residual.squared, 12 * 0.25e60, rtol=1e-5)
