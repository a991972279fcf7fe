"""Baselines that fill labels follow the image, from the labelled slices alone."""
from __future__ import annotations

import sys

import numpy as np
import pytest
from evaluation_case import KEEP, moving_case

from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid, array_axis
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError, MissingPackageError
from TriplaneGaussianReconLib.evaluation import baselines, metrics
from TriplaneGaussianReconLib.evaluation.guided_baselines import GUIDED_METHODS, MOST_WALKED, propagated, random_walker
from TriplaneGaussianReconLib.evaluation.methods import LABEL_BASELINES

LABELLED = np.array([1, 9])


def swerving() -> tuple[np.ndarray, np.ndarray]:
    """A textured disc that swerves between two slices on which it lies at the same place; image and labels."""
    k, rows, columns = np.meshgrid(np.arange(11), np.arange(48), np.arange(52), indexing="ij")
    down, right = rows - 18 - 9 * np.sin(np.pi * (k - 1) / 8), columns - 25
    disc = np.hypot(down, right) < 8
    image = 0.15 + disc * (0.6 + 0.1 * np.sin(0.9 * down) * np.sin(0.8 * right))
    return image.astype(np.float32), 5 * disc.astype(np.int32)


@pytest.mark.parametrize("name", GUIDED_METHODS)
def test_labels_follow_what_moves_in_the_image(name: str) -> None:
    image, labels = swerving()
    filled = GUIDED_METHODS[name](image, LABELLED, labels[LABELLED])
    assert filled.dtype == labels.dtype and set(np.unique(filled)) == {0, 5}
    np.testing.assert_array_equal(filled[LABELLED], labels[LABELLED])
    blind = baselines.shape(LABELLED, labels[LABELLED], np.arange(11))
    between = slice(2, 9)
    assert metrics.dice(blind[between] > 0, labels[between] > 0) < 0.7
    assert metrics.dice(filled[between] > 0, labels[between] > 0) > 0.95


def test_without_a_flow_propagated_labels_are_those_of_shape_interpolation() -> None:
    _, labels = swerving()
    ends = np.stack([labels[1], labels[5]])[:, :20, :20]  # too small for the optical flow
    expected = baselines.shape(np.array([0, 4]), ends, np.arange(5))
    image = np.random.default_rng(0).random(expected.shape, np.float32)
    np.testing.assert_array_equal(propagated(image, np.array([0, 4]), ends), expected)


def test_beyond_the_labelled_slices_the_outermost_are_repeated() -> None:
    image, labels = swerving()
    filled = propagated(image, np.array([4, 5]), labels[4:6])
    np.testing.assert_array_equal(filled, labels[[4] * 5 + [5] * 6])


def test_the_random_walker_says_when_there_are_too_many_labels() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[0].flat[:MOST_WALKED + 1] = np.arange(1, MOST_WALKED + 2)
    with pytest.raises(InputError, match="for 12 labels at most.*here are 13"):
        random_walker(np.zeros((5, 4, 4), np.float32), np.array([0, 4]), labels)


def test_one_label_everywhere_needs_no_walk() -> None:
    filled = random_walker(np.zeros((5, 4, 4), np.float32), np.array([0, 4]), np.full((2, 4, 4), 3, np.uint8))
    assert (filled == 3).all() and filled.shape == (5, 4, 4) and filled.dtype == np.uint8


def test_the_random_walker_without_its_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    image, labels = swerving()
    with pytest.raises(MissingPackageError, match="pip install scikit-image"):
        random_walker(image, LABELLED, labels[LABELLED])


@pytest.mark.parametrize("name", GUIDED_METHODS)
@pytest.mark.parametrize("axis", AXES)
def test_any_axis_and_all_layers_are_filled(name: str, axis: Axis) -> None:
    image, labels = swerving()
    expected = GUIDED_METHODS[name](image, LABELLED, labels[LABELLED])
    ours = [np.ascontiguousarray(np.moveaxis(array.transpose(0, 2, 1), 0, array_axis(axis)))
            for array in (image, labels)]
    grid = Grid(ours[0].shape)
    segmentation = Segmentation(np.stack([ours[1], ours[1] // 5]), (Segment("a", 5), Segment("b", 1, 1)), grid)
    layers = LABEL_BASELINES[name](Image(ours[0], grid), segmentation, axis, Selection.of(11, LABELLED)).layers
    assert layers is not None
    for layer, wanted in zip(layers, (expected, expected // 5), strict=True):
        np.testing.assert_array_equal(np.moveaxis(layer, array_axis(axis), 0).transpose(0, 2, 1), wanted)


@pytest.mark.parametrize("name", GUIDED_METHODS)
def test_small_slices_are_filled_after_preparing(name: str) -> None:
    image, segmentation = moving_case()
    method = LABEL_BASELINES[name]
    method.prepare()  # type: ignore[attr-defined]
    layers = method(Image(metrics.normalise(image.array), image.grid), segmentation, "k", KEEP).layers
    assert layers is not None
    np.testing.assert_array_equal(layers[:, ::4], segmentation.layers[:, ::4])
