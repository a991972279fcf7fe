"""Adam, Muon, rates that follow a plateau, and steps that are repeated."""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.config.networks import OptimizerConfig
from TriplaneGaussianReconLib.self_supervised.optimizers import (
    Adam,
    HalfCosine,
    LatestKnown,
    Muon,
    Plateau,
    orthogonal,
    repeat,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")
DEVICES = (CPU, pytest.param(GPU, marks=pytest.mark.gpu))
TARGET = (0.5, -2.0, 3.0)
OPTIMIZER = OptimizerConfig()


def leaves_of(dtype: torch.dtype, device: torch.device = CPU) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, dtype=dtype, generator=generator).to(device).requires_grad_() for n in (3, 5, 2)]


def slopes_of(leaves: list[Tensor]) -> tuple[Tensor, ...]:
    """Of a loss that is steep along some numbers and shallow along others."""
    loss = sum(((leaf ** 2).sum() ** 2 + 10.0 ** -n * leaf.sum() for n, leaf in enumerate(leaves)),
               torch.zeros((), dtype=leaves[0].dtype, device=leaves[0].device))
    return torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("second_moment", [0.99, 0.999])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-6)])
def test_steps_are_those_of_torch(device: torch.device, second_moment: float, dtype: torch.dtype,
                                  tolerance: float) -> None:
    """Two groups with rates of their own (float32), one of which changes; a leaf without a gradient stays."""
    ours, theirs = leaves_of(dtype, device), leaves_of(dtype, device)
    adam = Adam([(ours[:2], 2.0 ** -5), (ours[2:], 2.0 ** -7)], second_moment)
    optimizer = torch.optim.Adam([{"params": theirs[:2], "lr": 2.0 ** -5}, {"params": theirs[2:], "lr": 2.0 ** -7}],
                                 betas=(0.9, second_moment))
    for step in range(12):
        if step == 6:
            adam.rates[0].mul_(0.5)
            optimizer.param_groups[0]["lr"] *= 0.5
        gradients: list[Tensor | None] = [*slopes_of(ours)]
        if step % 4 == 3:
            gradients[1] = None
        for leaf, gradient in zip(theirs, slopes_of(theirs), strict=True):
            leaf.grad = gradient
        if step % 4 == 3:
            theirs[1].grad = None
        adam.step(gradients)
        optimizer.step()
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(2, 6, 40), (3, 40, 6), (1, 8, 8)])
def test_matrices_are_made_orthogonal(device: torch.device, shape: tuple[int, ...]) -> None:
    """The singular vectors stay, the singular values are about 1; large ones and small ones alike."""
    random = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(random, full_matrices=False)
    spread = torch.logspace(-1, 0, values.shape[1], dtype=torch.float64)
    found = orthogonal((left * spread @ right).float().to(device), OPTIMIZER.rounds).double().cpu()
    projected = left.mT @ found @ right.mT
    values = projected.diagonal(dim1=1, dim2=2)
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3
    torch.testing.assert_close(projected, torch.diag_embed(values), atol=1e-4, rtol=0.0)


def test_matrices_without_any_slope_stay() -> None:
    matrices = [torch.ones(3, 5)]
    Muon(matrices, torch.tensor(0.1), OPTIMIZER).step([torch.zeros(3, 5)])
    assert torch.equal(matrices[0], torch.ones(3, 5))


@pytest.mark.parametrize("device", DEVICES)
def test_steps_along_matrices_are_those_of_torch(device: torch.device) -> None:
    """But for torch's half precision; kernels of a convolution, one after another in memory or not."""
    generator = torch.Generator().manual_seed(0)
    ours = [torch.randn(6, 4, 1, 5, generator=generator).to(device) for _ in range(2)]
    ours = [ours[0], ours[1].contiguous(memory_format=torch.channels_last)]
    theirs = [torch.nn.Parameter(each.flatten(1).clone()) for each in ours]
    before = [each.detach().clone() for each in theirs]
    optimizer = torch.optim.Muon(theirs, lr=0.125, weight_decay=0.0, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    muon = Muon(ours, torch.tensor(0.125, device=device), OPTIMIZER)
    for _ in range(4):
        slopes = [torch.randn(each.shape, generator=generator).to(device) for each in ours]
        for leaf, slope in zip(theirs, slopes, strict=True):
            leaf.grad = slope.flatten(1)
        muon.step(slopes)
        optimizer.step()
    for a, b, start in zip(ours, theirs, before, strict=True):
        ways = a.flatten(1) - start, b.detach() - start
        assert float((ways[0] - ways[1]).norm()) < 0.03 * float(ways[1].norm())


@pytest.mark.parametrize("patience", [0, 1, 4])
def test_rates_fall_as_those_of_torch(patience: int) -> None:
    """Losses that fall by much, by too little to count, rise, and are not numbers."""
    rates = [torch.tensor(rate) for rate in (0.5, 0.25)]
    theirs = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": float(rate)} for rate in rates])
    expected = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, factor=0.5, patience=patience, eps=0.0)
    plateau = Plateau(rates, patience)
    losses = [3.0, 2.0, 1.9999, 1.99981, 2.5, 2.5, 2.5, math.nan, 1.0, *[1.00001] * 12, 0.9, 0.8, *[0.8] * 6]
    for loss in losses:
        plateau.follow(torch.tensor(loss))
        expected.step(loss)
        assert [float(rate) for rate in rates] == [group["lr"] for group in theirs.param_groups]
    assert float(rates[0]) < 0.5


def test_rates_fall_along_half_a_cosine() -> None:
    rates = [torch.tensor(2.0), torch.tensor(0.1)]
    schedule, told = HalfCosine(rates, 10, 0.1), []
    for _ in range(10):
        schedule.follow(torch.tensor(0.0))
        told.append(float(rates[0]))
    expected = 2.0 * (0.1 + 0.9 * 0.5 * (1.0 + np.cos(np.pi * np.arange(1, 11) / 10)))
    np.testing.assert_allclose(told, expected, rtol=1e-5)
    assert float(rates[1]) == pytest.approx(0.01)


def test_what_adam_remembers_of_a_leaf_is_told() -> None:
    leaves = [torch.ones(2), torch.ones(3)]
    adam = Adam([(leaves[:1], 0.1), (leaves[1:], 0.2)])
    adam.step([torch.full((2,), 2.0), torch.full((3,), 4.0)])
    mean, square = adam.moments_of([leaves[1]])
    np.testing.assert_allclose(mean, [0.4] * 3, rtol=1e-5)
    np.testing.assert_allclose(square, [0.016] * 3, rtol=1e-4)


def test_without_rates_nothing_falls() -> None:
    plateau = Plateau([], 0)
    for _ in range(3):
        plateau.follow(torch.tensor(1.0))
    assert plateau.rates == []


@pytest.mark.parametrize("device", DEVICES)
def test_the_tick_comes_before_every_step(device: torch.device) -> None:
    """On the CPU with the loss of the step before."""
    told: list[tuple[int, float]] = []
    repeat(_counting(device), 12, device, lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == list(range(12)) and math.isnan(told[0][1])
    known = [loss for _, loss in told if not math.isnan(loss)]
    assert known == sorted(known) and max(known, default=0.0) <= 11.0
    assert device.type == "cuda" or known == [float(n) for n in range(1, 12)]


def test_the_latest_number_is_known() -> None:
    latest = LatestKnown(CPU)
    assert math.isnan(latest.value())
    for number in (3.0, -1.5):
        latest.note(torch.tensor(number))
        assert latest.value() == number and latest.value() == number


@pytest.mark.gpu
def test_the_latest_number_arrives_from_a_gpu() -> None:
    """Once what was queued is done; a number that was noted is not lost to what follows."""
    latest = LatestKnown(GPU)
    assert math.isnan(latest.value())
    for number in (3.0, -1.5):
        latest.note(torch.tensor(number, device=GPU))
        torch.cuda.synchronize()
        assert latest.value() == number


def _counting(device: torch.device) -> Callable[[], Tensor]:
    """A step whose loss is how often it was called."""
    count = torch.zeros((), device=device)

    def step() -> Tensor:
        return count.add_(1.0).clone()

    return step
