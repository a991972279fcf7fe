"""Trains the network for labels on the labelled slices of one stack."""
from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional

from ..config.label_completion import LabelCompletionConfig
from ..runtime.progress import Tick
from ..self_supervised.optimizers import Adam, repeat, repeatable, warm_up_and_cosine
from .examples import Batch, Examples
from .network import CompletionNetwork

PARTS = 2
"""Parts of every step, each on a processor of its own: as many everywhere, so that the bits are the same."""


def train(network: CompletionNetwork, examples: Examples, span: tuple[int, int], config: LabelCompletionConfig,
          tick: Tick) -> None:
    """Train a network in place.

    The rate rises for some steps, and then falls to 0 along a cosine.

    Args:
        network: on the device where to work; on a CPU torch is to use one thread per call, see `serial_torch`.
        examples: of the steps of `span`, counted from its first.
        span: numbers of the first step and of the one after the last, of `config.steps`.
        config: of the training.
        tick: called before every step, may raise to stop.
    """
    leaves = list(network.parameters())
    device = leaves[0].device
    adam = Adam([(leaves, config.rate)], config.optimizer.second_moment)
    shares = [warm_up_and_cosine(n, config.steps, config.optimizer.warm_up) for n in range(*span)]
    rates = config.rate * torch.tensor(shares, device=device)
    number = torch.zeros(1, dtype=torch.int64, device=device)

    def gradients(part: int) -> tuple[Tensor, ...]:
        loss = _loss(network, examples.at(number, part), config)
        return loss.detach(), *torch.autograd.grad(loss, leaves)

    with ThreadPoolExecutor(PARTS) as pool:
        def step() -> Tensor:
            adam.rates[0].copy_(rates[number][0])
            found = list(map(gradients, range(PARTS)) if device.type == "cuda" else pool.map(gradients, range(PARTS)))
            loss, *mean = (sum(each) / PARTS for each in zip(*found, strict=True))  # in a fixed order
            _clip(mean)
            adam.step(mean)
            number.add_(1)
            return loss

        with repeatable(device):
            repeat(step, span[1] - span[0], device, lambda done, loss: tick(span[0] + done, config.steps, loss))


def _clip(gradients: Sequence[Tensor]) -> None:
    """Shorten gradients whose length is above 1."""
    length = torch.stack([each.square().sum() for each in gradients]).sum().sqrt()
    for each in gradients:
        each.mul_((1.0 / (length + 1e-6)).clamp(max=1.0))


def _loss(network: CompletionNetwork, batch: Batch, config: LabelCompletionConfig) -> Tensor:
    """Cross entropy and overlap of what the network finds, and cross entropy of what it begins with."""
    found, prior = network(batch.images, batch.carried, batch.gaps, batch.points)
    loss = config.variation * network.field.total_variation()
    for number, layer in enumerate(network.layers):
        numbers = batch.numbers[:, number] - layer.start
        loss = loss + functional.nll_loss(found[:, layer], numbers) + config.prior * functional.nll_loss(
            prior[:, layer], numbers)
        loss = loss + config.overlap * (1.0 - _overlap(found[:, layer].exp(), numbers))
    return loss


def _overlap(found: Tensor, numbers: Tensor) -> Tensor:
    """Mean soft Dice of the labels that are in a batch, the background (number 0) left out."""
    truth = functional.one_hot(numbers, found.shape[1]).movedim(3, 1)
    common, sizes = ((each).sum(dim=(0, 2, 3))[1:] for each in (found * truth, found + truth))
    present = (truth.sum(dim=(0, 2, 3))[1:] > 0).to(found.dtype)
    return (present * (2.0 * common + 1.0) / (sizes + 1.0)).sum() / present.sum().clamp(min=1.0)
