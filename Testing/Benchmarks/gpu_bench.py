"""The parts that the `gpu_*.py` share: sizes, a clock, tables, and the Gaussians and slices that are drawn."""
from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters, Gaussians
from TriplaneGaussianReconLib.rasterizer.rasterize import Backend, rasterize

CUTOFF = 12.0
GAP = 4.0  # mm between slices; pixels are 1 mm
LABELS = 45  # label channels that exist


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        layers: Slices; each pixel has a Gaussian.
        side: Pixels along the sides of a slice.
        alpha: Gaussians along each side of the cube that mode `alpha` draws.
        texels: Resolution of the tri-plane field.
        copied: Bytes that are copied to measure the card.
        matrix: Side of the matrices that are multiplied to measure the card.
        view: Columns and rows of gsplat's image.
        cube: Side of the synthetic volume, voxels.
        large: Side of the large synthetic volume, voxels.
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
        """How many Gaussians training steps and gsplat draw."""
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
        """Return the median time of `work` after warming up: of 20 by the GPU's clock, or of 3 on the CPU."""
        for _ in range(3 if self.on_gpu else 1):
            work()
        self.synchronize()
        if not self.on_gpu:
            return statistics.median(seconds_of(work) for _ in range(3)) * 1e3
        events = [torch.cuda.Event(enable_timing=True) for _ in range(21)]
        events[0].record()
        for event in events[1:]:
            work()
            event.record()
        self.synchronize()
        return statistics.median(a.elapsed_time(b) for a, b in zip(events, events[1:], strict=False))

    def recorded(self, work: Callable[[], object]) -> Callable[[], object]:
        """Return a CUDA graph of `work`, which repeats it without the host's part; on the CPU `work` itself."""
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


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown, the first column aligned left, the others right."""
    print()
    for row in (header, ["---", *["---:"] * (len(header) - 1)], *rows):
        print(f"| {' | '.join(row)} |", flush=True)


def slices(bench: Bench) -> PlaneStack:
    """Return the slices that are drawn: pixels of 1 mm, `GAP` apart."""
    origins = np.zeros((bench.size.layers, 3))
    origins[:, 2] = GAP * np.arange(len(origins))
    return PlaneStack(origins, np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), bench.size.side, bench.size.side)


def cloud(bench: Bench, slots: int = 1) -> GaussianParameters:
    """Return a Gaussian for each pixel, about half-way between slices, which reaches the slices on both sides.

    Args:
        bench: Where and how many.
        slots: 1, or more for labels, whose channels are random.
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
    """Return round Gaussians on a regular grid, for mode `alpha`."""
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
    """Count how many pixels each Gaussian reaches, without the rasterizer.

    Args:
        parameters: N Gaussians.
        planes: At the depths `origins[:, 2]`, with pixels of 1 mm from (0, 0) on.
        cutoff: Squared Mahalanobis distance.

    Returns:
        (N,) int64.
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
    """Return the Gaussians as leaves, and those of their tensors that have a gradient."""
    leaves = {name: getattr(drawn, name).detach().clone().requires_grad_()
              for name in ("centres", "precisions", "weights", "values", "slopes")}
    return replace(drawn, **leaves), list(leaves.values())


def drawing_of(bench: Bench, parameters: GaussianParameters, planes: PlaneStack, mode: str
               ) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what draws one channel: forward alone, and forward and backward."""
    gaussians, leaves = leaves_of(parameters.drawn())

    def draw() -> Tensor:
        return rasterize(gaussians, planes, mode=mode, channel_count=1, backend=bench.backend, cutoff=CUTOFF).channels

    received = torch.rand(len(planes), 1, *planes.shape[1:], device=bench.device)
    return torch.no_grad()(draw), lambda: torch.autograd.grad(draw(), leaves, received)
