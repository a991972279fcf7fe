"""Adam, rates that follow a plateau or a cosine, and steps that a GPU replays."""
from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.config.networks import NetworkConfig, OptimizerConfig
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.self_supervised import optimizers
from TriplaneGaussianReconLib.self_supervised.optimizers import (
    Adam,
    LatestKnown,
    Muon,
    Plateau,
    minimise,
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


def nothing(step: int, steps: int, loss: float) -> None:
    pass


def config_of(steps: int, rate: float, optimizer: OptimizerConfig = OPTIMIZER) -> NetworkConfig:
    return NetworkConfig(width=1, blocks=0, steps=steps, batch=1, rate=rate, optimizer=optimizer)


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


def test_without_rates_nothing_falls() -> None:
    plateau = Plateau([], 0)
    for _ in range(3):
        plateau.follow(torch.tensor(1.0))
    assert plateau.rates == []


def test_the_rate_rises_and_falls_along_a_cosine() -> None:
    """Adam's steps along a constant slope are as long as the rate."""
    parameter, courses = torch.zeros(1, requires_grad=True), []
    minimise(lambda step: parameter.sum(), [parameter], config_of(100, 0.5),
             lambda *_: courses.append(float(parameter.detach())))
    rates = -torch.tensor([*courses, float(parameter.detach())]).diff()
    for step, share in {0: 0.25, 1: 0.5, 2: 0.75, 3: 1.0, 25: 1.0, 50: 1.0, 75: 1.0, 99: 1.0}.items():
        assert float(rates[step]) == pytest.approx(0.25 * share * (1.0 + math.cos(0.01 * math.pi * step)), abs=1e-5)
    assert int(rates.argmax()) == 3 and (rates[4:] < rates[3:-1]).all() and rates[-1] < 2e-4


def test_the_warm_up_is_configured() -> None:
    parameter, courses = torch.zeros(1, requires_grad=True), []
    minimise(lambda step: parameter.sum(), [parameter], config_of(20, 0.5, OptimizerConfig(warm_up=0.5)),
             lambda *_: courses.append(float(parameter.detach())))
    rates = -torch.tensor(courses).diff()
    assert int(rates.argmax()) > 4 and float(rates[0]) < 0.1


@pytest.mark.parametrize("device", DEVICES)
def test_the_minimum_of_a_quadratic_is_found(device: torch.device) -> None:
    """Both leaves, each with its own curvature; the step number that the loss is given goes up by one."""
    target, numbers = torch.tensor(TARGET, device=device), torch.full((400,), -1, device=device)
    leaves = [torch.zeros(3, device=device, requires_grad=True) for _ in range(2)]

    def loss_at(step: Tensor) -> Tensor:
        numbers.scatter_(0, step, step)
        return ((leaves[0] - target) ** 2).sum() + 30.0 * ((leaves[1] + target) ** 2).sum()

    minimise(loss_at, leaves, config_of(400, 0.1), nothing)
    assert torch.equal(numbers.cpu(), torch.arange(400))
    torch.testing.assert_close(leaves[0].detach(), target, atol=1e-3, rtol=0.0)
    torch.testing.assert_close(leaves[1].detach(), -target, atol=1e-3, rtol=0.0)


@pytest.mark.parametrize("device", DEVICES)
def test_a_map_is_found_with_matrices(device: torch.device) -> None:
    """Between two layers that Adam trains; inputs of which some say a hundred times more than others."""
    generator = torch.Generator().manual_seed(0)
    inputs = (torch.randn(64, 8, generator=generator) * torch.logspace(-1, 1, 8)).to(device)
    wanted = inputs @ torch.randn(8, 8, generator=generator).to(device)
    bias = torch.ones(8, device=device, requires_grad=True)
    matrix = torch.zeros(8, 8, device=device, requires_grad=True)

    def loss(step: Tensor | None = None) -> Tensor:
        return ((inputs @ matrix.T + bias - wanted) ** 2).mean()

    minimise(loss, [bias], config_of(600, 0.1), nothing, [matrix])
    assert float(loss().detach()) < 1e-3 * float((wanted ** 2).mean())


@pytest.mark.parametrize("device", DEVICES)
def test_the_tick_comes_before_every_step(device: torch.device) -> None:
    """On the CPU with the loss of the step before."""
    told: list[tuple[int, float]] = []
    repeat(_counting(device), 12, device, lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == list(range(12)) and math.isnan(told[0][1])
    known = [loss for _, loss in told if not math.isnan(loss)]
    assert known == sorted(known) and max(known, default=0.0) <= 11.0
    assert device.type == "cuda" or known == [float(n) for n in range(1, 12)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("last", [0, 2, 9])
def test_the_tick_may_stop(device: torch.device, last: int) -> None:
    parameter = torch.zeros(1, device=device, requires_grad=True)

    def tick(step: int, steps: int, loss: float) -> None:
        assert steps == 12
        if step == last:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        minimise(lambda step: parameter.sum(), [parameter], config_of(12, 0.5), tick)
    stopped = float(parameter.detach())
    assert stopped == 0.0 if last == 0 else -0.5 * last < stopped < 0.0


def test_no_steps_change_nothing() -> None:
    parameter = torch.ones(2, requires_grad=True)
    minimise(lambda step: parameter.sum(), [parameter], config_of(0, 0.5), nothing)
    assert torch.equal(parameter.detach(), torch.ones(2))


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


@pytest.mark.gpu
@pytest.mark.parametrize("steps", [1, 3, 6, 7, 40])
def test_replayed_steps_are_those_made_one_by_one(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded from more than six steps on."""
    recorded: list[Callable[[], Tensor]] = []

    def trained() -> tuple[list[Tensor], Tensor]:
        leaves, losses = leaves_of(torch.float32, GPU), torch.zeros(steps, device=GPU)

        def loss_at(step: Tensor) -> Tensor:
            loss = sum((((leaf - 1.0) ** 2).sum() for leaf in leaves), torch.zeros((), device=GPU))
            losses.scatter_(0, step, loss.detach()[None])
            return loss * (1.0 + 0.01 * step[0])

        minimise(loss_at, leaves, config_of(steps, 0.1), nothing)
        return [leaf.detach() for leaf in leaves], losses

    plain = optimizers._recorded
    monkeypatch.setattr(optimizers, "_recorded", lambda step: recorded.append(step) or plain(step))
    replayed, losses = trained()
    assert len(recorded) == int(steps > 6)
    monkeypatch.setattr(optimizers, "budget", lambda device: 0)  # no memory to record anything in
    one_by_one, expected = trained()
    assert len(recorded) == int(steps > 6)
    assert torch.equal(losses, expected) and all(map(torch.equal, replayed, one_by_one))


def _counting(device: torch.device) -> Callable[[], Tensor]:
    """A step whose loss is how often it was called."""
    count = torch.zeros((), device=device)

    def step() -> Tensor:
        return count.add_(1.0).clone()

    return step
