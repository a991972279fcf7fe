"""Minimising the loss of a network, with the parts of every batch each on a processor of its own."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from ..config.networks import NetworkConfig
from .optimizers import Adam, Muon, repeat, repeatable

B = TypeVar("B")
P = TypeVar("P")

PARTS = 2
"""Parts of every step: as many everywhere, so that the bits are the same."""
_LONGEST = 1.0  # gradient


def minimise(loss_at: Callable[[Tensor, slice], Tensor], parameters: Sequence[Tensor], config: NetworkConfig,
             tick: Callable[[int, int, float], None], matrices: Sequence[Tensor] = (), parts: int = 1) -> None:
    """Minimise a loss in place, with Adam and Muon.

    The rate rises for some steps and then falls to 0 along a cosine.

    Args:
        loss_at: step number, an int64 tensor (1,) on the device, and which items of the batch -> their mean loss, a
            scalar tensor. On a CPU torch is to use one thread per call, see `runtime.threads.serial_torch`.
        parameters: what Adam changes.
        config: steps, batch, peak rate and optimisers.
        tick: called with step, steps and loss before every step, may raise to stop.
        matrices: what Muon changes, of one shape.
        parts: of a batch that a CPU works on at the same time; of use where they are large. They are equally large: a
            batch that cannot be divided is taken in one.
    """
    device, steps = parameters[0].device, config.steps
    adam = Adam([(parameters, config.rate)], config.optimizer.second_moment)
    muon = Muon(matrices, adam.rates[0], config.optimizer)
    shares = [warm_up_and_cosine(number, steps, config.optimizer.warm_up) for number in range(steps)]
    rates = torch.tensor([config.rate * share for share in shares], device=device)
    number = torch.zeros(1, dtype=torch.int64, device=device)
    count = 1 if device.type == "cuda" or config.batch % parts else parts

    with _mean_gradients(loss_at, [*parameters, *matrices], [slice(n, None, count) for n in range(count)]) as found:
        def step() -> Tensor:
            adam.rates[0].copy_(rates[number][0])
            loss, gradients = found(number)
            adam.step(gradients[:len(parameters)])
            if matrices:
                muon.step(gradients[len(parameters):])
            number.add_(1)
            return loss

        with repeatable(device):
            repeat(step, steps, device, lambda done, loss: tick(done, steps, loss))


def minimise_in_parts(loss_at: Callable[[Tensor, int], Tensor], leaves: Sequence[Tensor], rates: Sequence[float],
                      second_moment: float, tick: Callable[[int, float], None]) -> None:
    """Minimise the mean of the parts' losses in place, with Adam.

    Args:
        loss_at: number of the step, an int64 tensor (1,) on the device, and of the part -> loss, a scalar tensor.
        leaves: what is changed; on a CPU torch is to use one thread per call, see `runtime.threads.serial_torch`.
        rates: of every step.
        second_moment: see `Adam`.
        tick: called with the number of steps done and the loss before every step, may raise to stop.
    """
    device = leaves[0].device
    adam, steps = Adam([(leaves, rates[0])], second_moment), torch.tensor(rates, device=device)
    number = torch.zeros(1, dtype=torch.int64, device=device)

    with _mean_gradients(loss_at, leaves, range(PARTS)) as found:
        def step() -> Tensor:
            adam.rates[0].copy_(steps[number][0])
            loss, gradients = found(number)
            _clip(gradients)
            adam.step(gradients)
            number.add_(1)
            return loss

        with repeatable(device):
            repeat(step, len(rates), device, tick)


@contextmanager
def made_ahead(batch_at: Callable[[Tensor, slice], B], steps: int, device: torch.device
               ) -> Iterator[Callable[[Tensor, slice], B]]:
    """Yield what `batch_at` makes of a step's number; on a CPU a thread makes the next batch meanwhile.

    Args:
        batch_at: number of the step (1,) and which items of the batch -> these.
        steps: how many there are.
        device: where they are made.
    """
    if device.type == "cuda":
        yield batch_at
        return
    with ThreadPoolExecutor(1) as pool:
        known: dict[tuple[int, int | None], Future[B]] = {}  # by step, and first item of the part

        def at(step: Tensor, part: slice) -> B:
            number = int(step)
            batch = known.pop((number, part.start), None) or pool.submit(batch_at, step.clone(), part)
            if number + 1 < steps:
                known[number + 1, part.start] = pool.submit(batch_at, step + 1, part)
            return batch.result()

        yield at


def warm_up_and_cosine(number: int, steps: int, warm_up: float) -> float:
    """Share of the peak rate at a step."""
    return min(1.0, (number + 1) / (warm_up * steps + 1.0)) * 0.5 * (1.0 + math.cos(math.pi * number / steps))


@contextmanager
def _mean_gradients(loss_at: Callable[[Tensor, P], Tensor], leaves: Sequence[Tensor], parts: Sequence[P]
                    ) -> Iterator[Callable[[Tensor], tuple[Tensor, list[Tensor]]]]:
    """Yield what finds, for the number of a step, the mean loss of all parts and its gradients; arguments as above."""
    def of_part(number: Tensor, part: P) -> tuple[Tensor, ...]:
        loss = loss_at(number, part)
        return loss.detach(), *torch.autograd.grad(loss, leaves)

    with ThreadPoolExecutor(len(parts)) as pool:
        def found(number: Tensor) -> tuple[Tensor, list[Tensor]]:
            in_turn = len(parts) == 1 or number.is_cuda
            each = list((map if in_turn else pool.map)(lambda part: of_part(number, part), parts))
            loss, *mean = each[0] if len(parts) == 1 else (
                sum(some) / len(parts) for some in zip(*each, strict=True))  # in a fixed order
            return loss, mean

        yield found


def _clip(gradients: Sequence[Tensor]) -> None:
    """Shorten gradients that are too long together."""
    length = torch.stack([each.square().sum() for each in gradients]).sum().sqrt()
    for each in gradients:
        each.mul_((_LONGEST / (length + 1e-6)).clamp(max=1.0))
