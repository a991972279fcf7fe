"""Images and segmentations in memory."""
from __future__ import annotations

import json

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.errors import InputError


def labels_of(grid: Grid) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, grid.shape).astype(np.uint8)


def test_an_image_fits_its_grid() -> None:
    with pytest.raises(InputError, match="do not fit the grid"):
        Image(np.zeros((2, 3, 4)), Grid((2, 3, 5)))
    with pytest.raises(InputError, match="three dimensions, not 4.*Select one frame"):
        Image(np.zeros((2, 3, 4, 3)), Grid((2, 3, 4)))


def test_one_segment_per_value(oblique_grid: Grid) -> None:
    labels = np.zeros(oblique_grid.shape, np.int16)
    labels[0, 0, :3] = (300, 7, 7)
    segmentation = Segmentation.from_labelmap(labels, oblique_grid)
    assert [(s.name, s.value, s.layer) for s in segmentation.segments] == [("Label 7", 7, 0), ("Label 300", 300, 0)]
    np.testing.assert_array_equal(segmentation.layers, labels[None])
    masks = dict(segmentation.masks())
    np.testing.assert_array_equal(masks[0], labels == 7)
    np.testing.assert_array_equal(masks[1], labels == 300)
    part = dict(segmentation.masks((slice(0, 1),)))
    np.testing.assert_array_equal(part[1], labels[:1] == 300)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool])
def test_whole_numbers_of_any_type_are_labels(dtype: type) -> None:
    labels = np.zeros((2, 3, 4), dtype)
    labels[0, 1, 2] = 1
    segmentation = Segmentation.from_labelmap(labels, Grid((2, 3, 4)))
    assert np.issubdtype(segmentation.layers.dtype, np.integer)
    assert [s.value for s in segmentation.segments] == [1]


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint32])
def test_labels_keep_their_value_whatever_their_type(dtype: type) -> None:
    labels = np.zeros((2, 3, 4), dtype)
    labels[0, 1, 2:] = 3_000_000_000, 7
    segmentation = Segmentation.from_labelmap(labels, Grid((2, 3, 4)))
    assert [s.value for s in segmentation.segments] == [7, 3_000_000_000]
    np.testing.assert_array_equal(segmentation.layers[0], labels)


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint64])
def test_labels_beyond_32_bits_are_refused(dtype: type) -> None:
    labels = np.zeros((2, 3, 4), dtype)
    labels[0, 1, 2] = 2 ** 40
    with pytest.raises(InputError, match="0 to 1099511627776 need more than 32 bits. Number the labels anew"):
        Segmentation.from_labelmap(labels, Grid((2, 3, 4)))


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_other_numbers_are_no_labels(value: float) -> None:
    labels = np.ones((2, 3, 4), np.float32)
    labels[1, 1, 1] = value
    with pytest.raises(InputError, match="whole numbers. Convert"):
        Segmentation.from_labelmap(labels, Grid((2, 3, 4)))


def test_an_empty_label_map_is_refused() -> None:
    with pytest.raises(InputError, match="empty.*Leave it out or segment"):
        Segmentation.from_labelmap(np.zeros((2, 3, 4), np.uint8), Grid((2, 3, 4)))


def test_a_segmentation_fits_its_grid() -> None:
    segments = (Segment("a", 1),)
    with pytest.raises(InputError, match="do not fit the grid"):
        Segmentation(np.zeros((1, 2, 3, 5), np.uint8), segments, Grid((2, 3, 4)))
    with pytest.raises(InputError, match="do not fit the grid"):
        Segmentation(np.zeros((2, 3, 4), np.uint8), segments, Grid((2, 3, 4)))
    with pytest.raises(InputError, match="whole numbers"):
        Segmentation(np.zeros((1, 2, 3, 4), np.float32), segments, Grid((2, 3, 4)))


def test_masks_of_overlapping_segments() -> None:
    layers = np.zeros((2, 2, 3, 4), np.uint8)
    layers[0, :, 0], layers[1, :, :2] = 1, 1
    segmentation = Segmentation(layers, (Segment("a", 1, 0), Segment("b", 1, 1)), Grid((2, 3, 4)))
    masks = dict(segmentation.masks())
    assert masks[0].sum() == 8 and masks[1].sum() == 16 and (masks[0] & masks[1]).sum() == 8


def test_short_texts_have_the_order_that_people_expect(oblique_grid: Grid) -> None:
    image = Image(np.zeros((8, 24, 20), np.int16), Grid((8, 24, 20), (1.0, -2.0, -0.0), (1.0, 1.0, 4.0)))
    assert repr(image) == "Image(20 x 24 x 8 int16, 1 x 1 x 4 mm, LPS from (1, -2, 0))"
    layers = np.zeros((2, *oblique_grid.shape), np.uint8)
    segments = tuple(Segment(name, number + 1) for number, name in enumerate("abcde"))
    assert repr(Segmentation(layers, segments, oblique_grid)) == (
        "Segmentation(5 segments: a, b, c, d, ...; 6 x 5 x 4 uint8 in 2 layers, "
        "0.5 x 2 x 3 mm, oblique LPS from (10, -20, 30))")
    assert repr(Segmentation(layers, (), oblique_grid)).startswith("Segmentation(0 segments; 6 x")


def test_numpy_sees_the_voxels() -> None:
    image = Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), Grid((2, 3, 4)))
    assert np.asarray(image) is image.array and np.mean(image) == 11.5
    assert np.asarray(image, np.float32).dtype == np.float32
    assert np.array(image) is not image.array
    with pytest.raises(ValueError, match="without a copy"):
        image.__array__(np.float32, copy=False)


def test_numpy_sees_a_segmentation_as_a_label_map() -> None:
    layers = np.zeros((2, 2, 3, 4), np.int32)
    layers[0, 0], layers[1, 1] = 300, 2
    segmentation = Segmentation(layers, (Segment("a", 300, 0), Segment("b", 2, 1)), Grid((2, 3, 4)))
    assert np.asarray(segmentation).dtype == np.uint16
    np.testing.assert_array_equal(segmentation, layers[0] + layers[1])
    assert np.asarray(segmentation, float).dtype == np.float64


def test_a_label_map_says_what_it_cannot_hold() -> None:
    layers = np.ones((2, 2, 3, 4), np.uint8)
    segmentation = Segmentation(layers, (Segment("a", 1, 0), Segment("b", 1, 1)), Grid((2, 3, 4)))
    with pytest.warns(UserWarning) as caught:
        labels = segmentation.to_labelmap()
    assert "numbers them anew: 1 = a, 2 = b" in str(caught[0].message) and "overlap" in str(caught[1].message)
    assert all(warning.filename == __file__ for warning in caught) and (labels == 2).all()


@pytest.mark.parametrize("segment", [Segment("a", 1), Segment("Leber", 3, 2, "liver", (0.5, 0.25, 1.0))])
def test_a_segment_survives_json(segment: Segment) -> None:
    assert Segment.from_json(json.loads(json.dumps(segment.to_json()))) == segment


def test_images_are_compared_by_identity() -> None:
    one, other = (Image(np.zeros((2, 3, 4)), Grid((2, 3, 4))) for _ in range(2))
    assert one == one and one != other and len({one, other}) == 2
