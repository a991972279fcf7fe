"""Minimising a loss: rates along a cosine, parts of batches, and steps that a GPU replays."""
from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.config.networks import NetworkConfig, OptimizerConfig
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.self_supervised import optimizers
from TriplaneGaussianReconLib.self_supervised.minimise import PARTS, made_ahead, minimise

CPU, GPU = torch.device("cpu"), torch.device("cuda")
DEVICES = (CPU, pytest.param(GPU, marks=pytest.mark.gpu))
TARGET = (0.5, -2.0, 3.0)
OPTIMIZER = OptimizerConfig()
ALL = slice(None)


def nothing(step: int, steps: int, loss: float) -> None:
    pass


def config_of(steps: int, rate: float, optimizer: OptimizerConfig = OPTIMIZER) -> NetworkConfig:
    return NetworkConfig(width=1, blocks=0, steps=steps, batch=1, rate=rate, optimizer=optimizer)


def test_the_rate_rises_and_falls_along_a_cosine() -> None:
    """Adam's steps along a constant slope are as long as the rate."""
    parameter, courses = torch.zeros(1, requires_grad=True), []
    minimise(lambda step, part: parameter.sum(), [parameter], config_of(100, 0.5),
             lambda *_: courses.append(float(parameter.detach())))
    rates = -torch.tensor([*courses, float(parameter.detach())]).diff()
    for step, share in {0: 0.25, 1: 0.5, 2: 0.75, 3: 1.0, 25: 1.0, 50: 1.0, 75: 1.0, 99: 1.0}.items():
        assert float(rates[step]) == pytest.approx(0.25 * share * (1.0 + math.cos(0.01 * math.pi * step)), abs=1e-5)
    assert int(rates.argmax()) == 3 and (rates[4:] < rates[3:-1]).all() and rates[-1] < 2e-4


def test_the_warm_up_is_configured() -> None:
    parameter, courses = torch.zeros(1, requires_grad=True), []
    minimise(lambda step, part: parameter.sum(), [parameter], config_of(20, 0.5, OptimizerConfig(warm_up=0.5)),
             lambda *_: courses.append(float(parameter.detach())))
    rates = -torch.tensor(courses).diff()
    assert int(rates.argmax()) > 4 and float(rates[0]) < 0.1


@pytest.mark.parametrize("device", DEVICES)
def test_the_minimum_of_a_quadratic_is_found(device: torch.device) -> None:
    """Both leaves, each with its own curvature; the step number that the loss is given goes up by one."""
    target, numbers = torch.tensor(TARGET, device=device), torch.full((400,), -1, device=device)
    leaves = [torch.zeros(3, device=device, requires_grad=True) for _ in range(2)]

    def loss_at(step: Tensor, part: slice) -> Tensor:
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

    def loss(step: Tensor | None = None, part: slice = ALL) -> Tensor:
        return ((inputs @ matrix.T + bias - wanted) ** 2).mean()

    minimise(loss, [bias], config_of(600, 0.1), nothing, [matrix])
    assert float(loss().detach()) < 1e-3 * float((wanted ** 2).mean())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("last", [0, 2, 9])
def test_the_tick_may_stop(device: torch.device, last: int) -> None:
    parameter = torch.zeros(1, device=device, requires_grad=True)

    def tick(step: int, steps: int, loss: float) -> None:
        assert steps == 12
        if step == last:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        minimise(lambda step, part: parameter.sum(), [parameter], config_of(12, 0.5), tick)
    stopped = float(parameter.detach())
    assert stopped == 0.0 if last == 0 else -0.5 * last < stopped < 0.0


def test_no_steps_change_nothing() -> None:
    parameter = torch.ones(2, requires_grad=True)
    minimise(lambda step, part: parameter.sum(), [parameter], config_of(0, 0.5), nothing)
    assert torch.equal(parameter.detach(), torch.ones(2))


@pytest.mark.gpu
@pytest.mark.parametrize("steps", [1, 3, 6, 7, 40])
def test_replayed_steps_are_those_made_one_by_one(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded from more than six steps on."""
    recorded: list[Callable[[], Tensor]] = []

    def trained() -> tuple[list[Tensor], Tensor]:
        leaves = [torch.linspace(-1.0, 2.0, n, device=GPU, requires_grad=True) for n in (3, 5, 2)]
        losses = torch.zeros(steps, device=GPU)

        def loss_at(step: Tensor, part: slice) -> Tensor:
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


@pytest.mark.parametrize("batch", [6, 7])
def test_parts_of_a_batch_come_to_the_whole(batch: int) -> None:
    """Parts are equally large: a batch that cannot be divided is taken in one."""
    items = torch.linspace(-1.0, 3.0, batch)
    seen: list[list[float]] = []
    ours, theirs = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)

    def loss_of(parameter: Tensor, some: Tensor) -> Tensor:
        return ((parameter - some) ** 4).mean()

    def loss_at(step: Tensor, part: slice) -> Tensor:
        seen.append(items[part].tolist())
        return loss_of(ours, items[part])

    config = NetworkConfig(width=1, blocks=0, steps=5, batch=batch, rate=0.1)
    minimise(loss_at, [ours], config, nothing, parts=PARTS)
    minimise(lambda step, part: loss_of(theirs, items), [theirs], config, nothing)
    torch.testing.assert_close(ours, theirs)
    assert len(seen) == 5 * (PARTS if batch == 6 else 1)
    assert sorted(sum(seen[:PARTS if batch == 6 else 1], [])) == pytest.approx(items.tolist())


@pytest.mark.parametrize("device", DEVICES)
def test_batches_made_ahead_are_those_of_their_step(device: torch.device) -> None:
    """In order, each once; a step out of order is made when it is asked for."""
    made: list[int] = []

    def batch_at(step: Tensor, part: slice) -> Tensor:
        made.append(int(step))
        return 10 * torch.arange(3, device=device)[part] + step

    number = torch.zeros(1, dtype=torch.int64, device=device)
    with made_ahead(batch_at, 5, device) as at:
        for step in range(5):
            assert at(number, slice(1, None)).tolist() == [10 + step, 20 + step]
            number.add_(1)
        assert sorted(made) == list(range(5))
        assert at(torch.tensor([2], device=device), slice(1)).tolist() == [2]
    with made_ahead(batch_at, 2, device) as at:
        found = [at(torch.tensor([step], device=device), slice(part, None, 2)).tolist()
                 for step in range(2) for part in range(2)]
    assert found == [[0, 20], [10], [1, 21], [11]]
