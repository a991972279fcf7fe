"""Constant margins, told from air around a body."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.margins import margin_of, with_margin_told
from TriplaneGaussianReconLib.data.selection import Selection

SIDE = 48


def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(100.0, 10.0, (SIDE,) * 3).astype(np.float32)


@pytest.mark.parametrize("degrees", [(0, 0, 20), (5, 3, 2), (10, -20, 15), (30, 40, 10)])
@pytest.mark.parametrize("order", [0, 1])
def test_what_surrounds_a_turned_volume_is_a_margin(degrees: tuple[int, int, int], order: int) -> None:
    turn, middle = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(), np.full(3, 0.5 * (SIDE - 1))
    shift = middle - turn @ middle
    turned = affine_transform(noise(), turn, shift, order=order, cval=-500.0)[::4]
    known = affine_transform(np.ones((SIDE,) * 3), turn, shift, order=0)[::4] > 0
    value, covered = margin_of(turned) or (0.0, known)
    assert value == -500.0 and covered[~known].all()
    assert (covered & known).sum() < 0.1 * known.sum() and turned[~covered].min() > 0.0  # nothing mixed is left


def test_what_one_oblique_plane_cuts_off_is_a_margin() -> None:
    cut = noise()[:20]
    cut[np.indices(cut.shape)[2] < 4 + np.arange(20)[:, None, None]] = -500.0
    assert (margin_of(cut) or (0.0,))[0] == -500.0


@pytest.mark.parametrize("radii", [(18, 18, 18), (12, 14, 16), (30, 20, 23), (9, 9, 9)])
@pytest.mark.parametrize("step", [1, 4])
def test_air_of_one_value_about_a_body_is_none(radii: tuple[int, int, int], step: int) -> None:
    away = [(axis / radius) ** 2 for axis, radius in zip(np.indices((SIDE,) * 3) - 0.5 * SIDE, radii, strict=True)]
    body = np.where(sum(away) < 1.0, noise(), np.float32(0.0))[::step]
    assert margin_of(body) is None


def test_a_volume_of_one_value_and_a_lone_slice_have_none() -> None:
    assert margin_of(np.zeros((4, 20, 20))) is None
    lone = noise()[:1]
    lone[:, :5] = 0.0
    assert margin_of(lone) is None


def test_it_becomes_the_padding_of_the_slices_that_are_used_and_the_input_stays() -> None:
    array = noise()
    array[::4, :6] = 0.0
    image, used = Image(array.copy(), Grid(array.shape)), Selection.every(SIDE, 4)
    told = with_margin_told(image, "k", used)
    assert told.padding == 0.0 and image.padding is None
    np.testing.assert_array_equal(image.array, array)
    assert (told.array[::4, :7] == 0.0).all() and (told.array[::4, 7:] != 0.0).all()
    np.testing.assert_array_equal(told.array[1::4], array[1::4])
    known = Image(array, image.grid, padding=7.0)
    assert with_margin_told(known, "k", used) is known
    assert with_margin_told(image, "k", Selection((1, 2, 3), SIDE)) is image
