"""Occupancies of labels, and which of them a Gaussian carries."""
from __future__ import annotations

import numpy as np
import torch
from label_case import CONFIG

from TriplaneGaussianReconLib.labels.occupancy import Occupancies, occupancy


def test_occupancy() -> None:
    distances = torch.tensor([-9, -CONFIG.band, 0, CONFIG.band / 2, CONFIG.band, 9])
    np.testing.assert_allclose(occupancy(distances, CONFIG.band), [0, 0, 0.5, 0.75, 1, 1])


def test_slots_are_ordered_and_capped() -> None:
    """Pixel 3 has more entries than there are slots, pixel 8 two, pixel 5 none."""
    count = CONFIG.most_slots + 2
    values = np.concatenate([np.linspace(0.1, 0.9, count), [0.25, 0.75]]).astype(np.float32)
    pixels = np.array([3] * count + [8, 8])
    numbers = np.array([*range(1, count + 1), 4, 2], np.int32)
    shuffled = np.random.default_rng(0).permutation(len(pixels))
    pixels, numbers, values = (torch.from_numpy(each[shuffled]) for each in (pixels, numbers, values))
    channels, kept, trends = Occupancies(pixels, numbers, values, -values).slots(10, CONFIG.most_slots)
    assert channels.shape == kept.shape == trends.shape == (10, CONFIG.most_slots)
    assert channels[8].tolist() == [2, 4] + [0] * (CONFIG.most_slots - 2)
    np.testing.assert_allclose(kept[8, :2], [0.75, 0.25])
    assert channels[3].tolist() == list(range(count, 2, -1))
    assert (np.diff(kept[3]) < 0).all()
    for pixel in (0, 5, 9):
        assert not channels[pixel].any() and not kept[pixel].any() and not trends[pixel].any()
    assert torch.equal(trends, -kept)
