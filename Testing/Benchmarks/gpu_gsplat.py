"""Part of `gpu.py`: gsplat's projective rasterizer beside drawing on slices."""
from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from gpu_bench import CUTOFF, Bench, cloud, drawing_of, pairs, print_table, slices
from torch import Tensor

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters


def report_gsplat(bench: Bench) -> None:
    """Print times of gsplat's projective rasterizer and of drawing on slices, for equally many Gaussians."""
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
    """Return gsplat's forward pass, its forward and backward pass, and how many pairs of Gaussian and pixel it has.

    A pair counts where opacity times G is 1/255 or more.
    """
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
