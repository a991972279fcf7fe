"""Part of `gpu.py`: seconds and memory of whole reconstructions, each in a process of its own."""
from __future__ import annotations

import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gpu_bench import Bench, print_table

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.config.stages import STAGES
from TriplaneGaussianReconLib.cuda.cache import FOLDER_VARIABLE
from TriplaneGaussianReconLib.cuda.program import kernels
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.evaluation.peak_memory import peak_memory
from TriplaneGaussianReconLib.gaussians.activation_cuda import ACTIVATION
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.pipeline.reconstruction import reconstruct
from TriplaneGaussianReconLib.rasterizer.cuda import SUMS
from TriplaneGaussianReconLib.runtime.devices import choose

CAP = 8e9  # bytes of GPU memory that the large volume may take


@dataclass(frozen=True)
class Job:
    """Reconstructions in one process, one after another.

    Attributes:
        device: To compute on.
        preset: Its name.
        keep_every: Of how many slices one is kept.
        volume: A file; empty for a synthetic volume.
        shape: (slices, side) of the synthetic volume.
        with_labels: Whether the synthetic volume has four labels.
        runs: How many reconstructions after the first.
        cap: Bytes of GPU memory that it may use, or None.
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
    """What a Job took.

    Attributes:
        imports: Seconds until all modules are imported.
        context: Seconds until torch has started the GPU.
        kernels: Seconds until the rasterizer is compiled and loaded.
        seconds: Of each run.
        stages: Seconds by stage, of each run.
        slabs: Of the last run.
        gaussians: Of the last run.
        voxels: Of the volume.
        allocated: Most bytes of GPU memory in use.
        reserved: Most bytes of GPU memory that torch held.
        host: Most bytes of host memory.
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
        """Median seconds of the runs after the first, or of the first if there is only one."""
        return statistics.median(self.seconds[1:] or self.seconds)

    def stage(self, name: str) -> float:
        """Return the same for one stage."""
        return statistics.median(stage[name] for stage in self.stages[1:] or self.stages)


def perform(job: Job) -> dict[str, Any]:
    """Do a Job in this process; return the fields of its Outcome, with `imports` as a time of day."""
    imported = time.time()
    device = torch.device(job.device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.zeros(1, device=device)
        torch.cuda.synchronize()
    context = time.time()
    choose(job.device)
    if on_gpu:
        for program in (SUMS, ACTIVATION):  # which draw in the modes that are sums
            kernels(device, program, torch.float32)
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
            "stages": [dict(report.seconds) for report in reports], "slabs": reports[-1].slabs,
            "gaussians": reports[-1].gaussians, "voxels": image.array.size, "host": peak_memory() or 0,
            "allocated": torch.cuda.max_memory_allocated(device) if on_gpu else 0,
            "reserved": torch.cuda.max_memory_reserved(device) if on_gpu else 0}


def performed(job: Job, cache: str | None = None) -> Outcome | None:
    """Do a Job in a process of its own, with compiled code in the folder `cache`.

    If it fails, print a line and return None.
    """
    environment = {**os.environ, **({FOLDER_VARIABLE: cache, "NUMBA_CACHE_DIR": cache} if cache else {})}
    start = time.time()
    process = subprocess.run([sys.executable, __file__, json.dumps(dataclasses.asdict(job))],
                             capture_output=True, text=True, env=environment)
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or ["killed"])[-1]
        print(f"\n{job.preset} on {job.device} failed: {reason}", flush=True)
        return None
    answer = json.loads(process.stdout.splitlines()[-1])
    return Outcome(**{**answer, "imports": answer["imports"] - start})


def synthetic(count: int, side: int, with_labels: bool) -> tuple[Image, Segmentation | None]:
    """Return a volume of `count` slices of `side` x `side`: smooth blobs of four kinds, and noise everywhere.

    It is made slice by slice, so that little takes memory but the volume itself.  Noise leaves no empty background.
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
    """Print memory, and seconds of each preset and stage, of start-up and of compilation."""
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
    """The table row for the start of a process; none if it failed."""
    if outcome is None:
        return []
    seconds = (outcome.imports, outcome.context, outcome.kernels, outcome.seconds[0])
    return [[job.device, job.preset, compiled, *(f"{s:.2f}" for s in (*seconds, sum(seconds)))]]


def report_memory(bench: Bench, volume: str, count: int) -> None:
    """Print a large volume with four labels and a limit on the GPU's memory, beside small ones without a limit."""
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


if __name__ == "__main__":
    print(json.dumps(perform(Job(**json.loads(sys.argv[1])))))
