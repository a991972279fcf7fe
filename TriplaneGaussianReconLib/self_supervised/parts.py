"""Training a network in parts of every batch, each on a processor of its own."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from .optimizers import Adam, repeat, repeatable

PARTS = 2
"""Parts of every step: as many everywhere, so that the bits are the same."""
_LONGEST = 1.0  # gradient


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

    def gradients(part: int) -> tuple[Tensor, ...]:
        loss = loss_at(number, part)
        return loss.detach(), *torch.autograd.grad(loss, leaves)

    with ThreadPoolExecutor(PARTS) as pool:
        def step() -> Tensor:
            adam.rates[0].copy_(steps[number][0])
            found = list(map(gradients, range(PARTS)) if device.type == "cuda" else pool.map(gradients, range(PARTS)))
            loss, *mean = (sum(each) / PARTS for each in zip(*found, strict=True))  # in a fixed order
            _clip(mean)
            adam.step(mean)
            number.add_(1)
            return loss

        with repeatable(device):
            repeat(step, len(rates), device, tick)


def _clip(gradients: Sequence[Tensor]) -> None:
    """Shorten gradients that are too long together."""
    length = torch.stack([each.square().sum() for each in gradients]).sum().sqrt()
    for each in gradients:
        each.mul_((_LONGEST / (length + 1e-6)).clamp(max=1.0))
