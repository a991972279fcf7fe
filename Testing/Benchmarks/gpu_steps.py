"""Part of `gpu.py`: training steps, whole and in pieces, beside the bytes and operations that they need at least."""
from __future__ import annotations

import os
import statistics
from dataclasses import replace

import torch
from gpu_bench import CUTOFF, GAP, LABELS, Bench, cloud, cube, drawing_of, pairs, print_table, seconds_of, slices
from torch import Tensor, nn

from TriplaneGaussianReconLib.config.presets import Training
from TriplaneGaussianReconLib.fitting.training import Renderer, TargetPlanes, train
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.gaussians.triplane import Attribute, TriplaneField
from TriplaneGaussianReconLib.self_supervised.optimizers import RECORD_AFTER

# Quadratic form, exponential, weight and one channel with its slope; their derivatives.
FORWARD_OPERATIONS, BACKWARD_OPERATIONS = 30, 45
SLOTS = 6  # of each Gaussian with labels, the image's among them
TRAINED = ("centres", "tilts", "in_plane", "log_depths", "raw_weights", "values", "slopes")
NO_FIELD: dict[Attribute, float] = {}
INTENSITY: dict[Attribute, float] = {"intensity": 0.05}
ALL_ATTRIBUTES: dict[Attribute, float] = {"tilts": 0.1, "scales": 0.3, "weights": 1.0, "intensity": 0.1}


class NoField(TriplaneField):
    """A field that adds nothing and costs nothing, for a step without one."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.planes = nn.ParameterList()
        self.register_buffer("box", torch.zeros(2, 3))

    def applied_to(self, parameters: GaussianParameters) -> GaussianParameters:
        return parameters


class Case:
    """What one training step works on.

    Args:
        bench: Where and how much.
        limits: Largest residuals of the tri-plane field; empty for no field.
        slots: Of each Gaussian; more than 1 for labels.
    """

    def __init__(self, bench: Bench, limits: dict[Attribute, float], slots: int = 1) -> None:
        self.bench, self.parameters = bench, cloud(bench, slots)
        planes, torch_random = slices(bench), torch.Generator().manual_seed(1)
        channel_count = 1 + (LABELS if slots > 1 else 0)
        images = torch.rand(len(planes), channel_count, *planes.shape[1:], generator=torch_random).to(bench.device)
        self.view = TargetPlanes(planes, images[:, 0].contiguous(), torch.ones(len(planes), 1, 1, device=bench.device),
                         images[:, 1:].contiguous() if slots > 1 else None)
        self.renderer = Renderer("normalised", CUTOFF, bench.backend, channel_count)
        self.limits = limits
        self.rates = dict.fromkeys((*TRAINED, "field") if limits else TRAINED, 1e-3)

    def field(self) -> TriplaneField:
        """Return a new field, with the same numbers every time."""
        if not self.limits:
            return NoField().to(self.bench.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            planes = self.view.planes
            far = [planes.columns - 1.0, planes.rows - 1.0, GAP * (len(planes) - 1)]
            return TriplaneField(torch.tensor([[0.0, 0.0, 0.0], far]), self.limits,
                                 resolution=self.bench.size.texels, features=8, hidden=16).to(self.bench.device)

    def trained(self, steps: int) -> GaussianParameters:
        """Return the result of `steps` steps of `training.train`."""
        result = train(self.parameters, self.field(), [self.view], self.renderer,
                       Training(steps=steps, learning_rates=self.rates, semantic_loss=1.0), 1e-3, 1.0,
                       lambda *_: None)
        self.bench.synchronize()
        return result

    def step_milliseconds(self) -> tuple[float, float | None]:
        """Time a whole step, launched kernel by kernel, and replayed from a CUDA graph (None on the CPU)."""
        if not self.bench.on_gpu:
            return self._per_step(1, 3, 1), None
        return self._per_step(2, 2 * RECORD_AFTER, 20), self._per_step(20, 120, 5)

    def _per_step(self, few: int, many: int, repeats: int) -> float:
        """Milliseconds of each further step.  What happens only once, such as recording, cancels out."""
        self.trained(many)
        return statistics.median(seconds_of(lambda: self.trained(many)) - seconds_of(lambda: self.trained(few))
                                 for _ in range(repeats)) / (many - few) * 1e3

    def pieces(self) -> tuple[float, float, float]:
        """Time forward (field, activations, drawing, loss), backward, and Adam, each replayed by itself."""
        leaves = {name: getattr(self.parameters, name).clone().requires_grad_() for name in TRAINED}
        parameters, field, view = replace(self.parameters, **leaves), self.field(), self.view
        everything = [*leaves.values(), *field.parameters()]

        def loss() -> Tensor:
            drawn = self.renderer(field.applied_to(parameters).drawn(), view.planes)
            total = 1e-3 * field.total_variation() + (view.weight * (drawn[:, 0] - view.target) ** 2).mean()
            return total if view.occupancies is None else total + ((drawn[:, 1:] - view.occupancies) ** 2).mean()

        forward = self.bench.milliseconds(self.bench.recorded(loss))
        both = self.bench.milliseconds(self.bench.recorded(lambda: torch.autograd.grad(loss(), everything)))
        for leaf in everything:
            leaf.grad = torch.full_like(leaf, 1e-3)
        adam = torch.optim.Adam(everything, lr=torch.tensor(1e-3, device=self.bench.device),
                                fused=self.bench.on_gpu, capturable=self.bench.on_gpu)
        return forward, both - forward, self.bench.milliseconds(self.bench.recorded(adam.step))

    def bytes_of_a_step(self) -> int:
        """Count the bytes that a step must move at least, without the field.

        Trained parameters and Adam's two moments are read and written, their gradients written and read: 8 times.
        Channel numbers are read.  For each pixel and channel the target is read, and what is drawn and its gradient are
        written and read: 5 times.  The sum of weights is written and read: twice.
        """
        trained = sum(getattr(self.parameters, name).nbytes for name in TRAINED)
        sums = 4 * self.view.target.numel()
        return 8 * trained + self.parameters.channels.nbytes + (5 * self.renderer.channel_count + 2) * sums


def _row(name: str, pieces: tuple[float, float, float], eager: float, replayed: float | None) -> list[str]:
    return [name, *(f"{number:.3f}" for number in (*pieces, eager)), "-" if replayed is None else f"{replayed:.3f}"]


_STEP_HEADER = ["ms", "forward", "backward", "Adam", "whole step, eager", "whole step, replayed"]


def report_steps(bench: Bench, rate: float, operations: float, with_cpu: bool) -> None:
    """Print a training step with and without the tri-plane field, and its lower bound."""
    print(f"\n## A training step: {bench.size.gaussians:,} Gaussians, {bench.size.layers} slices of "
          f"{bench.size.side} x {bench.size.side}, image only")
    case, rows = Case(bench, NO_FIELD), []
    eager, replayed = case.step_milliseconds()
    rows.append(_row("no field", case.pieces(), eager, replayed))
    for name, limits in (("field on intensity", INTENSITY), ("field on tilts, scales, weights, intensity",
                                                             ALL_ATTRIBUTES)):
        other = Case(bench, limits)
        rows.append(_row(name, other.pieces(), *other.step_milliseconds()))
    print_table(_STEP_HEADER, rows)
    report_floor(bench, case, eager if replayed is None else replayed, rate, operations)
    if with_cpu and bench.on_gpu:
        slow, _ = Case(replace(bench, device=torch.device("cpu")), NO_FIELD).step_milliseconds()
        print(f"\nThe same step without the field on the CPU ({os.cpu_count()} cores): {slow:,.0f} ms, "
              f"{slow / (replayed or eager):,.0f} times as long.")


def report_floor(bench: Bench, case: Case, step: float, rate: float, operations: float) -> None:
    """Print the number of pairs, the speed of drawing alone, and how far `step` (ms) is from its lower bound."""
    planes = case.view.planes
    counted = pairs(case.parameters, planes, CUTOFF)
    number = int(counted.sum())
    draw, both = drawing_of(bench, case.parameters, planes, "normalised")
    forward = bench.milliseconds(bench.recorded(draw))
    backward = bench.milliseconds(bench.recorded(both)) - forward
    moved, computed = case.bytes_of_a_step(), number * (FORWARD_OPERATIONS + BACKWARD_OPERATIONS)
    floor = max(moved / rate, computed / operations) * 1e3
    print_table(["", ""], [
        ["pairs of Gaussian and pixel", f"{number / 1e6:,.1f} M"],
        ["pairs per Gaussian", f"{number / len(counted):.1f} ({float((counted >= 25).float().mean()):.0%} have 25 or "
         f"more; least {int(counted.min())}, at the border)"],
        ["drawing alone, forward", f"{forward:.3f} ms, {number / forward / 1e6:,.1f} G pairs/s"],
        ["drawing alone, backward", f"{backward:.3f} ms, {number / backward / 1e6:,.1f} G pairs/s"],
        ["a step has to move", f"{moved / 1e6:,.0f} MB: {moved / rate * 1e3:.3f} ms"],
        ["a step has to compute", f"{computed / 1e9:,.1f} G operations: {computed / operations * 1e3:.3f} ms"],
        ["whole step without the field", f"{step:.3f} ms, {step / floor:.1f} times the floor"]])


def report_labels(bench: Bench) -> None:
    """Print a training step with many label channels."""
    print(f"\n## The same with {LABELS} label channels, {SLOTS} slots in each Gaussian")
    rows, steps = [], []
    for name, slots in (("image only", 1), (f"{LABELS} labels", SLOTS)):
        case = Case(bench, NO_FIELD, slots)
        eager, replayed = case.step_milliseconds()
        rows.append(_row(name, case.pieces(), eager, replayed))
        steps.append(eager if replayed is None else replayed)
    print_table(_STEP_HEADER, rows)
    print(f"\nWith labels a step takes {steps[1] / steps[0]:.1f} times as long.")


def report_alpha(bench: Bench) -> None:
    """Print drawing in mode `alpha`, all slices in one batch."""
    planes = slices(bench)
    print(f"\n## Mode alpha: {bench.size.alpha ** 3:,} Gaussians, {len(planes)} slices of {planes.rows} x "
          f"{planes.columns} in one batch")
    parameters = cube(bench)
    draw, both = drawing_of(bench, parameters, planes, "alpha")
    rows = [["eager", *(f"{bench.milliseconds(work):.3f}" for work in (draw, both))]]
    if bench.on_gpu:
        rows.append(["replayed", *(f"{bench.milliseconds(bench.recorded(work)):.3f}" for work in (draw, both))])
    print_table(["ms", "forward", "forward and backward"], rows)
    print(f"\n{float(pairs(parameters, planes, CUTOFF).float().mean()):.1f} pairs per Gaussian.")


def report_repeats(bench: Bench) -> None:
    """Print how much two runs with one seed differ, and how much the GPU differs from the CPU."""
    print("\n## Repeated")
    case = Case(bench, ALL_ATTRIBUTES)
    first, second = case.trained(20), case.trained(20)
    equal = all(torch.equal(a, b) for a, b in zip(first.tensors().values(), second.tensors().values(), strict=True))
    with torch.no_grad():
        once, again = (case.renderer(run.drawn(), case.view.planes) for run in (first, second))
        start = Case(replace(bench, device=torch.device("cpu")), ALL_ATTRIBUTES)
        on_cpu = start.renderer(start.parameters.drawn(), start.view.planes)
        here = case.renderer(case.parameters.drawn(), case.view.planes).cpu()
    print_table(["largest difference / range", ""], [
        ["two trainings of 20 steps with one seed, as drawn", f"{_difference(once, again):.1e}"],
        ["their parameters", "equal bit for bit" if equal else "not equal bit for bit"],
        [f"one drawing on {bench.device.type} and cpu", f"{_difference(here, on_cpu):.1e}"]])


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / (b.max() - b.min()))
