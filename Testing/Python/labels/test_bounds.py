"""Parts of labels that need bounds between two slices."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
from label_case import COLUMNS, CONFIG, ONE, ROWS, disc

import TriplaneGaussianReconLib as tgr
from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.labels.bounds import Course, bounded, share_left
from TriplaneGaussianReconLib.labels.channels import LabelChannels


def reconstructed(labels: np.ndarray, ratio: int) -> np.ndarray:
    """Labels [k, j, i] on an image that shows nothing of them, made isotropic."""
    grid = tgr.Grid(labels.shape, spacing=(1, 1, ratio))
    image = np.random.default_rng(0).normal(300, 30, labels.shape).astype(np.int16)
    result = tgr.reconstruct(tgr.Image(image, grid), labels=tgr.Segmentation.from_labelmap(labels, grid), device="cpu")
    assert result.segmentation is not None
    return result.segmentation.layers[0]


def test_a_thin_line_is_unbroken_in_the_result() -> None:
    labels = np.zeros((4, 24, 24), np.uint8)
    for plane in range(4):
        labels[plane, 4:20, 8 + plane] = 1
    filled = reconstructed(labels, 4)
    areas = filled.sum(axis=(1, 2))
    assert areas.min() == 16 and areas.max() <= 24
    assert all(cv2.connectedComponents(each)[0] == 2 for each in filled)  # the outside counts


def test_a_lesion_on_one_slice_keeps_its_volume() -> None:
    labels = np.zeros((5, 24, 24), np.uint8)
    labels[2] = disc(11, 12, 7, (24, 24))
    assert int((reconstructed(labels, 4) == 1).sum()) == pytest.approx(4 * int(labels.sum()), rel=0.15)


def test_where_a_lesion_ends_its_organ_goes_on() -> None:
    channels = LabelChannels((Segment("organ", 1), Segment("lesion", 2)))
    first, second = (np.zeros((1, ROWS, COLUMNS), np.uint8) for _ in range(2))
    first[:, 5:40, 5:50], second[:, 5:40, 5:50] = 1, 1
    first[0][disc(25, 20, 5)] = 2
    rest, (early, late) = bounded(channels, Course([first, second]), 3, CONFIG)
    assert all((layers == second).all() for layers in rest)
    assert early is not None and late is None
    assert set(np.unique(early.channels)) == {0, 3}


def test_nothing_needs_bounds_where_all_goes_on() -> None:
    slices = [disc(x, 20, 9)[None].astype(np.uint8) for x in (20, 22)]
    assert bounded(ONE, Course(slices), 3, CONFIG)[1] == [None, None]


def test_what_has_been_shrinking_ends_sooner() -> None:
    assert share_left(50.0, 20.0) == 0.5
    assert share_left(50.0, 250.0) < share_left(50.0, 120.0) < 0.5
