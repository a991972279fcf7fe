"""Gaussians that add nothing become halves of those that struggle."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fitting_case import NAMES, cloud, planes_at, quiet, renderer, targets_of
from torch import Tensor

from TriplaneGaussianReconLib.config.presets import Relocation, Training
from TriplaneGaussianReconLib.fitting.relocation import relocate
from TriplaneGaussianReconLib.fitting.train import train
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.gaussians.triplane import TriplaneField

IDLE, BUSY = 3, 7
CONFIG = Relocation(every=2, until=1.0, share=0.1, unused=0.02, narrowing=1.0)


def with_an_idle_one() -> GaussianParameters:
    parameters = cloud(count=12, slots=2)
    parameters.raw_weights[IDLE] = -12.0
    return parameters


def pulls() -> Tensor:
    """One Gaussian is pulled at; the others are not."""
    result = torch.zeros(12, dtype=torch.float64)
    result[BUSY] = 1.0
    return result


def relocated(parameters: GaussianParameters, pulled: Tensor, config: Relocation = CONFIG,
              moments: tuple[Tensor, ...] = ()) -> GaussianParameters:
    copy = GaussianParameters(**{name: tensor.clone() for name, tensor in parameters.tensors().items()})
    relocate(copy, copy.drawn(), pulled, moments, config, torch.Generator().manual_seed(0))
    return copy


def test_the_idle_one_and_the_one_that_struggles_become_halves() -> None:
    before = with_an_idle_one()
    after = relocated(before, pulls())
    others = [n for n in range(12) if n not in (IDLE, BUSY)]
    for name in NAMES:
        assert torch.equal(getattr(after, name)[others], getattr(before, name)[others]), name
        if name not in ("centres", "raw_weights"):
            assert torch.equal(getattr(after, name)[IDLE], getattr(after, name)[BUSY]), name
            torch.testing.assert_close(getattr(after, name)[BUSY], getattr(before, name)[BUSY])
    torch.testing.assert_close(after.centres[[IDLE, BUSY]].mean(dim=0), before.centres[BUSY])
    assert not torch.equal(after.centres[IDLE], after.centres[BUSY])
    whole, half = (torch.sigmoid(p.raw_weights[BUSY]) for p in (before, after))
    torch.testing.assert_close((1 - half) ** 2, 1 - whole)


def test_two_halves_in_one_place_draw_what_was_there() -> None:
    """In mode alpha, in the centre, where both lie: what is behind shines through as before."""
    before = with_an_idle_one()
    after = relocated(before, pulls())
    together = replace(after, centres=after.centres.clone())
    together.centres[IDLE] = together.centres[BUSY] = before.centres[BUSY]
    only = torch.tensor([IDLE, BUSY])
    planes = planes_at(float(before.centres[BUSY, 2]))
    drawn, expected = (renderer("alpha")(p.subset(only).drawn().image_only(), planes) for p in (together, before))
    peak = expected.flatten().argmax()
    assert float(drawn.flatten()[peak] / expected.flatten()[peak]) == pytest.approx(1.0, abs=0.1)


def test_what_an_optimiser_remembers_of_both_is_forgotten() -> None:
    moment = torch.ones(12, 3, dtype=torch.float64)
    relocated(with_an_idle_one(), pulls(), moments=(moment,))
    assert torch.nonzero(moment.sum(dim=1) == 0)[:, 0].tolist() == [IDLE, BUSY]


def test_nothing_moves_where_all_are_of_use_or_nothing_pulls() -> None:
    for before, pulled in ((cloud(count=12), pulls()), (with_an_idle_one(), torch.zeros(12, dtype=torch.float64))):
        before.values[:, 0] = 0.9
        after = relocated(before, pulled)
        for name in NAMES:
            assert torch.equal(getattr(after, name), getattr(before, name)), name


def test_halves_are_narrower_in_the_plane_alone() -> None:
    before = with_an_idle_one()
    after = relocated(before, pulls(), replace(CONFIG, narrowing=2.0))
    ratio = after.precisions()[BUSY] / before.precisions()[BUSY]
    torch.testing.assert_close(ratio[[0, 1, 2, 3, 4]], torch.full((5,), 4.0, dtype=torch.float64))
    assert torch.equal(after.log_depths[BUSY], before.log_depths[BUSY])


def test_training_moves_them_on_its_way_and_leaves_its_input_alone() -> None:
    parameters = with_an_idle_one()
    before = {name: tensor.clone() for name, tensor in parameters.tensors().items()}
    rates = {"centres": 0.01, "values": 0.01}

    def trained(relocation: Relocation | None, seed: int = 0) -> GaussianParameters:
        torch.manual_seed(1)
        field = TriplaneField(torch.tensor([[0.0, 0, 0], [7, 7, 2]]), {"intensity": 0.1}, resolution=8, features=3,
                              hidden=6).double()
        training = Training(6, rates, relocation=relocation)
        return train(parameters, field, targets_of(masks=1), renderer(channel_count=2), training, 0.0, 1.0, quiet, seed)

    moved = trained(CONFIG)
    assert float(moved.raw_weights[IDLE]) > -5.0 and float(trained(None).raw_weights[IDLE]) == -12.0
    assert torch.equal(moved.centres, trained(CONFIG).centres)
    assert not torch.equal(moved.centres, trained(CONFIG, seed=1).centres)
    for name, tensor in before.items():
        assert torch.equal(getattr(parameters, name), tensor), name
