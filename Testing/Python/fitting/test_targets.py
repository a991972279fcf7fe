"""Targets of slabs: every pixel counts in one of them, as much as in the whole."""
from __future__ import annotations

import numpy as np
import torch

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.fitting.targets import TargetPlanes

IMAGE = torch.arange(60.0).reshape(3, 4, 5)
BORDERS = (-np.inf, 1.2, 2.6, np.inf)


def losses(planes: PlaneStack) -> tuple[float, float]:
    """Weighted mean of the image over the whole, and added up over spans."""
    whole = TargetPlanes.uniform(planes, IMAGE, 0.5)
    split = [TargetPlanes.between(span, planes, IMAGE, 0.5, IMAGE.numel())
             for span in zip(BORDERS[:-1], BORDERS[1:], strict=True)]
    return float((whole.weight * whole.image).mean()), sum(float((t.weight * t.image).mean()) for t in split)


def test_means_over_spans_add_up_to_that_of_the_whole() -> None:
    across = PlaneStack([[0, 0, 0], [0, 0, 2], [0, 0, 3]], [0, 1, 0], [1, 0, 0], 4, 5)
    along = PlaneStack([[0, 0, 0], [0, 2, 0], [0, 3, 0]], [0, 0, 1], [1, 0, 0], 4, 5)
    for planes in (across, along):
        whole, added = losses(planes)
        assert abs(whole - added) < 1e-5 * whole


def test_planes_outside_a_span_are_left_out() -> None:
    planes = PlaneStack([[0, 0, 0], [0, 0, 2], [0, 0, 3]], [0, 1, 0], [1, 0, 0], 4, 5)
    target = TargetPlanes.between((1.2, 2.6), planes, IMAGE, 1.0, IMAGE.numel())
    assert len(target.planes) == 1 and target.weight.shape == (1, 1, 1)
    torch.testing.assert_close(target.image, IMAGE[1:2])
