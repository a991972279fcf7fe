"""The network that restores a solution, trained on examples of it."""
from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from TriplaneGaussianReconLib.config.self_supervised import RestorationConfig
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.self_supervised.restoration import Example, RestorationNetwork, restored, train

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (30, 20, 22)
CONFIG = RestorationConfig(width=8, layers=3, steps=60, batch=4, patch=16)
PLACES = np.argwhere(np.ones(SHAPE, bool))


def quiet(_: int, __: int, ___: float | None = None, /) -> None:
    """Tell nobody."""


def example(seed: int) -> Example:
    """Lumps, and two guesses with noise of their own."""
    random = np.random.default_rng(seed)
    truth = 5.0 * gaussian_filter(random.standard_normal(SHAPE), 2.0)
    guesses = truth + 0.2 * random.standard_normal((2, *SHAPE))
    return Example(torch.from_numpy(guesses.astype(np.float32)), torch.from_numpy(truth.astype(np.float32)))


def trained(config: RestorationConfig = CONFIG, seed: int = 0) -> RestorationNetwork:
    return train([example(0), example(1)], PLACES, config, seed, quiet)


@cache
def network() -> RestorationNetwork:
    return trained()


def squared(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).square().mean())


def test_before_training_it_returns_the_first_guess() -> None:
    guesses = example(0).guesses
    untrained = RestorationNetwork(2, CONFIG, torch.Generator().manual_seed(0))
    assert torch.equal(restored(untrained, guesses), guesses[0])


def test_it_takes_noise_away_from_what_it_was_not_trained_on() -> None:
    other = example(7)
    assert squared(restored(network(), other.guesses), other.truth) < 0.4 * squared(other.guesses[0], other.truth)


def test_brighter_or_with_more_contrast_it_finds_the_same() -> None:
    guesses = example(7).guesses
    assert torch.allclose(restored(network(), 300.0 * guesses + 1000.0), 300.0 * restored(network(), guesses) + 1000.0,
                          atol=0.05)


def test_slab_by_slab_is_as_in_one_piece() -> None:
    guesses = example(7).guesses
    with torch.no_grad():
        whole = network()(guesses[None])[0]
    assert torch.allclose(restored(network(), guesses), whole, atol=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    short = replace(CONFIG, steps=5)
    guesses = example(7).guesses
    assert torch.equal(restored(trained(short, 1), guesses), restored(trained(short, 1), guesses))
    assert not torch.equal(restored(trained(short, 1), guesses), restored(trained(short, 2), guesses))


def test_it_learns_from_the_places_alone_that_are_given() -> None:
    """Half of the truth is nonsense; no patch reaches it."""
    spoilt = [Example(each.guesses, torch.cat([each.truth[:, :, :11], 1e3 + 0.0 * each.truth[:, :, 11:]], dim=2))
              for each in (example(0), example(1))]
    places = PLACES[PLACES[:, 2] < 3]
    found = train(spoilt, places, replace(CONFIG, patch=8), 0, quiet)
    other = example(7)
    assert squared(restored(found, other.guesses), other.truth) < 0.6 * squared(other.guesses[0], other.truth)


def test_volumes_smaller_than_a_patch_will_do() -> None:
    small = Example(torch.rand(2, 5, 4, 3), torch.rand(5, 4, 3))
    assert restored(train([small], np.zeros((1, 3), int), replace(CONFIG, steps=2), 0, quiet), small.guesses).shape == (
        5, 4, 3)


def test_training_can_be_stopped() -> None:
    def stop(step: int, _: int, __: float | None = None, /) -> None:
        if step == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        train([example(0)], PLACES, CONFIG, 0, stop)
