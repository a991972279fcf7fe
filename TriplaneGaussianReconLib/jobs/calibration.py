"""How slow this computer is: less than a second of the library's own work, against `costs.REFERENCE`."""
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch

from ..config.presets import DEFAULT_PRESET, preset_named
from ..data.gap_sampling import evenly
from ..errors import Cancelled
from ..runtime.processors import usable_threads
from ..runtime.threads import serial_torch
from ..self_supervised.slice_context import SliceContext
from ..self_supervised.super_resolution import Trainer
from .costs import REFERENCE, DeviceKind, Reference
from .estimates import NETWORKS_AT_A_TIME, Slowness

_LEARNING_SECONDS, _DRAWING_SECONDS = 0.35, 0.1
_STARTING_SECONDS = 2.0  # that the first steps may take, in which libraries prepare themselves
_FIRST_STEPS = 5  # which are not counted
_NUMBERS = 2 ** 23  # in a pass over memory


def slowness(device: torch.device) -> Slowness:
    """Return how many times as long this computer takes as the one on which costs were measured.

    Args:
        device: On which to compute, with as many threads as `usable_threads` says.
    """
    kind: DeviceKind = "cuda" if device.type == "cuda" else "cpu"
    here, there = measured(device), REFERENCE[kind]
    return Slowness(here.learning / there.learning, here.drawing / there.drawing)


def measured(device: torch.device) -> Reference:
    """Return what is compared: seconds of a step of learning, and of a pass over memory."""
    with torch.random.fork_rng(devices=[]):  # the caller's own random numbers go on as they were
        return Reference(_learning(device), _drawing(device))


def _learning(device: torch.device) -> float:
    """Seconds of a step of each of two networks of the default preset, trained as they are in a reconstruction."""
    config = preset_named(DEFAULT_PRESET).super_resolution
    assert config is not None, "the default preset learns"
    slices = torch.rand(8, 64, 64, generator=torch.Generator().manual_seed(0)).to(device)
    trainer = Trainer(slices, 4.0 * np.arange(len(slices)), (1.0, 1.0), 1.0, replace(config, steps=1000), 0)
    context = trainer.context(np.arange(len(slices) - 1), evenly(3))
    if device.type == "cuda":
        return _step(trainer, context) * NETWORKS_AT_A_TIME
    workers = min(NETWORKS_AT_A_TIME, usable_threads())
    with serial_torch(), ThreadPoolExecutor(workers) as pool:
        steps = list(pool.map(lambda _: _step(trainer, context), range(workers)))
    return float(np.mean(steps)) * NETWORKS_AT_A_TIME / workers


def _step(trainer: Trainer, context: SliceContext) -> float:
    """Seconds of a step of one network."""
    times: list[float] = []

    def note(step: int, steps: int, loss: float) -> None:
        if trainer.slices.is_cuda:
            torch.cuda.synchronize(trainer.slices.device)
        times.append(time.perf_counter())
        counted = times[_FIRST_STEPS:]
        if len(counted) > 1 and (counted[-1] - counted[0] > _LEARNING_SECONDS
                                 or counted[-1] - times[0] > _STARTING_SECONDS):
            raise Cancelled

    with suppress(Cancelled):
        trainer.train(context, note)
    return float(np.median(np.diff(times[_FIRST_STEPS:])))


def _drawing(device: torch.device) -> float:
    """Seconds of an exponential of many numbers, with as many threads as torch has."""
    numbers = torch.linspace(-1.0, 0.0, _NUMBERS, device=device)
    results, times = torch.empty_like(numbers), list[float]()
    start = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - start < _DRAWING_SECONDS:
        before = time.perf_counter()
        torch.exp(numbers, out=results)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - before)
    return float(np.median(times[1:]))
