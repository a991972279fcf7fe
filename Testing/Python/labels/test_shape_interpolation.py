"""Labels on observed slices and between them."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from label_case import COLUMNS, CONFIG, ONE, ROWS, boxes, disc

from TriplaneGaussianReconLib.data.gap_sampling import evenly, layer_stride
from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.labels.bounds import Course, bounded
from TriplaneGaussianReconLib.labels.channels import LabelChannels
from TriplaneGaussianReconLib.labels.occupancy import Occupancies
from TriplaneGaussianReconLib.labels.shape_interpolation import between, on_slice
from TriplaneGaussianReconLib.labels.signed_distance import boxed, signed_distance

CPU = torch.device("cpu")


def on_one(channels: LabelChannels, layers: np.ndarray) -> Occupancies:
    return on_slice(boxed(channels, [layers], CONFIG), CONFIG, CPU)


def filled(channels: LabelChannels, first: np.ndarray, second: np.ndarray, move: tuple[float, float], planes: int = 1,
           confidence: float = 1.0) -> list[Occupancies]:
    """Between two slices of label values with the same displacement everywhere."""
    full, slices = torch.tensor(move).expand(*first.shape[1:], 2), [first, second]
    rest, bounds = bounded(channels, Course(slices), planes, CONFIG)
    return between(boxed(channels, rest, CONFIG, slices), full, confidence * full, planes, CONFIG, bounds=bounds)


def dense(found: Occupancies, channels: LabelChannels, shape: tuple[int, int] = (ROWS, COLUMNS)) -> np.ndarray:
    """[1, channel, row, column], the image's channel included."""
    full = np.zeros((1, channels.count, shape[0] * shape[1]), np.float32)
    full[0, found.channels, found.pixels] = found.values
    return full.reshape(1, channels.count, *shape)


def decoded(found: Occupancies, channels: LabelChannels = ONE) -> np.ndarray:
    """[layer, row, column]."""
    layers = 1 + max(s.layer for s in channels.segments)
    return channels.decode(dense(found, channels), layers, np.dtype(np.uint8))[:, 0]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_labels_in_small_boxes_do_not_see_each_other() -> None:
    """What lies beyond a label's own box does not change it, wherever the displacement leads."""
    first, second = (np.zeros((1, 90, 100), np.uint8) for _ in range(2))
    first[0, 5:12, 6:14], second[0, 7:15, 8:17] = 1, 1
    two = first.copy(), second.copy()
    for layers in two:
        layers[0, 60:80, 50:90] = 2
    channels = LabelChannels((Segment("a", 1), Segment("b", 2)))
    alone, = filled(channels, first, second, (30.0, 25.0))
    both, = filled(channels, *two, (30.0, 25.0))
    of_a, among = alone.channels == 2, both.channels == 2
    for name in ("pixels", "values", "trends"):
        assert torch.equal(getattr(alone, name)[of_a], getattr(both, name)[among])
    assert of_a.any()


def test_a_observed_slice_comes_back_exactly() -> None:
    channels = LabelChannels((Segment("a", 1), Segment("b", 2), Segment("c", 1, 1)))
    layers = np.zeros((2, ROWS, COLUMNS), np.uint8)
    layers[0][disc(20, 20, 9)] = 1
    layers[0][disc(29, 24, 6)] = 2
    layers[1][disc(24, 22, 11)] = 1
    layers[1][0:4, 50:] = 1  # in the corner of the image
    np.testing.assert_array_equal(decoded(on_one(channels, layers), channels), layers)
    found = on_one(channels, layers)
    assert not found.trends.any() and found.values.min() > 0 and found.values.max() == 1


def test_an_empty_slice_has_no_entries() -> None:
    empty = np.zeros((1, ROWS, COLUMNS), np.uint8)
    assert len(on_one(ONE, empty).pixels) == 0
    for found in filled(ONE, empty, empty, (0.0, 0.0), 2):
        assert len(found.pixels) == 0
        slots, values, trends = found.slots(ROWS * COLUMNS, CONFIG.most_slots)
        assert slots.shape == values.shape == trends.shape == (ROWS * COLUMNS, CONFIG.most_slots)
        assert not slots.any() and not values.any() and not trends.any()


def test_a_label_on_the_whole_slice() -> None:
    full = np.ones((1, ROWS, COLUMNS), np.uint8)
    assert decoded(on_one(ONE, full)).all()
    found, = filled(ONE, full, full, (3.0, 0.0))
    assert decoded(found).all()


@pytest.mark.parametrize("planes", [1, 2, 3])
def test_a_moving_disc_is_found_between_the_slices(planes: int) -> None:
    first, second = (disc(x, 24.0, 8.0)[None].astype(np.uint8) for x in (22.0, 30.0))
    forwards = filled(ONE, first, second, (8.0, 0.0), planes)
    backwards = filled(ONE, second, first, (-8.0, 0.0), planes)
    fractions = evenly(planes)[::layer_stride(planes)].tolist()
    for fraction, found, reversed_found in zip(fractions, forwards, backwards[::-1], strict=True):
        truth = disc(22.0 + 8.0 * fraction, 24.0, 8.0)
        assert dice(decoded(found)[0] == 1, truth) > 0.96
        np.testing.assert_allclose(dense(reversed_found, ONE), dense(found, ONE), atol=1e-5)


@pytest.mark.parametrize("shown", [13.0, 0.0])
def test_a_disc_that_moves_by_more_than_its_width_is_found(shown: float) -> None:
    """Whether the image shows how it moves or not."""
    first, second = (disc(x, 24.0, 5.0)[None].astype(np.uint8) for x in (21.0, 34.0))
    found, = filled(ONE, first, second, (shown, 0.0))
    assert dice(decoded(found)[0] == 1, disc(27.5, 24.0, 5.0)) > 0.75


def test_the_ends_of_a_gap_are_the_slices() -> None:
    first, second = disc(20, 20, 9)[None].astype(np.uint8), disc(26, 24, 7)[None].astype(np.uint8)
    lowest, *_, highest = filled(ONE, first, second, (6.0, 4.0), 99)
    np.testing.assert_array_equal(decoded(lowest), first)
    np.testing.assert_array_equal(decoded(highest), second)


def test_a_label_that_ends_shrinks_and_keeps_half_a_gap_of_its_area() -> None:
    """Absent on one side: smaller and smaller towards it, as much in all as Cavalieri's rule counts."""
    first, second = disc(27, 24, 9)[None].astype(np.uint8), np.zeros((1, ROWS, COLUMNS), np.uint8)
    areas = [int((decoded(found) == 1).sum()) for found in filled(ONE, first, second, (0.0, 0.0), 19)]
    assert areas == sorted(areas, reverse=True) and areas[-1] == 0
    assert sum(areas) == pytest.approx(5 * int(first.sum()), rel=0.05)  # ten layers stand for the gap
    mirrored = filled(ONE, second, first, (0.0, 0.0), 19)[::-1]
    assert [int((decoded(found) == 1).sum()) for found in mirrored] == areas


@pytest.mark.parametrize(("width", "shift"), [(1, 1), (1, 3), (2, 1), (2, 2), (2, 5)])
def test_a_thin_line_that_moves_keeps_its_width(width: int, shift: int) -> None:
    """Also where the image does not show that it moves."""
    first, second = (np.zeros((1, ROWS, COLUMNS), np.uint8) for _ in range(2))
    first[:, 10:40, 20:20 + width], second[:, 10:40, 20 + shift:20 + shift + width] = 1, 1
    for found in filled(ONE, first, second, (0.0, 0.0), 3):
        assert (decoded(found)[0].sum(axis=1)[10:40] == width).all()


def test_the_networks_distances_move_the_border() -> None:
    first, second = (disc(27, 24, radius)[None].astype(np.uint8) for radius in (6, 10))
    outlines = boxed(ONE, [first, second], CONFIG)
    still = torch.zeros(ROWS, COLUMNS, 2)
    larger = torch.cat([torch.from_numpy(signed_distance(disc(27, 24, 13)[rows, columns], CONFIG)).flatten() * sign
                        for (rows, columns), sign in zip(boxes(outlines), (-1, 1), strict=True)])
    found, = between(outlines, still, still, 1, CONFIG, larger[None])
    alone, = between(outlines, still, still, 1, CONFIG)
    assert (decoded(alone) == 1).sum() == pytest.approx(np.pi * 8.0 ** 2, rel=0.1)
    radius = (1 - CONFIG.trained_share) * 8.0 + CONFIG.trained_share * 13.0
    assert (decoded(found) == 1).sum() == pytest.approx(np.pi * radius ** 2, rel=0.1)


def test_the_background_is_what_the_only_label_leaves() -> None:
    """Also next to a slice without the label: their occupancies add up to 1 wherever either is."""
    first, second = disc(27, 24, 9)[None].astype(np.uint8), np.zeros((1, ROWS, COLUMNS), np.uint8)
    for a, b in ((first, second), (first, disc(30, 24, 6)[None].astype(np.uint8))):
        for found in filled(ONE, a, b, (0.0, 0.0), 9):
            total = dense(found, ONE)[0].sum(axis=0)
            np.testing.assert_allclose(total[total > 0], 1.0, atol=0.02)


def test_trends_tell_the_change_across_the_gap() -> None:
    """A border that moves without displacement: occupancy changes at its speed, in the direction of the depth."""
    first, second = (np.zeros((1, ROWS, COLUMNS), np.uint8) for _ in range(2))
    first[:, :, :20], second[:, :, :24] = 1, 1
    found, = filled(ONE, first, second, (0.0, 0.0))
    at_border = (found.pixels == 24 * COLUMNS + 21) & (found.channels == 2)
    assert found.trends[at_border].item() == pytest.approx(4.0 / (2 * CONFIG.band), rel=0.05)
    still, = filled(ONE, first, first, (0.0, 0.0))
    assert float(still.trends.abs().max()) < 1e-5


def test_overlapping_layers_are_independent() -> None:
    channels = LabelChannels((Segment("a", 1, 0), Segment("b", 1, 1)))
    first, second = np.zeros((2, ROWS, COLUMNS), np.uint8), np.zeros((2, ROWS, COLUMNS), np.uint8)
    first[0], second[0] = disc(22, 24, 8), disc(26, 24, 8)
    alone, = filled(ONE, first[:1], second[:1], (4.0, 0.0))
    first[1], second[1] = disc(24, 22, 10), disc(24, 26, 10)
    both, = filled(channels, first, second, (4.0, 0.0))
    np.testing.assert_array_equal(decoded(both, channels)[0], decoded(alone)[0])
    assert ((decoded(both, channels) == 1).all(axis=0)).sum() > 50


def test_labels_at_the_border_of_the_image() -> None:
    """A label cut off by the image's border moves along it, and entries stay inside the image."""
    first, second = (disc(x, 0.0, 9.0)[None].astype(np.uint8) for x in (20.0, 26.0))
    found, = filled(ONE, first, second, (6.0, 0.0))
    assert found.pixels.min() >= 0 and found.pixels.max() < ROWS * COLUMNS
    assert dice(decoded(found)[0] == 1, disc(23.0, 0.0, 9.0)) > 0.95
    corner = np.zeros((1, ROWS, COLUMNS), np.uint8)
    corner[0, -6:, -6:] = 1
    np.testing.assert_array_equal(decoded(on_one(ONE, corner)), corner)
    found, = filled(ONE, corner, corner, (0.0, 0.0))
    np.testing.assert_array_equal(decoded(found), corner)


def test_many_labels() -> None:
    """Sixty touching labels, none of them lost."""
    labels = (1 + np.arange(6)[:, None] * 10 + np.arange(10)).repeat(8, axis=0).repeat(6, axis=1).astype(np.uint8)
    channels = LabelChannels(tuple(Segment(str(n), n) for n in range(1, 61)))
    found = on_one(channels, labels[None])
    full = dense(found, channels, labels.shape)
    np.testing.assert_array_equal(channels.decode(full, 1, np.dtype(np.uint8))[0, 0], labels)
