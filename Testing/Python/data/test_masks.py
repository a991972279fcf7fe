"""Where there is data, and what stands for it where there is none."""
from __future__ import annotations

import numpy as np

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.masks import DataMask, filled, holds_data


def test_whole_numbers_without_padding_all_hold_data() -> None:
    assert holds_data(np.arange(6, dtype=np.int16), None).all()


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
