#!/usr/bin/env python3
"""Where the time of a reconstruction goes, how far each stage is from its floor, and how it grows with the volume.

    speed.py VOLUME [--labels LABELS] [--keep-every 4] [--preset fast] [--device cpu] [--large]

Prints, each against the first: warm and cold (empty compilation cache) seconds and peak memory of one run each in a
process of its own; the seconds of each stage with its floor (below); what labels and three damaged slices take; seconds
per voxel at three sizes and, with --large, where 40 slices of 512 x 512 become 250.
Timings are noisy: look at the ratios.

A floor is the time that the arithmetic or the memory traffic of a stage takes at the speed of this machine, which is
measured: matrix products in the type that the networks compute with, and copying.  Optical flow is OpenCV's and has no
floor here; what is left out (choosing patches, steps of the optimisers, lists for drawing) counts as distance.
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
from typing import Any

import cv2
import numpy as np
import torch

from TriplaneGaussianReconLib.config.presets import Preset, preset_named
from TriplaneGaussianReconLib.data.alignment import aligned_to
from TriplaneGaussianReconLib.data.gap_sampling import layer_count, plane_counts
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.evaluation.peak_memory import peak_memory
from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation
from TriplaneGaussianReconLib.pipeline.reconstruction import Memory, Reconstruction, reconstruct
from TriplaneGaussianReconLib.runtime.half_precision import has_half_precision

OPERATIONS_PER_PAIR = 30  # quadratic form, exponential, weight and one channel with its slope
PAIRS_PER_GAUSSIAN = 8.0  # pixels on which a Gaussian of the presets is drawn, where planes lie as close as its layers
BYTES_PER_GAUSSIAN = 64  # that are read to draw it: centre, precision, weight, value, slope, channel


def crop(image: Image, share: float) -> Image:
    """The first `share` of the slices."""
    count = max(9, round(image.array.shape[0] * share))
    array = np.ascontiguousarray(image.array[:count])
    return Image(array, replace(image.grid, shape=(len(array), *image.grid.shape[1:])))


def enlarged(image: Image, slices: int = 40, side: int = 512) -> Image:
    """`slices` of the volume, spread over it, enlarged to `side` pixels a side, as a CT of 0.8 mm pixels and 5 mm."""
    chosen = np.linspace(0, len(image.array) - 1, slices).round().astype(int)
    array = np.stack([cv2.resize(image.array[n].astype(np.float32), (side, side)) for n in chosen])
    return Image(np.rint(array).astype(np.int16), Grid(array.shape, spacing=(0.8, 0.8, 5.0)))


def timed(image: Image, kept: Selection, args: argparse.Namespace, output: Grid | None = None,
          labels: Segmentation | None = None) -> tuple[Reconstruction, float]:
    """Reconstruct from slices along k; return the result and the seconds."""
    observations = Observations.from_volume(image, {"k": kept}, labels)
    start = time.perf_counter()
    result = reconstruct(observations, output or image.grid, preset=args.preset, device=args.device,
                         memory=Memory(keep_model=False))
    return result, time.perf_counter() - start


def in_own_process(args: argparse.Namespace, cache: str | None) -> dict[str, float]:
    """Run once in a fresh process, with the compilation cache in folder `cache` if given; imports are counted."""
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": cache} if cache else {})}
    start = time.perf_counter()
    command = [sys.executable, __file__, args.volume, "--keep-every", str(args.keep_every), "--preset", args.preset,
               "--device", args.device, "--once"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return {**json.loads(output.splitlines()[-1]), "process": time.perf_counter() - start}


def machine(device: torch.device, kind: torch.dtype) -> tuple[float, float]:
    """Measured GFLOP/s of a matrix product in a type, and GB/s of a copy, bytes read and written."""
    a, big = torch.randn(2048, 2048, device=device).to(kind), torch.empty(64 * 2 ** 20 // 4, device=device)

    def fastest(work: Any) -> float:
        seconds = []
        for _ in range(6):
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    return 2 * 2048 ** 3 / fastest(lambda: torch.mm(a, a)) / 1e9, 2 * big.nbytes / fastest(big.clone) / 1e9


def floors(image: Image, kept: Selection, preset: Preset, device: torch.device) -> dict[str, float]:
    """Seconds at least, by stage, of filling all slices of a volume; all but optical flow."""
    kind = torch.bfloat16 if has_half_precision(device.type) else torch.float32
    (gflops, gigabytes), (plain, _) = machine(device, kind), machine(device, torch.float32)
    rows, columns = image.array.shape[1:]
    spacing = image.grid.spacing
    widths = np.diff(np.array(kept.indices) * spacing[2])
    counts = plane_counts(widths, min(spacing[:2]), spacing[2], preset.gap_sampling)
    planes, layers = int(counts.sum()), len(kept.indices) + sum(map(layer_count, counts.tolist()))
    gaussians, network = layers * rows * columns, preset.super_resolution
    result: dict[str, float] = {}
    if network is not None:
        weights = network.kernel * network.width * (2 * network.blocks * network.width
                                                    + network.slices_around + int(counts.max()))
        pixels = network.batch * network.patch_length * network.steps * (1 + preset.ensemble.hidden_training)
        result["learning"] = 6.0 * weights * pixels / gflops / 1e9  # forward, and twice that backward
        applied = 2 * network.augmentations * weights / int(counts.max())
        result["prediction"] = 2.0 * applied * planes * rows * columns / gflops / 1e9
    drawing = max(PAIRS_PER_GAUSSIAN * OPERATIONS_PER_PAIR / plain, BYTES_PER_GAUSSIAN / gigabytes) * gaussians / 1e9
    written = 4 * 2 * rows * columns / gigabytes / 1e9  # channel and weight sum of a plane
    result["refinement"] = preset.refinement_steps * (drawing + layers * written)
    result["rendering"] = drawing + image.array.shape[0] * written
    return result


def report_stages(result: Reconstruction, seconds: float, least: dict[str, float]) -> None:
    """Print the seconds of each stage, and how far it is from its floor."""
    print("\n| stage | s | share | floor, s | times the floor |\n|---|--:|--:|--:|--:|")
    for stage, taken in result.report.seconds.items():
        if taken:
            floor = f"{least[stage]:.2f} | {taken / least[stage]:.1f}" if stage in least else "- | -"
            print(f"| {stage} | {taken:.2f} | {taken / seconds:.0%} | {floor} |")


def report_cases(image: Image, every: Selection, base: float, args: argparse.Namespace) -> None:
    """Print what labels and three damaged slices take, against the volume without either."""
    print(f"\n| case | s | times the volume alone ({base:.1f} s) |\n|---|--:|--:|")
    count = image.grid.count("k")
    if args.labels:
        labels = aligned_to(read_segmentation(args.labels), image.grid)
        names = len(labels.segments)
        _, seconds = timed(image, every, args, labels=labels)
        print(f"| {names} labels | {seconds:.1f} | {seconds / base:.2f} |")
    damaged = [count // 4, count // 2, 3 * count // 4]
    _, seconds = timed(image, Selection(tuple(n for n in range(count) if n not in damaged), count), args)
    print(f"| three of {count} slices damaged | {seconds:.1f} | {seconds / base:.2f} |")


def report_sizes(image: Image, args: argparse.Namespace) -> None:
    """Print seconds per voxel at several sizes."""
    print("\n| slices | voxels | s | µs per voxel | times the first |\n|---|--:|--:|--:|--:|")
    jobs = [(part, Selection.every(part.grid.count("k"), args.keep_every), part.grid)
            for part in (crop(image, share) for share in (0.25, 0.5, 1.0))]
    if args.large:
        thick = enlarged(image)
        grid = replace(thick.grid, shape=(250, 512, 512), spacing=(0.8, 0.8, 39 * 5.0 / 249))
        jobs.append((thick, Selection.every(40, 1), grid))
    first = None
    for part, kept, grid in jobs:
        _, seconds = timed(part, kept, args, grid)
        each = seconds / np.prod(grid.shape, dtype=float) * 1e6
        first = first or each
        print(f"| {len(kept.indices)} -> {grid.shape[0]} | {np.prod(grid.shape) / 1e6:.2f} M | {seconds:.1f} "
              f"| {each:.2f} | {each / first:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("--labels")
    parser.add_argument("--keep-every", type=int, default=4)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    image = read_image(args.volume)
    every = Selection.every(image.grid.count("k"), args.keep_every)
    if args.once:
        _, seconds = timed(image, every, args)
        print(json.dumps({"seconds": seconds, "memory": peak_memory()}))
        return
    in_own_process(args, None)  # fills the compilation cache
    warm = in_own_process(args, None)
    with tempfile.TemporaryDirectory() as cache:
        cold = in_own_process(args, cache)
    for name, run in (("warm", warm), ("cold", cold)):
        print(f"{name}: {run['seconds']:.1f} s reconstruction, {run['process']:.1f} s with start-up and imports, "
              f"{(run['memory'] or 0) / 1e9:.2f} GB at most, {run['seconds'] / warm['seconds']:.2f} times the warm one")
    timed(image, every, args)  # warm, in this process
    result, seconds = timed(image, every, args)
    report_stages(result, seconds, floors(image, every, preset_named(args.preset), torch.device(args.device)))
    report_cases(image, every, seconds, args)
    report_sizes(image, args)


if __name__ == "__main__":
    main()
