"""Label values <-> channels."""
from __future__ import annotations

import numpy as np
import torch

from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.labels.channels import LabelChannels

SEGMENTS = (Segment("a", 1, 0), Segment("b", 7, 0), Segment("c", 300, 0), Segment("d", 2, 2), Segment("e", 1, 2))


def test_channels() -> None:
    channels = LabelChannels(SEGMENTS)
    assert channels.table == [(0, 0), (0, 1), (0, 7), (0, 300), (2, 0), (2, 2), (2, 1)]
    assert channels.count == 8
    assert [channels.is_background(n) for n in range(1, 8)] == [True, False, False, False, True, False, False]
    assert LabelChannels(()).count == 1


def overlapping() -> np.ndarray:
    """[layer, plane, row, column] random labels of SEGMENTS; layer 1 holds none, and 99 is no segment's value."""
    generator = np.random.default_rng(0)
    layers = np.zeros((3, 4, 6, 5), np.uint16)
    layers[0] = generator.choice([0, 1, 7, 300], (4, 6, 5))
    layers[2] = generator.choice([0, 1, 2], (4, 6, 5))
    return layers


def test_one_hot_and_back() -> None:
    channels, layers = LabelChannels(SEGMENTS), overlapping()
    masks = channels.one_hot(layers)
    assert masks.shape == (4, 7, 6, 5) and masks.dtype == np.float32
    np.testing.assert_array_equal(masks[:, 2], layers[0] == 7)
    np.testing.assert_array_equal(masks[:, 5], layers[2] == 2)
    np.testing.assert_array_equal(masks[:, :4].sum(axis=1), 1)  # a layer's channels divide every pixel
    np.testing.assert_array_equal(masks[:, 4:].sum(axis=1), 1)
    occupancies = np.concatenate([np.full((4, 1, 6, 5), 50, np.float32), masks], axis=1)
    back = channels.decode(occupancies, 3, np.dtype(np.uint16))
    np.testing.assert_array_equal(back, layers)
    assert back.dtype == np.uint16


def test_values_without_a_segment_are_background() -> None:
    channels = LabelChannels(SEGMENTS)
    layers = overlapping()
    layers[0, 0, 0, 0] = 99
    assert channels.mask(layers, 1)[0, 0, 0]
    assert channels.one_hot(layers)[0, 0, 0, 0] == 1


def test_every_pixel_has_the_number_of_its_channel() -> None:
    channels = LabelChannels(SEGMENTS)
    layers = overlapping()
    layers[0, 0, 0, 0] = 99  # without a segment: background
    numbers = channels.numbered(layers)
    masks = channels.one_hot(layers)
    present = sorted({segment.layer for segment in SEGMENTS})
    for number, (layer, _) in enumerate(channels.table, start=1):
        np.testing.assert_array_equal(numbers[present.index(layer)] == number, masks[:, number - 1] == 1)


def test_the_largest_occupancy_wins_and_the_background_on_a_tie() -> None:
    channels = LabelChannels((Segment("a", 1), Segment("b", 2)))
    occupancies = np.zeros((1, 4, 1, 4), np.float32)
    occupancies[0, 1:, 0] = np.array([[0.5, 0.5, 0], [0.2, 0.3, 0.4], [0, 0, 0], [0.1, 0.6, 0.6]]).T
    assert channels.decode(occupancies, 1, np.dtype(np.uint8)).ravel().tolist() == [0, 2, 0, 1]


def test_tensors_decode_as_arrays_do() -> None:
    """Also where a label's number does not fit into a byte."""
    channels = LabelChannels(tuple(Segment(str(n), 2 * n) for n in range(1, 301)))
    occupancies = np.random.default_rng(0).random((2, channels.count, 3, 4)).astype(np.float32)
    decoded_ = channels.decode(torch.from_numpy(occupancies), 1, np.dtype(np.uint16))
    np.testing.assert_array_equal(decoded_, channels.decode(occupancies, 1, np.dtype(np.uint16)))
    np.testing.assert_array_equal(decoded_[0], 2 * occupancies[:, 1:].argmax(axis=1))
