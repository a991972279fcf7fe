"""Trains the network for labels on the labelled slices of one stack."""
from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..config.label_completion import LabelCompletionConfig
from ..runtime.progress import Tick
from ..self_supervised.minimise import minimise_in_parts, warm_up_and_cosine
from .examples import Batch, Examples
from .network import CompletionNetwork


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
    rates = [config.rate * warm_up_and_cosine(n, config.steps, config.optimizer.warm_up) for n in range(*span)]
    minimise_in_parts(lambda number, part: _loss(network, examples.at(number, part), config),
                      list(network.parameters()), rates, config.optimizer.second_moment,
                      lambda done, loss: tick(span[0] + done, config.steps, loss))


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
