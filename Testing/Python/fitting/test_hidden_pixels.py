"""Pixels that are hidden to see how well they are found."""
from __future__ import annotations

import pytest
import torch
from seen_body import SHAPE, body, sights

from TriplaneGaussianReconLib.fitting.hidden_pixels import HiddenPixels

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_share_of_the_pixels_of_every_stack_is_hidden_and_the_rest_is_shown() -> None:
    hidden = HiddenPixels.of(sights(), 0.2, 3)
    for each, hides, shown in zip(sights(), hidden.hidden, hidden.shown(), strict=True):
        assert 0.15 < hides.float().mean() < 0.25
        assert torch.equal(shown.weights, torch.where(hides, 0.0, each.weights))
        assert torch.equal(shown.image, each.image)


def test_the_same_seed_hides_the_same_and_another_one_others() -> None:
    def hidden(seed: int) -> list[torch.Tensor]:
        return list(HiddenPixels.of(sights(), 0.2, seed).hidden)

    assert all(map(torch.equal, hidden(1), hidden(1)))
    assert not any(map(torch.equal, hidden(1), hidden(2)))


def test_their_error_is_the_noise_where_the_body_is_known() -> None:
    noisy, truth = HiddenPixels.of(sights(0.1), 0.3, 0), torch.from_numpy(body())
    assert noisy.error(truth) == pytest.approx(0.01, rel=0.25)
    assert noisy.error(torch.zeros(SHAPE)) > 5.0 * noisy.error(truth)


def test_only_hidden_pixels_count() -> None:
    of = HiddenPixels.of(sights(), 0.3, 0)
    spoilt = [torch.where(hides, each.image, 1e6) for each, hides in zip(sights(), of.hidden, strict=True)]
    others = [type(each)(each.view, image, each.weights) for each, image in zip(sights(), spoilt, strict=True)]
    truth = torch.from_numpy(body())
    assert HiddenPixels(others, of.hidden).error(truth) == pytest.approx(of.error(truth))
