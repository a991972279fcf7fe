#!/usr/bin/env python3
"""Where the time of a reconstruction goes, how far it is from the floor, and how it grows with the volume.

    speed.py VOLUME [--keep-every 4] [--preset fast]

Prints: warm and cold (empty compilation cache) seconds and peak memory of one run each in a process of its own; the
share of each stage; one drawing step against the machine's measured arithmetic and memory speed; seconds at three
sizes.
Timings are noisy: look at the ratios.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

import numpy as np
import torch

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.evaluation.peak_memory import peak_memory
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction, reconstruct
from TriplaneGaussianReconLib.rasterizer.rasterize import rasterize

OPERATIONS_PER_PAIR = 30  # quadratic form, exponential, weight and one channel with its slope, forward


def crop(image: Image, share: float) -> Image:
    """The first `share` of the slices."""
    count = max(9, round(image.array.shape[0] * share))
    array = np.ascontiguousarray(image.array[:count])
    return Image(array, replace(image.grid, shape=(len(array), *image.grid.shape[1:])))


def timed(image: Image, keep_every: int, preset: str) -> tuple[Reconstruction, float]:
    """Reconstruct from every `keep_every`-th slice along k; return the result and the seconds."""
    start = time.perf_counter()
    observations = Observations.from_volume(image, {"k": Selection.every(image.grid.count("k"), keep_every)})
    return reconstruct(observations, image.grid, preset=preset), time.perf_counter() - start


def in_own_process(args: argparse.Namespace, cache: str | None) -> dict[str, float]:
    """Run once in a fresh process, with the compilation cache in folder `cache` if given; imports are counted."""
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": cache} if cache else {})}
    start = time.perf_counter()
    output = subprocess.run([sys.executable, __file__, args.volume, "--keep-every", str(args.keep_every), "--preset",
                             args.preset, "--once"], check=True, capture_output=True, text=True, env=environment).stdout
    return {**json.loads(output.splitlines()[-1]), "process": time.perf_counter() - start}


def machine() -> tuple[float, float]:
    """Measured GFLOP/s (float32 matrix product) and GB/s (copy, bytes read and written) of this machine."""
    a = torch.randn(1024, 1024)
    big = torch.empty(64 * 2 ** 20 // 4)
    flops, rate = [], []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, a)
        flops.append(2 * 1024 ** 3 / (time.perf_counter() - start) / 1e9)
        start = time.perf_counter()
        big.clone()
        rate.append(2 * big.nbytes / (time.perf_counter() - start) / 1e9)
    return max(flops), max(rate)


def pairs(result: Reconstruction, grid: Grid, sample: int = 64) -> float:
    """Gaussian-pixel pairs of one drawing of the whole grid, estimated from `sample` Gaussians."""
    planes = result.model.local(grid.planes("k", np.arange(grid.count("k"))))
    drawn = result.model.parameters.drawn()
    generator = torch.Generator().manual_seed(0)
    count = 0
    for number in torch.randint(len(drawn), (sample,), generator=generator).tolist():
        one = type(drawn)(*(getattr(drawn, name)[number:number + 1] for name in
                            ("centres", "precisions", "weights", "values", "slopes", "channels")))
        seen = rasterize(one, planes, mode="additive", channel_count=1, cutoff=result.model.cutoff)
        count += int((seen.weight_sum > 0).sum())
    return count / sample * len(drawn)


def report_floor(result: Reconstruction, grid: Grid) -> None:
    """Print one drawing of the whole grid, forward and backward, against the machine's limits."""
    planes = result.model.local(grid.planes("k", np.arange(grid.count("k"))))
    drawn = result.model.parameters.drawn()
    leaf = replace(drawn, values=drawn.values.clone().requires_grad_(), slopes=drawn.slopes.clone().requires_grad_())
    forward, backward = [], []
    for _ in range(3):
        start = time.perf_counter()
        raster = rasterize(leaf, planes, mode=result.model.mode, channel_count=1, cutoff=result.model.cutoff)
        middle = time.perf_counter()
        raster.channels.sum().backward()
        forward.append(middle - start)
        backward.append(time.perf_counter() - middle)
    gflops, gigabytes = machine()
    number = pairs(result, grid)
    traffic = sum(t.nbytes for t in (leaf.centres, leaf.precisions, leaf.weights, leaf.values, leaf.slopes,
                                     leaf.channels, raster.channels, raster.weight_sum))
    floor = max(number * OPERATIONS_PER_PAIR / gflops / 1e9, traffic / gigabytes / 1e9)
    print(f"\nOne drawing of the whole grid: {len(drawn):,} Gaussians, {number / 1e6:.0f} M pairs, "
          f"{traffic / 1e6:.0f} MB.\nforward {min(forward):.2f} s, backward (values and slopes) {min(backward):.2f} s; "
          f"floor at {gflops:.0f} GFLOP/s and {gigabytes:.0f} GB/s: {floor:.3f} s, so forward takes "
          f"{min(forward) / floor:.1f} times the floor.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("--keep-every", type=int, default=4)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    image = read_image(args.volume)
    if args.once:
        _, seconds = timed(image, args.keep_every, args.preset)
        print(json.dumps({"seconds": seconds, "memory": peak_memory()}))
        return
    in_own_process(args, None)  # fills the compilation cache
    warm = in_own_process(args, None)
    with tempfile.TemporaryDirectory() as cache:
        cold = in_own_process(args, cache)
    for name, run in (("warm", warm), ("cold", cold)):
        print(f"{name}: {run['seconds']:.1f} s reconstruction, {run['process']:.1f} s with start-up and imports, "
              f"{(run['memory'] or 0) / 2 ** 20:.0f} MB at most")
    result, seconds = timed(image, args.keep_every, args.preset)
    print("\n| stage | s | share |\n|---|---|---|")
    for stage, taken in result.report.seconds.items():
        print(f"| {stage} | {taken:.2f} | {taken / seconds:.0%} |")
    report_floor(result, image.grid)
    print("\n| slices | voxels | s | µs per voxel |\n|---|---|---|---|")
    for share in (0.25, 0.5, 1.0):
        part = crop(image, share)
        _, seconds = timed(part, args.keep_every, args.preset)
        print(f"| {part.array.shape[0]} | {part.array.size / 1e6:.2f} M | {seconds:.1f} | "
              f"{seconds / part.array.size * 1e6:.2f} |")


if __name__ == "__main__":
    main()
