#!/usr/bin/env python3
"""How fast the CUDA rasterizer is on the GPU at hand, what it could be at best, and how that compares.

    gpu.py [VOLUME] [--parts steps,labels,alpha,repeats,stages,memory,gsplat] [--with-cpu] [--slices 400]

Prints Markdown: what the card can do; a training step in pieces, against what it has to move and compute; many label
channels; mode `alpha`; whether runs repeat; seconds and memory of whole reconstructions by preset and stage, start-up
and compilation apart; a large volume under a cap on the GPU's memory; and gsplat's projective rasterizer.

VOLUME is what `stages` and `memory` reconstruct (every 4th slice kept); without it, a synthetic one of 160^3 voxels.
--with-cpu adds the CPU to `steps` and `stages`, which takes some minutes.  `--device cpu --small` tries the program out
where there is no GPU.
"""
from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from TriplaneGaussianReconLib.descent import RECORD_AFTER
from TriplaneGaussianReconLib.devices import choose
from TriplaneGaussianReconLib.errors import BackendUnavailableError
from TriplaneGaussianReconLib.evaluation import peak_memory
from TriplaneGaussianReconLib.gaussians import GaussianParameters, Gaussians
from TriplaneGaussianReconLib.geometry import Grid, PlaneStack
from TriplaneGaussianReconLib.gpu.cache import FOLDER_VARIABLE
from TriplaneGaussianReconLib.gpu.compiler import version as nvrtc_version
from TriplaneGaussianReconLib.image_files import read_image
from TriplaneGaussianReconLib.images import Image, Segmentation
from TriplaneGaussianReconLib.observations import Observations
from TriplaneGaussianReconLib.presets import PRESETS, Training
from TriplaneGaussianReconLib.progress import STAGES
from TriplaneGaussianReconLib.rasterizer import Backend, Mode, rasterize
from TriplaneGaussianReconLib.reconstruction import reconstruct
from TriplaneGaussianReconLib.selection import Selection
from TriplaneGaussianReconLib.training import Drawing, View, train
from TriplaneGaussianReconLib.triplane import Attribute, TriplaneField

PARTS = ("steps", "labels", "alpha", "repeats", "stages", "memory", "gsplat")
CUTOFF = 12.0
GAP = 4.0  # mm between slices; pixels are 1 mm
# Quadratic form, exponential, weight and one channel with its slope; their derivatives.
FORWARD_OPERATIONS, BACKWARD_OPERATIONS = 30, 45
LABELS, SLOTS = 45, 6  # label channels that exist; slots of each Gaussian, the image's among them
TRAINED = ("centres", "tilts", "in_plane", "log_depths", "raw_weights", "values", "slopes")
NO_FIELD: dict[Attribute, float] = {}
INTENSITY: dict[Attribute, float] = {"intensity": 0.05}
ALL_ATTRIBUTES: dict[Attribute, float] = {"tilts": 0.1, "scales": 0.3, "weights": 1.0, "intensity": 0.1}
CAP = 8e9  # bytes of GPU memory that the large volume may take


@dataclass(frozen=True)
class Size:
    """How much is measured.  layers, side: slices, and pixels along their sides, with a Gaussian on each pixel.

    alpha: Gaussians along each side of the cube of mode `alpha`.  texels: resolution of the field.  copied: bytes.
    matrix: its side.  view: columns and rows of gsplat's image.  cube, large: sides (voxels) of synthetic volumes.
    """

    layers: int = 40
    side: int = 160
    alpha: int = 40
    texels: int = 48
    copied: int = 2 ** 30
    matrix: int = 8192
    view: tuple[int, int] = (1280, 800)
    cube: int = 160
    large: int = 512

    @property
    def gaussians(self) -> int:
        """Of the cloud that training steps and gsplat draw."""
        return self.layers * self.side ** 2


SMALL = Size(layers=6, side=24, alpha=6, texels=8, copied=2 ** 24, matrix=256, view=(72, 48), cube=24, large=48)


@dataclass(frozen=True)
class Bench:
    """Where and how much to measure."""

    device: torch.device
    size: Size

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def backend(self) -> Backend:
        return "cuda" if self.on_gpu else "cpu"

    def synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def milliseconds(self, work: Callable[[], object]) -> float:
        """Median time of `work` after warming up: of 20 by the GPU's clock, or of 3 on the CPU."""
        for _ in range(3 if self.on_gpu else 1):
            work()
        self.synchronize()
        if not self.on_gpu:
            return statistics.median(_seconds(work) for _ in range(3)) * 1e3
        events = [torch.cuda.Event(enable_timing=True) for _ in range(21)]
        events[0].record()
        for event in events[1:]:
            work()
            event.record()
        self.synchronize()
        return statistics.median(a.elapsed_time(b) for a, b in zip(events, events[1:], strict=False))

    def recorded(self, work: Callable[[], object]) -> Callable[[], object]:
        """What does `work` again without the host's part in it: a CUDA graph.  On the CPU, `work` itself."""
        if not self.on_gpu:
            return work
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown: the first column on the left, the others on the right."""
    print()
    for row in (header, ["---", *["---:"] * (len(header) - 1)], *rows):
        print(f"| {' | '.join(row)} |", flush=True)


# What is drawn ------------------------------------------------------------------------------------------------------


def slices(bench: Bench) -> PlaneStack:
    """The slices that are drawn: pixels of 1 mm, `GAP` apart."""
    origins = np.zeros((bench.size.layers, 3))
    origins[:, 2] = GAP * np.arange(len(origins))
    return PlaneStack(origins, np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), bench.size.side, bench.size.side)


def cloud(bench: Bench, slots: int = 1) -> GaussianParameters:
    """A Gaussian on each pixel, half-way between the slices, a little off; each sees the slices on either side of it.

    slots: 1, or more for labels, whose channels are drawn by lot.
    """
    size, generator = bench.size, torch.Generator().manual_seed(0)
    z, y, x = torch.meshgrid(GAP * (torch.arange(size.layers) + 0.5), *[torch.arange(float(size.side))] * 2,
                             indexing="ij")
    count, sideways = size.gaussians, torch.tensor([1.0, 1.0, 0.0])
    round_ = torch.tensor([-math.log(0.7), 0.0, -math.log(0.7)])
    channels = torch.zeros(count, slots, dtype=torch.int32)
    channels[:, 1:] = torch.randint(1, LABELS + 1, (count, slots - 1), generator=generator)
    return GaussianParameters(
        centres=torch.stack([x, y, z], -1).reshape(-1, 3) + 0.2 * sideways * torch.randn(count, 3, generator=generator),
        tilts=0.1 * torch.randn(count, 2, generator=generator),
        in_plane=round_ + 0.02 * torch.randn(count, 3, generator=generator),
        log_depths=torch.full((count,), math.log(1.6)), raw_weights=torch.zeros(count),
        values=torch.rand(count, slots, generator=generator),
        slopes=0.1 * torch.randn(count, slots, 3, generator=generator), channels=channels).to(bench.device)


def cube(bench: Bench) -> GaussianParameters:
    """Round Gaussians on a regular grid, for mode `alpha`."""
    side = bench.size.alpha
    axis = GAP * (torch.arange(side) + 0.5)
    count, spread = side ** 3, math.log(1.6)
    return GaussianParameters(
        centres=torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3),
        tilts=0.05 * torch.randn(count, 2, generator=torch.Generator().manual_seed(0)),
        in_plane=torch.tensor([-spread, 0.0, -spread]).repeat(count, 1), log_depths=torch.full((count,), spread),
        raw_weights=torch.full((count,), 0.2), values=torch.full((count, 1), 0.8), slopes=torch.zeros(count, 1, 3),
        channels=torch.zeros(count, 1, dtype=torch.int32)).to(bench.device)


def pairs(parameters: GaussianParameters, planes: PlaneStack, cutoff: float) -> Tensor:
    """(N,) how many pixels each Gaussian reaches, counted pixel by pixel without the rasterizer.

    planes: at the depths `origins[:, 2]`, pixels of 1 mm from (0, 0) on.  cutoff: squared Mahalanobis distance.
    """
    widest = float((-parameters.in_plane[:, ::2]).exp().max()) * math.sqrt(cutoff)
    offsets = torch.arange(-math.ceil(widest) - 1, math.ceil(widest) + 2, device=parameters.centres.device)
    counts = torch.zeros(len(parameters), dtype=torch.int64, device=parameters.centres.device)
    for depth in planes.origins[:, 2]:
        away = float(depth) - parameters.centres[:, 2]
        rest = cutoff - (away / parameters.log_depths.exp()) ** 2
        for chosen in torch.nonzero(rest >= 0.0)[:, 0].split(2 ** 17):
            some = parameters.subset(chosen)
            middle = some.centres[:, :2] + some.tilts * away[chosen, None]
            pixels = middle.round()[:, :, None] + offsets
            x, y = (pixels - middle[:, :, None]).unbind(1)
            column, row = pixels.unbind(1)
            xx, yx, yy = some.in_plane[:, 0].exp(), some.in_plane[:, 1], some.in_plane[:, 2].exp()
            squared = ((xx[:, None, None] * x[:, None] + yx[:, None, None] * y[:, :, None]) ** 2
                       + (yy[:, None] * y)[:, :, None] ** 2)
            inside = (((column >= 0) & (column < planes.columns))[:, None]
                      & ((row >= 0) & (row < planes.rows))[:, :, None])
            counts[chosen] += ((squared <= rest[chosen, None, None]) & inside).sum((1, 2))
    return counts


def leaves_of(drawn: Gaussians) -> tuple[Gaussians, list[Tensor]]:
    """The Gaussians as leaves, and those of their tensors that have a gradient."""
    leaves = {name: getattr(drawn, name).detach().clone().requires_grad_()
              for name in ("centres", "precisions", "weights", "values", "slopes")}
    return replace(drawn, **leaves), list(leaves.values())


def drawing_of(bench: Bench, parameters: GaussianParameters, planes: PlaneStack, mode: Mode
               ) -> tuple[Callable[[], object], Callable[[], object]]:
    """Drawing alone, image only: forward; and forward and backward."""
    gaussians, leaves = leaves_of(parameters.drawn())

    def draw() -> Tensor:
        return rasterize(gaussians, planes, mode=mode, channel_count=1, backend=bench.backend, cutoff=CUTOFF).channels

    received = torch.rand(len(planes), 1, *planes.shape[1:], device=bench.device)
    return torch.no_grad()(draw), lambda: torch.autograd.grad(draw(), leaves, received)


# The card -----------------------------------------------------------------------------------------------------------


def driver_version() -> str:
    try:
        return subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], check=True,
                              capture_output=True, text=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def speeds(bench: Bench) -> tuple[float, float]:
    """Measured bytes/s of a copy (read and written) and float32 operations/s of a matrix product, without TF32."""
    torch.set_float32_matmul_precision("highest")
    source = torch.zeros(bench.size.copied // 4, device=bench.device)
    target = torch.empty_like(source)
    rate = 2 * source.nbytes / bench.milliseconds(lambda: target.copy_(source)) * 1e3
    side = bench.size.matrix
    factor = torch.randn(side, side, device=bench.device)
    return rate, 2 * side ** 3 / bench.milliseconds(lambda: factor @ factor) * 1e3


def report_card(bench: Bench) -> tuple[float, float]:
    """Print what is measured on; return `speeds`."""
    rate, operations = speeds(bench)
    try:
        nvrtc = nvrtc_version()
    except BackendUnavailableError:
        nvrtc = "not found"
    properties = torch.cuda.get_device_properties(bench.device) if bench.on_gpu else None
    print_table(["", ""], [
        ["card", f"{properties.name}, {properties.total_memory / 1e9:.0f} GB" if properties else "none: CPU"],
        ["driver", driver_version()], ["torch", torch.__version__], ["CUDA of torch", str(torch.version.cuda)],
        ["NVRTC", nvrtc], ["copying, read and written", f"{rate / 1e9:,.0f} GB/s"],
        ["float32 matrix product", f"{operations / 1e12:.1f} TFLOP/s"]])
    return rate, operations


# A training step ----------------------------------------------------------------------------------------------------


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

    limits: residuals of the tri-plane field; empty for none.  slots: of each Gaussian; more than 1 for labels.
    """

    def __init__(self, bench: Bench, limits: dict[Attribute, float], slots: int = 1) -> None:
        self.bench, self.parameters = bench, cloud(bench, slots)
        planes, torch_random = slices(bench), torch.Generator().manual_seed(1)
        channel_count = 1 + (LABELS if slots > 1 else 0)
        images = torch.rand(len(planes), channel_count, *planes.shape[1:], generator=torch_random).to(bench.device)
        self.view = View(planes, images[:, 0].contiguous(), torch.ones(len(planes), 1, 1, device=bench.device),
                         images[:, 1:].contiguous() if slots > 1 else None)
        self.drawing = Drawing("normalised", CUTOFF, bench.backend, channel_count)
        self.limits = limits
        self.rates = dict.fromkeys((*TRAINED, "field") if limits else TRAINED, 1e-3)

    def field(self) -> TriplaneField:
        """A new field, the same every time."""
        if not self.limits:
            return NoField().to(self.bench.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            planes = self.view.planes
            far = [planes.columns - 1.0, planes.rows - 1.0, GAP * (len(planes) - 1)]
            return TriplaneField(torch.tensor([[0.0, 0.0, 0.0], far]), self.limits,
                                 resolution=self.bench.size.texels, features=8, hidden=16).to(self.bench.device)

    def trained(self, steps: int) -> GaussianParameters:
        """The result of `steps` steps of `training.train`."""
        result = train(self.parameters, self.field(), [self.view], self.drawing,
                       Training(steps=steps, learning_rates=self.rates, semantic_loss=1.0), 1e-3, 1.0,
                       lambda *_: None)
        self.bench.synchronize()
        return result

    def step_milliseconds(self) -> tuple[float, float | None]:
        """A whole step, started piece by piece and replayed from a CUDA graph (None on the CPU)."""
        if not self.bench.on_gpu:
            return self._per_step(1, 3, 1), None
        return self._per_step(2, 2 * RECORD_AFTER, 20), self._per_step(20, 120, 5)

    def _per_step(self, few: int, many: int, repeats: int) -> float:
        """Milliseconds that each further step takes; what is done once, recording for instance, cancels out."""
        self.trained(many)
        return statistics.median(_seconds(lambda: self.trained(many)) - _seconds(lambda: self.trained(few))
                                 for _ in range(repeats)) / (many - few) * 1e3

    def pieces(self) -> tuple[float, float, float]:
        """Milliseconds of forward (field, activations, drawing, loss), backward, and Adam, each replayed by itself."""
        leaves = {name: getattr(self.parameters, name).clone().requires_grad_() for name in TRAINED}
        parameters, field, view = replace(self.parameters, **leaves), self.field(), self.view
        everything = [*leaves.values(), *field.parameters()]

        def loss() -> Tensor:
            drawn = self.drawing(field.applied_to(parameters).drawn(), view.planes)
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
        """What has to be moved at least, without the field.

        Trained parameters and Adam's two moments are read and written, their gradients written and read: 8 times.
        Channel numbers are read.  Of each pixel the target is read; what is drawn, and its gradient, is written and
        read: 5 times; so is the sum of the weights, without target and gradient: twice.
        """
        trained = sum(getattr(self.parameters, name).nbytes for name in TRAINED)
        sums = 4 * self.view.target.numel()
        return 8 * trained + self.parameters.channels.nbytes + (5 * self.drawing.channel_count + 2) * sums


def _row(name: str, pieces: tuple[float, float, float], eager: float, replayed: float | None) -> list[str]:
    return [name, *(f"{number:.3f}" for number in (*pieces, eager)), "-" if replayed is None else f"{replayed:.3f}"]


_STEP_HEADER = ["ms", "forward", "backward", "Adam", "whole step, eager", "whole step, replayed"]


def report_steps(bench: Bench, rate: float, operations: float, with_cpu: bool) -> None:
    """Print a training step with and without the tri-plane field, and what it could be at best."""
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
    """Print how many pairs there are, how fast drawing alone is, and how far `step` (ms) is from its floor."""
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
    """Print how far two runs with one seed, and the implementations, are from each other."""
    print("\n## Repeated")
    case = Case(bench, ALL_ATTRIBUTES)
    first, second = case.trained(20), case.trained(20)
    equal = all(torch.equal(a, b) for a, b in zip(first.tensors().values(), second.tensors().values(), strict=True))
    with torch.no_grad():
        once, again = (case.drawing(run.drawn(), case.view.planes) for run in (first, second))
        start = Case(replace(bench, device=torch.device("cpu")), ALL_ATTRIBUTES)
        on_cpu = start.drawing(start.parameters.drawn(), start.view.planes)
        here = case.drawing(case.parameters.drawn(), case.view.planes).cpu()
    print_table(["largest difference / range", ""], [
        ["two trainings of 20 steps with one seed, as drawn", f"{_difference(once, again):.1e}"],
        ["their parameters", "equal bit for bit" if equal else "not equal bit for bit"],
        [f"one drawing on {bench.device.type} and cpu", f"{_difference(here, on_cpu):.1e}"]])


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / (b.max() - b.min()))


# Whole reconstructions ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """Reconstructions in a process of their own, one after another.

    shape: (slices, side) of a synthetic volume with four labels, where no file `volume` is given.  runs: how many
    after the first.  cap: bytes of GPU memory that it may have, or None.
    """

    device: str
    preset: str
    keep_every: int
    volume: str = ""
    shape: tuple[int, int] = (0, 0)
    with_labels: bool = False
    runs: int = 0
    cap: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What a Job took.  imports, context, kernels: seconds of start-up, context and kernels of the GPU.

    seconds, stages: of each run.  allocated, reserved: bytes of GPU memory at most.  host: bytes, at most.
    """

    imports: float
    context: float
    kernels: float
    seconds: list[float]
    stages: list[dict[str, float]]
    slabs: int
    gaussians: int
    voxels: int
    allocated: int
    reserved: int
    host: int

    @property
    def typical(self) -> float:
        """Median seconds of the runs after the first, or of the first if that is all."""
        return statistics.median(self.seconds[1:] or self.seconds)

    def stage(self, name: str) -> float:
        """The same of one stage."""
        return statistics.median(stage[name] for stage in self.stages[1:] or self.stages)


def perform(job: Job) -> dict[str, Any]:
    """Do a Job in this process; return an Outcome's fields, and instead of `imports` the time of day after these."""
    imported = time.time()
    device = torch.device(job.device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.zeros(1, device=device)
        torch.cuda.synchronize()
    context = time.time()
    choose(job.device)
    ready = time.time()
    if on_gpu and job.cap:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, job.cap / total))
    if job.volume:
        image, segmentation = read_image(job.volume), None
    else:
        image, segmentation = synthetic(*job.shape, job.with_labels)
    seconds, reports = [], []
    for _ in range(1 + job.runs):
        start = time.perf_counter()
        observations = Observations.from_volume(
            image, {"k": Selection.every(image.grid.count("k"), job.keep_every)}, segmentation)
        reports.append(reconstruct(observations, image.grid, preset=job.preset, device=job.device).report)
        seconds.append(time.perf_counter() - start)
    return {"imports": imported, "context": context - imported, "kernels": ready - context, "seconds": seconds,
            "stages": [report["seconds"] for report in reports], "slabs": reports[-1]["slabs"],
            "gaussians": reports[-1]["gaussians"], "voxels": image.array.size, "host": peak_memory() or 0,
            "allocated": torch.cuda.max_memory_allocated(device) if on_gpu else 0,
            "reserved": torch.cuda.max_memory_reserved(device) if on_gpu else 0}


def performed(job: Job, cache: str | None = None) -> Outcome | None:
    """Do a Job in a process of its own, with compiled code kept in folder `cache`; None, with a line, if it fails."""
    environment = {**os.environ, **({FOLDER_VARIABLE: cache, "NUMBA_CACHE_DIR": cache} if cache else {})}
    start = time.time()
    process = subprocess.run([sys.executable, __file__, "--job", json.dumps(dataclasses.asdict(job))],
                             capture_output=True, text=True, env=environment)
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or ["killed"])[-1]
        print(f"\n{job.preset} on {job.device} failed: {reason}", flush=True)
        return None
    answer = json.loads(process.stdout.splitlines()[-1])
    return Outcome(**{**answer, "imports": answer["imports"] - start})


def synthetic(count: int, side: int, with_labels: bool) -> tuple[Image, Segmentation | None]:
    """A volume of `count` slices of `side` x `side`: smooth blobs, of four kinds, and noise everywhere.

    Made slice by slice, so that nothing but the volume itself takes memory.  Noise leaves no empty background.
    """
    random, blobs = np.random.default_rng(0), 32
    kind, brightness = np.arange(blobs) % 4, np.array([300, 500, 700, 900], np.float32)
    shape = (count, side, side)
    z, y, x = (np.exp(-0.5 * ((np.arange(n) / n - random.uniform(0.1, 0.9, (blobs, 1)))
                              / random.uniform(0.05, 0.15, (blobs, 1))) ** 2).astype(np.float32) for n in shape)
    array, labels = np.empty(shape, np.int16), np.zeros(shape, np.uint8)
    for k in range(count):
        parts = np.stack([(y[kind == n] * z[kind == n, k:k + 1]).T @ x[kind == n] for n in range(4)])
        noise = 20.0 * random.standard_normal((side, side), np.float32)
        array[k] = np.tensordot(brightness, parts, 1) + noise
        labels[k] = np.where(parts.max(0) > 0.5, 1 + parts.argmax(0), 0)
    grid = Grid(shape)
    return Image(array, grid), Segmentation.from_labelmap(labels, grid) if with_labels else None


def report_stages(bench: Bench, volume: str, with_cpu: bool) -> None:
    """Print seconds of each preset and stage, of starting up and of compiling, and memory."""
    print(f"\n## Whole reconstructions of {os.path.basename(volume) or 'a synthetic volume'}, every 4th slice kept")
    devices = [bench.device.type, *(["cpu"] if with_cpu and bench.on_gpu else [])]
    starts: list[list[str]] = []
    columns: list[tuple[str, Outcome]] = []
    for device, preset in itertools.product(devices, PRESETS):
        job = Job(device, preset, 4, volume, (bench.size.cube, bench.size.cube))
        with tempfile.TemporaryDirectory() as cache:
            starts += _start(job, performed(job, cache), "no")
            outcome = performed(replace(job, runs=3 if device == "cuda" else 1), cache)
        starts += _start(job, outcome, "yes")
        columns += [(f"{preset}, {device}", outcome)] if outcome else []
    print_table(["device", "preset", "compiled before", "imports, s", "context, s", "kernels, s",
                 "first reconstruction, s", "all, s"], starts)
    print_table(["s, median of the runs after the first", *(name for name, _ in columns)], [
        *([stage, *(f"{outcome.stage(stage):.3f}" for _, outcome in columns)] for stage in STAGES),
        ["**all**", *(f"**{outcome.typical:.3f}**" for _, outcome in columns)],
        ["runs", *(str(len(outcome.seconds) - 1) for _, outcome in columns)],
        ["the first run", *(f"{outcome.seconds[0]:.3f}" for _, outcome in columns)],
        ["Gaussians", *(f"{outcome.gaussians:,}" for _, outcome in columns)],
        ["GPU memory in use at most, MB", *(f"{outcome.allocated / 1e6:,.0f}" for _, outcome in columns)],
        ["GPU memory taken at most, MB", *(f"{outcome.reserved / 1e6:,.0f}" for _, outcome in columns)],
        ["host memory at most, MB", *(f"{outcome.host / 1e6:,.0f}" for _, outcome in columns)]])


def _start(job: Job, outcome: Outcome | None, compiled: str) -> list[list[str]]:
    """The row of a process that starts, if it did not fail."""
    if outcome is None:
        return []
    seconds = (outcome.imports, outcome.context, outcome.kernels, outcome.seconds[0])
    return [[job.device, job.preset, compiled, *(f"{s:.2f}" for s in (*seconds, sum(seconds)))]]


def report_memory(bench: Bench, volume: str, count: int) -> None:
    """Print a large volume with four labels under a cap on the GPU's memory, against small ones without a cap."""
    side, edge, device = bench.size.large, bench.size.cube, bench.device.type
    print(f"\n## Memory: {side} x {side} x {count} voxels, preset fast" + (
        f", GPU memory capped at {CAP / 1e9:.0f} GB" if bench.on_gpu else ""))
    jobs = {
        f"{os.path.basename(volume) or 'synthetic'}, every 4th": Job(device, "fast", 4, volume, (edge, edge), runs=3),
        f"synthetic {edge}^3, 4 labels, every 2nd": Job(device, "fast", 2, "", (edge, edge), True, 3),
        f"synthetic {side} x {side} x {count}, 4 labels, every 2nd": Job(device, "fast", 2, "", (count, side), True, 0,
                                                                        CAP)}
    rows, first = [], None
    for name, job in jobs.items():
        outcome = performed(job)
        if outcome is None:
            continue
        each = outcome.typical / outcome.voxels * 1e6
        first = first or each
        rows.append([name, f"{outcome.typical:.2f}", f"{each:.3f}", f"{each / first:.2f}", str(outcome.slabs),
                     f"{outcome.gaussians / 1e6:.1f} M", *(f"{size / 1e6:,.0f}" for size in (
                         outcome.allocated, outcome.reserved, outcome.host))])
    print_table(["volume", "s", "s per megavoxel", "ratio", "slabs", "Gaussians", "GPU in use at most, MB",
                 "GPU taken at most, MB", "host at most, MB"], rows)
    print("\nThe last one ran once; of the others, the median of the runs after the first.")


# gsplat -------------------------------------------------------------------------------------------------------------


def report_gsplat(bench: Bench) -> None:
    """Print gsplat's projective rasterizer beside drawing on slices, with as many Gaussians and pixels."""
    columns, rows = bench.size.view
    number, pixels = bench.size.gaussians, columns * rows
    print(f"\n## gsplat: {number:,} Gaussians in one orthographic view of {columns} x {rows} = {pixels:,} pixels, "
          "1 channel")
    try:
        projected = projected_with_gsplat(bench)
    except (ImportError, OSError, RuntimeError, AttributeError, TypeError, subprocess.CalledProcessError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"\ngsplat's kernels cannot be imported or built here ({reason}).")
        return
    faint = replace(cloud(bench), raw_weights=torch.full((number,), math.log(0.1 / 0.9), device=bench.device))
    planes = slices(bench)
    count = float(pairs(faint, planes, CUTOFF).sum())
    compared = {"gsplat, projective": projected,
                "slices, alpha": (*drawing_of(bench, faint, planes, "alpha"), count),
                "slices, normalised": (*drawing_of(bench, faint, planes, "normalised"), count)}
    table = []
    for name, (draw, both, reached) in compared.items():
        forward, total = bench.milliseconds(draw), bench.milliseconds(both)
        table.append([name, f"{reached / number:.1f}", f"{forward:.3f}", f"{total:.3f}",
                      f"{reached / forward / 1e6:,.1f}", f"{reached / total / 1e6:,.1f}"])
    print_table(["eager", "pairs per Gaussian", "forward, ms", "forward and backward, ms", "G pairs/s, forward",
                 "G pairs/s, both"], table)
    print("\nNeither hides much: with an opacity of 0.1 gsplat goes through all pairs. What they draw differs: "
          "projections of whole Gaussians there, cross-sections here.")


def projected_with_gsplat(bench: Bench) -> tuple[Callable[[], object], Callable[[], object], float]:
    """gsplat's forward, its forward and backward, and how many pairs there are: where opacity x G is 1/255 or more."""
    from gsplat import rasterization

    (columns, rows), number, device = bench.size.view, bench.size.gaussians, bench.device
    opacity, sigma, blur = 0.1, 1.02, 0.3  # pixels; gsplat adds `blur` to the variances
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(number, 3, generator=generator) * torch.tensor([columns, rows, 100.0])
    means[:, 2] += 1.0
    leaves = [tensor.to(device).requires_grad_() for tensor in (
        means, torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(number, 1), torch.full((number, 3), sigma),
        torch.full((number,), opacity), torch.rand(number, 1, generator=generator))]
    eye = torch.eye(4, device=device)[None]
    camera = torch.eye(3, device=device)[None]

    def draw() -> Tensor:
        image: Tensor = rasterization(*leaves, eye, camera, columns, rows, eps2d=blur, packed=False,
                                      camera_model="ortho")[0]
        return image

    received = torch.rand_like(draw())
    flat = means * torch.tensor([1.0, 1.0, 0.0]) - torch.tensor([0.5, 0.5, 0.0])  # its pixels' centres lie at 0.5
    spread = 0.5 * math.log(sigma ** 2 + blur)
    seen = GaussianParameters(flat, torch.zeros(number, 2), torch.tensor([-spread, 0.0, -spread]).repeat(number, 1),
                              torch.zeros(number), torch.zeros(number), torch.zeros(number, 1),
                              torch.zeros(number, 1, 3), torch.zeros(number, 1, dtype=torch.int32)).to(device)
    view = PlaneStack(np.zeros((1, 3)), np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), rows, columns)
    reached = float(pairs(seen, view, 2.0 * math.log(255.0 * opacity)).sum())
    return torch.no_grad()(draw), lambda: torch.autograd.grad(draw(), leaves, received), reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume", nargs="?", default="")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--with-cpu", action="store_true")
    parser.add_argument("--slices", type=int, default=400, help="of the large volume")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="little of everything")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        print(json.dumps(perform(Job(**json.loads(args.job)))))
        return
    try:
        bench = Bench(choose(args.device).device, SMALL if args.small else Size())
    except BackendUnavailableError as error:
        parser.error(str(error))
    parts = args.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown part '{min(unknown)}'; choose from {', '.join(PARTS)}")
    rate, operations = report_card(bench)
    reports: dict[str, Callable[[], None]] = {
        "steps": lambda: report_steps(bench, rate, operations, args.with_cpu),
        "labels": lambda: report_labels(bench),
        "alpha": lambda: report_alpha(bench),
        "repeats": lambda: report_repeats(bench),
        "stages": lambda: report_stages(bench, args.volume, args.with_cpu),
        "memory": lambda: report_memory(bench, args.volume, args.slices),
        "gsplat": lambda: report_gsplat(bench)}
    for part in parts:
        reports[part]()
        if bench.on_gpu:
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
