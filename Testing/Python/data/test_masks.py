"""Where there is data, and what stands for it where there is none."""
from __future__ import annotations

import warnings

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.masks import DataMask, filled, holds_data, within
from TriplaneGaussianReconLib.errors import InputError, InputNote


def test_whole_numbers_without_padding_all_hold_data() -> None:
    assert holds_data(np.arange(6, dtype=np.int16), None).all()


def test_inside_of_a_mask_is_what_carries_any_of_its_labels(rotation: tuple) -> None:
    grid = Grid((4, 6, 5), (3, -4, 5), (0.5, 0.7, 4.0), rotation)
    image = Image(np.arange(120, dtype=np.int16).reshape(grid.shape), grid)
    layers = np.zeros((2, *grid.shape), np.int16)
    layers[0, 1, 2], layers[1, 2, 3] = -3, 7
    mask = Segmentation(layers, (Segment("A", -3), Segment("B", 7, 1)), grid)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = within(image, mask)
    assert seen.grid is grid and seen.array.dtype == np.float32 and within(image, None) is image
    assert sorted(seen.array[np.isfinite(seen.array)]) == sorted([*image.array[1, 2], *image.array[2, 3]])


def test_a_mask_may_lie_on_other_voxels() -> None:
    """Finer ones of two labels, of which no single one has most of a voxel; what lies outside of its grid is outside.
    """
    image = Image(np.ones((2, 3, 3), np.uint8), Grid((2, 3, 3), (1.5, 1.5, 1.5), (4, 4, 4)))
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[:, :2, :3], labels[:, 2:, :3] = 1, 2
    with pytest.warns(InputNote, match="The mask's voxels, 4 x 4 x 4 of 1 x 1 x 1 mm, are not the volume's"):
        seen = within(image, Segmentation.from_labelmap(labels, Grid((4, 4, 4))))
    assert np.argwhere(np.isfinite(seen.array)).tolist() == [[0, 0, 0]]


def test_a_mask_without_a_voxel_in_the_volume_is_refused() -> None:
    image, labels = Image(np.ones((2, 3, 3)), Grid((2, 3, 3))), np.zeros((2, 3, 9), bool)
    labels[..., 5:] = True
    with pytest.raises(InputError, match="The mask has no voxel inside the volume"):
        within(image, Segmentation.from_labelmap(labels, Grid((2, 3, 9))))
    with pytest.raises(InputError, match="The mask lies outside the volume"):
        within(image, Segmentation.from_labelmap(labels, Grid((2, 3, 9), (50.0, 0.0, 0.0))))


def test_the_nearest_pixel_of_the_same_slice_stands_for_one_without_data() -> None:
    pixels = np.arange(24.0).reshape(2, 3, 4)
    holds = np.ones(pixels.shape, bool)
    holds[1, 0, :3] = False
    result = filled(pixels, holds)
    np.testing.assert_array_equal(result[holds], pixels[holds])
    assert result[1, 0].tolist() == [16.0, 17.0, 18.0, 15.0]


def test_the_nearer_slice_tells_whether_there_is_data_between_two(rotation: tuple) -> None:
    grid = Grid((3, 4, 5), (3, -4, 5), (0.5, 0.7, 4.0), rotation)
    holds = np.random.default_rng(0).random(grid.shape) > 0.4
    mask = DataMask(grid.planes("k", np.arange(3)), holds)
    indices = np.stack(np.meshgrid(np.arange(5), np.arange(4), np.arange(3), indexing="ij"), axis=-1)
    for shift, at in ((0.0, holds), (0.4, holds), (0.6, holds[[1, 2, 2]]), (-0.6, holds[[0, 0, 1]])):
        found = mask.at(grid.index_to_physical(indices + np.array([0.2, -0.2, shift])))
        np.testing.assert_array_equal(found, at.T)


def test_half_way_there_is_data_if_either_slice_holds_some_whichever_way_they_lie() -> None:
    holds = np.array([True, False, True, False, False])[:, None, None]
    for direction, wanted in ((1.0, [True, True, True, False]), (-1.0, [True, True, True, False])):
        grid = Grid((5, 1, 1), spacing=(1, 1, 2), direction=np.diag([direction, 1, direction]))
        mask = DataMask(grid.planes("k", np.arange(5)), holds)
        found = mask.at(grid.index_to_physical([[0, 0, k + 0.5] for k in range(4)]))
        assert found.tolist() == wanted
