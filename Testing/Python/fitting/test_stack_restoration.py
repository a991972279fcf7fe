"""Solving for several stacks with a network that learns from the solution itself."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from seen_body import SHAPE, body, psnr, quiet, sights

from TriplaneGaussianReconLib.config.self_supervised import RestorationConfig
from TriplaneGaussianReconLib.config.stacks import StackConfig
from TriplaneGaussianReconLib.fitting.stack_restoration import guesses, learn, seen_again
from TriplaneGaussianReconLib.fitting.stack_view import Sight

pytestmark = pytest.mark.usefixtures("one_thread")

NOISE, SMOOTHNESS = 0.06, 0.3
CONFIG = StackConfig(examples=2, restoration=RestorationConfig(width=8, layers=4, steps=80, batch=4, patch=16))
EVERYWHERE = torch.ones(SHAPE, dtype=torch.bool)


def test_the_second_guess_keeps_more_detail_than_the_first() -> None:
    smooth, detailed = guesses(sights(NOISE), SMOOTHNESS, CONFIG, quiet)
    assert torch.diff(detailed, dim=0).abs().mean() > 1.2 * torch.diff(smooth, dim=0).abs().mean()


def test_what_is_seen_again_has_as_much_noise_as_the_stacks_have() -> None:
    again = seen_again(sights(NOISE), torch.from_numpy(body()), np.random.default_rng(1))
    for each, first in zip(again, sights(NOISE), strict=True):
        added = each.image - each.view.seen(torch.from_numpy(body()))
        assert float(added.std()) == pytest.approx(first.noise, rel=0.1)
        assert not torch.equal(each.image, first.image)


@pytest.mark.parametrize("stacks", [slice(0, 3), slice(0, 1)])
def test_what_is_restored_is_nearer_to_the_body_than_the_guess(stacks: slice) -> None:
    seen = sights(NOISE)[stacks]
    found = learn(seen, SMOOTHNESS, EVERYWHERE, CONFIG, 0, quiet).of(seen, quiet)
    assert psnr(found) > psnr(guesses(seen, SMOOTHNESS, CONFIG, quiet)[0]) + 0.1


def test_the_same_seed_gives_the_same_bits() -> None:
    short = replace(CONFIG, restoration=replace(CONFIG.restoration, steps=4))
    first, second = (learn(sights(NOISE), SMOOTHNESS, EVERYWHERE, short, 5, quiet).of(sights(NOISE), quiet)
                     for _ in range(2))
    assert torch.equal(first, second)


def test_what_was_found_is_brought_closer_to_what_was_seen_by_how_little_it_is_trusted() -> None:
    seen = sights(NOISE)
    restoration = learn(seen, SMOOTHNESS, EVERYWHERE, replace(CONFIG, restoration=replace(CONFIG.restoration, steps=2)),
                        0, quiet)
    found = torch.full(SHAPE, 0.5)
    assert restoration.closed(seen, found, float("inf"), (2, 8), quiet) is found

    def left(trust: float) -> float:
        return sum(_missed(each, restoration.closed(seen, found, trust, (2, 8), quiet)) for each in seen)

    assert left(0.1) < left(1.0) < left(10.0)
    assert left(0.0) < left(10.0)


def _missed(sight: Sight, values: torch.Tensor) -> float:
    return float((sight.view.seen(values) - sight.image).square().mean())
