#!/usr/bin/env python3
"""Measure the CUDA rasterizer on this computer's GPU, and compare with what the card could do at best.

    gpu.py [VOLUME] [--parts steps,labels,alpha,repeats,stages,memory,gsplat] [--with-cpu] [--slices 400]

Prints Markdown tables:
    what the card can do;
    steps: a training step in pieces, beside the bytes and operations that it needs at least;
    labels: the same with many label channels;
    alpha: drawing in mode `alpha`;
    repeats: whether two runs are equal;
    stages: seconds and memory of whole reconstructions by preset and stage, start-up and compilation apart;
    memory: a large volume with a limit on the GPU's memory;
    gsplat: gsplat's projective rasterizer.

VOLUME is what `stages` and `memory` reconstruct, from every 4th slice.  The default is synthetic, 160^3 voxels.
--with-cpu adds the CPU to `steps` and `stages`, which takes some minutes.  To try the program without a GPU, give
`--device cpu --small`.
"""
from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable

import torch
from gpu_bench import SMALL, Bench, Size, print_table
from gpu_gsplat import report_gsplat
from gpu_reconstructions import report_memory, report_stages
from gpu_steps import report_alpha, report_labels, report_repeats, report_steps

from TriplaneGaussianReconLib.cuda.compiler import version as nvrtc_version
from TriplaneGaussianReconLib.errors import BackendUnavailableError
from TriplaneGaussianReconLib.runtime.devices import choose

PARTS = ("steps", "labels", "alpha", "repeats", "stages", "memory", "gsplat")


def driver_version() -> str:
    """Return the version of the NVIDIA driver."""
    try:
        return subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], check=True,
                              capture_output=True, text=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def speeds(bench: Bench) -> tuple[float, float]:
    """Measure bytes/s of a copy, read and written, and float32 operations/s of a matrix product, without TF32."""
    torch.set_float32_matmul_precision("highest")
    source = torch.zeros(bench.size.copied // 4, device=bench.device)
    target = torch.empty_like(source)
    rate = 2 * source.nbytes / bench.milliseconds(lambda: target.copy_(source)) * 1e3
    side = bench.size.matrix
    factor = torch.randn(side, side, device=bench.device)
    return rate, 2 * side ** 3 / bench.milliseconds(lambda: factor @ factor) * 1e3


def report_card(bench: Bench) -> tuple[float, float]:
    """Print what card and software are measured; return `speeds`."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume", nargs="?", default="")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--with-cpu", action="store_true")
    parser.add_argument("--slices", type=int, default=400, help="of the large volume")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="little of everything")
    args = parser.parse_args()
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
