"""Signed distances to the borders of labels."""
from __future__ import annotations

import numpy as np
import pytest
from label_case import COLUMNS, CONFIG, ROWS, boxes, disc

from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.labels.channels import LabelChannels
from TriplaneGaussianReconLib.labels.signed_distance import boxed, signed_distance


@pytest.mark.parametrize("radius", [5.0, 9.5, 16.0])
def test_signed_distance_of_a_disc(radius: float) -> None:
    distance = signed_distance(disc(27.0, 23.0, radius), CONFIG)
    rows, columns = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    truth = radius - np.hypot(columns - 27.0, rows - 23.0)
    assert np.abs(distance - truth).max() < 1.0  # the mask knows the outline to within a pixel
    near = np.abs(truth) < 2 * CONFIG.band
    assert np.abs(distance - truth)[near].max() < 0.75
    assert abs(float((distance - truth)[near].mean())) < 0.25
    np.testing.assert_array_equal(distance > 0, disc(27.0, 23.0, radius))


def test_the_border_lies_between_two_pixels() -> None:
    mask = np.zeros((20, 20), bool)
    mask[:, 8:] = True
    expected = np.broadcast_to(np.arange(20) - 7.5, (20, 20))
    np.testing.assert_allclose(signed_distance(mask, CONFIG), expected, atol=0.02)
    np.testing.assert_allclose(signed_distance(~mask, CONFIG), -expected, atol=0.02)
    np.testing.assert_allclose(signed_distance(mask.T, CONFIG), expected.T, atol=0.02)


def test_full_and_empty_masks() -> None:
    full, empty = signed_distance(np.ones((10, 16), bool), CONFIG), signed_distance(np.zeros((10, 16), bool), CONFIG)
    assert (full >= CONFIG.band).all() and np.isfinite(full).all() and full.dtype == np.float32
    assert (empty == CONFIG.absent).all() and empty.dtype == np.float32
    single = np.zeros((9, 9), bool)
    single[4, 4] = True
    distance = signed_distance(single, CONFIG)
    assert distance[4, 4] == pytest.approx(0.5, abs=0.02) and distance[4, 6] == pytest.approx(-1.5, abs=0.02)


def test_the_image_border_is_no_outline() -> None:
    """A label that touches the border of the image goes on beyond it."""
    mask = np.zeros((30, 30), bool)
    mask[:, :10] = True
    assert signed_distance(mask, CONFIG)[15, 0] == pytest.approx(9.5, abs=0.05)
    assert signed_distance(mask, CONFIG)[0, 0] == pytest.approx(9.5, abs=0.05)


def test_the_box_of_the_background_holds_all_others() -> None:
    labels = np.zeros((1, 90, 100), np.uint8)
    labels[0, 30:37, 41:55], labels[0, 50:71, 13:20] = 1, 2
    boxes_ = dict(zip((1, 2, 3), boxes(boxed(LabelChannels((Segment("a", 1), Segment("b", 2))), [labels], CONFIG)),
                      strict=True))
    for channel, number in ((2, 1), (3, 2)):
        for axis in (0, 1):
            inner, outer = boxes_[channel][axis], boxes_[1][axis]
            assert outer.start <= inner.start and inner.stop <= outer.stop
            touched = np.flatnonzero((labels[0] == number).any(axis=1 - axis))
            assert inner.start <= touched[0] - CONFIG.search and inner.stop > touched[-1] + CONFIG.search
