"""Adam, Muon, learning rates that follow a plateau, and steps that a GPU records and replays.

Nothing here waits for a device: rates, losses and step numbers stay where the work is done.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import torch
from torch import Tensor
from torch.optim.adam import adam

from ..config.networks import OptimizerConfig
from ..runtime.memory import budget

# On a GPU the first steps are made one operation after another; the next is recorded once, and replayed from then on.
RECORD_AFTER = 3
_RECORDING = Lock()  # while one thread records, another that begins to would end both
# Coefficients of the odd polynomial that takes singular values to about 1 (Jordan et al., 2024).
QUINTIC = 3.4445, -4.7750, 2.0315


class Adam:
    """Adam, whose rates lie on the device and may be changed there.

    The steps are torch's own (`torch.optim.adam.adam`); its optimiser classes would load torch's compiler, which takes
    seconds.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[Tensor], float]], second_moment: float = 0.999) -> None:
        """Start without any momentum.

        Args:
            groups: (leaves, rate) each, all on one device.
            second_moment: decay of the squared gradients.
        """
        self.parameters = [leaf for leaves, _ in groups for leaf in leaves]
        device = self.parameters[0].device if self.parameters else torch.device("cpu")
        self.rates = [torch.tensor(rate, device=device) for _, rate in groups]
        self.sizes = [len(leaves) for leaves, _ in groups]
        self.means = [torch.zeros_like(leaf) for leaf in self.parameters]
        self.squares = [torch.zeros_like(leaf) for leaf in self.parameters]
        self.steps = [torch.zeros((), device=device) for _ in self.parameters]
        self.second_moment, self.on_gpu = second_moment, device.type == "cuda"

    def moments_of(self, leaves: Iterable[Tensor]) -> list[Tensor]:
        """Return what is remembered of `leaves`: of each the mean gradient and the mean squared gradient."""
        places = {id(leaf): n for n, leaf in enumerate(self.parameters)}
        return [memory[places[id(leaf)]] for leaf in leaves for memory in (self.means, self.squares)]

    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """Make a step along `gradients` of `parameters` (None for 0)."""
        first = 0
        with torch.no_grad():
            for rate, size in zip(self.rates, self.sizes, strict=True):
                here = [n for n in range(first, first + size) if gradients[n] is not None]
                first += size
                adam([self.parameters[n] for n in here], [gradients[n] for n in here],  # type: ignore[misc]
                     [self.means[n] for n in here], [self.squares[n] for n in here], [], [self.steps[n] for n in here],
                     capturable=self.on_gpu, fused=self.on_gpu, amsgrad=False, beta1=0.9, beta2=self.second_moment,
                     lr=rate, weight_decay=0.0, eps=1e-8, maximize=False)


class Muon:
    """Momentum whose matrices are made orthogonal, so that no direction is favoured (Jordan et al.,
    https://kellerjordan.github.io/posts/muon, 2024), with steps as long as those of Adam (Liu et al., 2025,
    arXiv:2502.16982).  All matrices are worked on at once, in single precision: torch's own takes one after another.
    """

    def __init__(self, matrices: Sequence[Tensor], rate: Tensor, config: OptimizerConfig) -> None:
        """Start without any momentum.

        Args:
            matrices: of one shape; all axes after the first count as columns.
            rate: lies on their device, may be changed.
            config: momentum, length of a step, rounds of the iteration.
        """
        self.matrices, self.rate, self.config = list(matrices), rate, config
        self.momenta = [torch.zeros_like(matrix) for matrix in self.matrices]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Make a step along `gradients` of the matrices."""
        with torch.no_grad():
            torch._foreach_lerp_(self.momenta, [*gradients], 1.0 - self.config.momentum)
            ahead = torch._foreach_lerp([*gradients], self.momenta, self.config.momentum)
            ways = orthogonal(torch.stack([way.flatten(1) for way in ahead]), self.config.rounds)
            ways = ways * (-self.config.step_length * math.sqrt(max(ways.shape[1:])) * self.rate)
            torch._foreach_add_(self.matrices, [way.view(m.shape) for way, m in zip(ways, self.matrices, strict=True)])


def orthogonal(matrices: Tensor, rounds: int) -> Tensor:
    """Make all singular values of matrices [n, row, column] lie between about 0.7 and 1.2; those that are 0 stay.

    rounds: of the iteration.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT, rounds).mT
    first, third, fifth = QUINTIC
    result = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(rounds):
        square = result @ result.mT
        result = first * result + (third * square + fifth * square @ square) @ result
    return result


class Plateau:
    """Halves rates when the loss has not fallen for more than `patience` steps: torch's ReduceLROnPlateau, but on the
    device.
    """

    def __init__(self, rates: list[Tensor], patience: int) -> None:
        self.rates, self.patience = rates, patience
        device = rates[0].device if rates else torch.device("cpu")
        self.best, self.bad = torch.full((), float("inf"), device=device), torch.zeros((), device=device)

    def follow(self, loss: Tensor) -> None:
        """Note the loss of another step."""
        with torch.no_grad():
            better = loss < self.best * (1.0 - 1e-4)
            self.best.copy_(torch.where(better, loss, self.best))
            self.bad.copy_(torch.where(better, 0.0, self.bad + 1.0))
            enough = self.bad > self.patience
            self.bad.masked_fill_(enough, 0.0)
            if self.rates:
                torch._foreach_mul_(self.rates, torch.where(enough, 0.5, 1.0))


class HalfCosine:
    """Lets rates fall along half a cosine, on the device."""

    def __init__(self, rates: list[Tensor], steps: int, final: float) -> None:
        """Begin with the rates as they are; final: share of them that is left after so many steps."""
        self.rates, self.first, self.final = rates, [rate.clone() for rate in rates], final
        device = rates[0].device if rates else torch.device("cpu")
        self.turn = torch.tensor(math.pi / max(steps, 1), device=device)
        self.number = torch.zeros((), device=device)

    def follow(self, loss: Tensor) -> None:
        """Note that another step was made."""
        with torch.no_grad():
            self.number.add_(1.0)
            share = self.final + (1.0 - self.final) * 0.5 * (1.0 + torch.cos(self.number * self.turn))
            for rate, first in zip(self.rates, self.first, strict=True):
                rate.copy_(first * share)


class LatestKnown:
    """A number that a device computes, read without waiting for it: on a GPU it may be an older one."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.number = torch.full((), float("nan"), pin_memory=self.on_gpu)
        self.copied = torch.cuda.Event() if self.on_gpu else None
        self.known = float("nan")

    def note(self, number: Tensor) -> None:
        """Note a new number."""
        if self.copied is not None and not self.copied.query():
            return  # the one before is still on its way
        self.value()
        self.number.copy_(number, non_blocking=True)
        if self.copied is not None:
            self.copied.record()

    def value(self) -> float:
        """The latest number that has arrived."""
        if self.copied is None or self.copied.query():
            self.known = float(self.number)
        return self.known


def repeat(step: Callable[[], Tensor], steps: int, device: torch.device, tick: Callable[[int, float], None]) -> None:
    """Call `step` several times.

    On a GPU the operations of one call are recorded in a CUDA graph and replayed, which saves launching each of them:
    whatever changes from step to step must lie on the GPU.

    Args:
        step: returns a loss, a scalar tensor.
        steps: how often it is called.
        device: on which it works.
        tick: called before every step with its number and the latest loss known; may raise to stop.
    """
    loss, replay, on_gpu = LatestKnown(device), None, device.type == "cuda"
    held = torch.cuda.memory_allocated(device) if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    for number in range(steps):
        tick(number, loss.value())
        if on_gpu and number == RECORD_AFTER and steps > 2 * RECORD_AFTER and _has_room(device, held):
            replay = _recorded(step)
        loss.note(replay() if replay else step())


def _has_room(device: torch.device, held: int) -> bool:
    """Whether there is memory for what is recorded: running out of it while recording ends the process.

    held: bytes that were allocated before the first step.
    """
    return budget(device) > 2 * (torch.cuda.max_memory_allocated(device) - held)


def _recorded(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record the operations that `step` starts on the GPU; return a function that replays them."""
    graph, own = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    stream = None if own == torch.cuda.default_stream() else own  # on that one nothing can be recorded
    # What other threads do meanwhile is not recorded, and does no harm.
    with _RECORDING, torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


@contextmanager
def on_own_stream(device: torch.device) -> Iterator[None]:
    """Let a GPU work on what this thread asks for beside what others ask for.

    It begins when the work in the queue of the default stream is done, and that goes on when this is done.
    """
    if device.type != "cuda":
        yield
        return
    others = torch.cuda.default_stream(device)
    own = torch.cuda.Stream(device)
    own.wait_stream(others)
    with torch.cuda.stream(own):
        yield
    others.wait_stream(own)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Let convolutions on a GPU give the same bits every time.

    The setting is the whole process's.  It is left alone on the CPU, where several networks are trained at a time.
    """
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True):
        yield
