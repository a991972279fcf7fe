"""Labels of several stacks on one grid."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from label_case import CONFIG, ONE

from TriplaneGaussianReconLib.data.geometry import Axis, Grid, array_axis
from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.data.observations import SliceStack
from TriplaneGaussianReconLib.labels.channels import LabelChannels
from TriplaneGaussianReconLib.labels.stack_labels import labels_of_stacks

GRID = Grid((40, 44, 48), origin=(-10.0, 20.0, 5.0), spacing=(1.5, 1.5, 1.5))
THICK = 4  # voxels
EVERYWHERE = np.ones(GRID.shape, bool)
TWO = LabelChannels((Segment("a", 3, 0), Segment("b", 1, 1)))


def sphere(x: float, y: float, z: float, radius: float) -> np.ndarray:
    """[k, j, i] bool; voxels."""
    k, j, i = np.indices(GRID.shape)
    return (i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2 <= radius ** 2


BALL = sphere(24.0, 20.0, 19.0, 13.0)


def stack(axis: Axis, layers: np.ndarray | None, first: int = 2, last: int | None = None) -> SliceStack:
    """Slices through the middles of thick ones, on which `layers` [layer, k, j, i] are drawn."""
    numbers = np.arange(first, last or GRID.count(axis), THICK)
    planes = GRID.planes(axis, numbers)
    drawn = None if layers is None else np.moveaxis(np.take(layers, numbers, 1 + array_axis(axis)),
                                                    1 + array_axis(axis), 1)
    if planes.offsets[-1] < planes.offsets[0]:  # along j the slices' normal points back
        planes = planes.subset(slice(None, None, -1))
        drawn = None if drawn is None else drawn[:, ::-1]
    return SliceStack(planes, np.zeros(planes.shape, np.float32), drawn, thickness=THICK * 1.5)


def found(stacks: list[SliceStack], channels: LabelChannels = ONE, is_seen: np.ndarray = EVERYWHERE) -> np.ndarray:
    """[layer, k, j, i] label values."""
    numbers = labels_of_stacks(stacks, channels, CONFIG, GRID, is_seen)
    assert numbers.dtype == np.int16
    return channels.values(numbers, len(numbers), np.dtype(np.uint8))


def dice(found: np.ndarray, expected: np.ndarray) -> float:
    return float(2.0 * (found & expected).sum() / (found.sum() + expected.sum()))


@pytest.mark.parametrize("axes", ["kj", "ki", "ij", "kji"])
def test_a_ball_on_orthogonal_thick_stacks_comes_back(axes: str) -> None:
    ball = BALL[None].astype(np.uint8)
    assert dice(found([stack(axis, ball) for axis in axes])[0] == 1, BALL) > 0.95  # type: ignore[arg-type]


def test_two_stacks_tell_more_than_one() -> None:
    ball = BALL[None].astype(np.uint8)
    one, two = stack("k", ball), stack("j", ball)
    assert dice(found([one, two])[0] == 1, BALL) > dice(found([one])[0] == 1, BALL)


def test_layers_that_overlap_stay_apart() -> None:
    other = sphere(30.0, 24.0, 19.0, 9.0)
    assert (BALL & other).sum() > 1000
    layers = np.stack([3 * BALL.astype(np.uint8), other.astype(np.uint8)])
    labels = found([stack("k", layers), stack("i", layers)], TWO)
    assert set(np.unique(labels[0])) == {0, 3} and set(np.unique(labels[1])) == {0, 1}
    assert dice(labels[0] == 3, BALL) > 0.95 and dice(labels[1] == 1, other) > 0.93


def test_neighbours_in_one_layer_share_their_border() -> None:
    channels = LabelChannels((Segment("left", 1), Segment("right", 2)))
    right = np.arange(GRID.shape[2]) >= 25
    layers = np.where(BALL, 1 + right, 0).astype(np.uint8)[None]
    labels = found([stack("k", layers), stack("j", layers)], channels)[0]
    for value in (1, 2):
        assert dice(labels == value, layers[0] == value) > 0.94


def test_what_was_not_seen_is_background() -> None:
    is_seen = EVERYWHERE.copy()
    is_seen[:, :, :24] = False
    layers = np.stack([3 * BALL.astype(np.uint8), BALL.astype(np.uint8)])
    labels = found([stack("k", layers), stack("j", layers)], TWO, is_seen)
    assert not labels[:, :, :, :24].any() and labels[:, :, :, 24:].any()


def test_beyond_all_stacks_is_background() -> None:
    """Below half a thickness before the first slice, and behind the last."""
    column = np.ones((1, *GRID.shape), np.uint8)
    labels = found([stack("k", column, first=10, last=20)])[0]
    assert labels[8:21].all() and not labels[:8].any() and not labels[21:].any()


def test_stacks_without_labels_are_passed_over() -> None:
    ball = BALL[None].astype(np.uint8)
    np.testing.assert_array_equal(found([stack("i", None), stack("k", ball), stack("j", None)]),
                                  found([stack("k", ball)]))


def test_slices_without_labels_are_not_taken_as_empty() -> None:
    """Every third slice of one stack carries labels alone."""
    ball = BALL[None].astype(np.uint8)
    whole = stack("k", ball)
    carries = np.ones(len(whole.planes), bool)
    carries[3], carries[5] = False, False
    assert whole.layers is not None
    partly = replace(whole, layers=np.where(carries[:, None, None], whole.layers, 0), labelled=carries)
    emptied = replace(partly, labelled=None)
    assert dice(found([partly])[0] == 1, BALL) > 0.9 > dice(found([emptied])[0] == 1, BALL)
