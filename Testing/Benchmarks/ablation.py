#!/usr/bin/env python3
"""What each part of the published model is worth: trainings with one thing changed, and how they go.

    ablation.py VOLUME... --out RUNS.jsonl [--keep-every 4 ...] [--variants A,B] [--seeds 0,1,2] [--steps N]
                [--centre 160] [--device cuda] [--at-a-time 3] [--minutes 9] [--choose-steps]
    ablation.py --table RUNS.jsonl [--figure CURVES.png]

Every k-th slice is kept (or with a share of at least 0.5, such as 0.95, all but evenly spread ones), the others
are scored as in `evaluate`.  Each training adds a line to RUNS.jsonl: what was trained, seconds, PSNR (dB) of hidden
and of used slices at checkpoints.  What the file holds already is not trained again.  Variants are in
`ablation_variants`; --list names them.  With --choose-steps every 5th of the kept slices is hidden too, and only
these are scored: from their best checkpoint the table takes after how many steps a user would have stopped.
"""
from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from ablation_table import draw_curves, print_tables
from ablation_variants import variants

from TriplaneGaussianReconLib.config.presets import Preset
from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.model_space import ModelSpaceData
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.data.slabs import Slab
from TriplaneGaussianReconLib.evaluation import metrics
from TriplaneGaussianReconLib.evaluation.baselines import IMAGE_METHODS
from TriplaneGaussianReconLib.fitting.slab import PreparedSlab
from TriplaneGaussianReconLib.fitting.task import Task
from TriplaneGaussianReconLib.fitting.train import Trainer
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.pipeline import reconstruction
from TriplaneGaussianReconLib.rendering.renderer import Renderer
from TriplaneGaussianReconLib.runtime.devices import SelectedDevice, choose
from TriplaneGaussianReconLib.runtime.progress import StageMonitor, Tick
from TriplaneGaussianReconLib.self_supervised.optimizers import on_own_stream, repeat

CHECKPOINTS = 24  # of a training, at which slices are scored
_RANDOM = Lock()
_HIDDEN_AMONG_KEPT = 5  # every so manieth of the kept slices is hidden to choose the number of steps


def kept(count: int, keep: float, choosing: bool) -> tuple[np.ndarray, np.ndarray]:
    """Slices that are used, and those that are scored; keep: every so manieth slice, or below 1 a share of them."""
    if keep >= 1:
        used = np.arange(0, count, int(keep))
    else:
        used = np.setdiff1d(np.arange(count), np.arange(1, count - 1)[::round(1 / (1 - keep))])
    scored = np.setdiff1d(np.arange(used[-1]), used)
    if choosing:
        scored = used[2:-1:_HIDDEN_AMONG_KEPT]
        used = np.setdiff1d(used, scored)
    return used, scored


@dataclass(frozen=True)
class Case:
    """A volume in [0, 1] of which some slices are used.

    Attributes:
        task: What does not depend on the variant.
        planes: Those that are scored, in the model's frame.
        truth: Their pixels.
    """

    task: Task
    planes: PlaneStack
    truth: torch.Tensor
    device: SelectedDevice

    @classmethod
    def of(cls, image: Image, keep: float, choosing: bool, device: SelectedDevice) -> Case:
        """Take the slices apart."""
        used, scored = kept(image.grid.count("k"), keep, choosing)
        scored = scored[metrics.has_content(image.array[scored])]
        preset = variants()["paper"]
        observations = Observations.from_volume(image, {"k": Selection(tuple(used.tolist()), image.grid.count("k"))})
        observed = ModelSpaceData.of(observations, image.grid, preset.model_space, preset.gap_sampling)
        task = reconstruction._learn(observed, preset, device, 0, StageMonitor())
        planes = image.grid.planes("k", scored).transformed(np.linalg.inv(observed.frame))
        return cls(task, planes, torch.from_numpy(image.array[scored]).to(device.device), device)

    def psnr(self, gaussians: GaussianParameters, renderer: Renderer) -> float:
        """Mean PSNR (dB) of the slices that are scored."""
        scale = self.task.observed.intensity
        with torch.no_grad():
            drawn = renderer(gaussians.drawn().image_only(), self.planes)[:, 0] + scale.background
            error = (drawn * scale.scale + scale.offset).clamp(0.0, 1.0) - self.truth
            return float((-10.0 * torch.log10((error ** 2).mean(dim=(1, 2)).clamp_min(1e-10))).mean())

    def trained(self, preset: Preset, seed: int) -> dict[str, object]:
        """Train; return seconds, and what came out at checkpoints."""
        task = replace(self.task, preset=preset, seed=seed)
        count = len(task.observed.planes) - 1
        prepared = PreparedSlab.of(task, Slab(0, count, count), {}, self.device.device, _stage)
        renderer = Renderer(preset.mode, preset.cutoff, self.device.backend)
        start, curve = time.perf_counter(), list[list[float]]()
        steps = preset.training.steps
        with _RANDOM:  # which threads share
            field = task.initial_field().to(self.device.device)
        trainer = Trainer(prepared.start.image_only(), field, prepared.targets(), renderer, preset.training,
                          preset.triplane.total_variation, task.observed.pixel, seed)
        marks = {round(steps * (n / CHECKPOINTS) ** 2) for n in range(1, CHECKPOINTS)}
        used = replace(self, planes=task.observed.planes, truth=torch.from_numpy(
            task.observed.intensity.to_input(task.observed.slices)).to(self.device.device))

        def score(number: int) -> None:
            now = trainer.baked()
            curve.append([number, round(self.psnr(now, renderer), 3), round(used.psnr(now, renderer), 3)])

        def before(number: int, loss: float) -> None:
            trainer.before(number)
            if number in marks:
                score(number)

        repeat(trainer.step, steps, self.device.device, before)
        score(steps)
        return {"gaussians": len(prepared.start), "seconds": round(time.perf_counter() - start, 2), "curve": curve}

    def linear(self) -> float:
        """PSNR (dB) of linear interpolation."""
        observed, depths = self.task.observed, self.planes.offsets
        pixels = observed.intensity.to_input(observed.slices)
        drawn = IMAGE_METHODS["linear"](observed.planes.offsets, pixels, depths)
        return float(metrics.psnr(self.truth.cpu().numpy(), np.clip(drawn, 0.0, 1.0)).mean())


@contextmanager
def _stage(name: str) -> Iterator[Tick]:
    yield lambda step, steps, loss=None: None


def centred(image: Image, side: int) -> Image:
    """The central part of `image`, normalised as the protocol does."""
    corner = [max(0, (n - side) // 2) for n in image.array.shape]
    part = image.array[tuple(slice(c, c + side) for c in corner)]
    origin = image.grid.index_to_physical(np.array(corner[::-1]))
    x, y, z = (float(value) for value in origin)
    depth, rows, columns = part.shape
    return Image(metrics.normalise(part), replace(image.grid, shape=(depth, rows, columns), origin=(x, y, z)))


class Runs:
    """A file with a line for each training, to which several threads write."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._known = {self._name(json.loads(line)) for line in lines}

    @staticmethod
    def _name(run: dict[str, object]) -> tuple[object, ...]:
        return tuple(run[key] for key in ("volume", "keep", "variant", "seed", "steps", "choosing"))

    def has(self, run: dict[str, object]) -> bool:
        """Whether it was trained before."""
        return self._name(run) in self._known

    def add(self, run: dict[str, object]) -> None:
        """Note what came out."""
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")


def _train_all(arguments: argparse.Namespace) -> None:
    """Train what is missing, several at a time, until the time is over."""
    device, runs, known = choose(arguments.device), Runs(arguments.out), variants()
    end = time.monotonic() + 60.0 * arguments.minutes
    images = {path: centred(read_image(path), arguments.centre) for path in arguments.volumes}
    cases: dict[tuple[Path, float], Case] = {}

    def work(path: Path, keep: float, name: str, seed: int) -> None:
        preset = known[name]
        if arguments.steps:
            preset = replace(preset, training=replace(preset.training, steps=arguments.steps))
        run: dict[str, object] = {"volume": path.name.partition(".")[0], "keep": keep, "variant": name, "seed": seed,
                                  "steps": preset.training.steps, "choosing": arguments.choose_steps}
        if runs.has(run) or time.monotonic() > end:
            return
        case = cases[path, keep]
        with on_own_stream(device.device):
            run.update(case.trained(preset, seed), linear=case.linear(), device=device.note)
        runs.add(run)
        print(json.dumps({**run, "curve": run["curve"][-1:]}), flush=True)  # type: ignore[index]

    for path, image in images.items():
        for keep in arguments.keep_every:
            cases[path, keep] = Case.of(image, keep, arguments.choose_steps, device)
    with ThreadPoolExecutor(arguments.at_a_time) as pool:
        tasks = [pool.submit(work, path, keep, name, seed) for name in arguments.variants or known
                 for seed in arguments.seeds for path in images for keep in arguments.keep_every]
        for task in tasks:
            task.result()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", nargs="*", type=Path)
    parser.add_argument("--keep-every", nargs="+", type=float, default=[4.0])
    parser.add_argument("--variants", type=lambda text: text.split(","))
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--centre", type=int, default=160)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--at-a-time", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--choose-steps", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("ablation.jsonl"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args(arguments)
    if given.list:
        print(" ".join(variants()))
    elif given.table:
        print_tables(given.table)
        if given.figure:
            draw_curves(given.table, given.figure, given.variants or [
                name + more for name in ("paper", "paper-normalised") for more in ("", ": no field")])
    else:
        _train_all(given)


if __name__ == "__main__":
    main()
