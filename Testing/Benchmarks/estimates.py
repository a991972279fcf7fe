"""What reconstructions cost on this computer: measures synthetic volumes, and prints the table of `jobs/costs.py`.

    estimates.py [--device cpu] [--threads 2] [--case fast:64 --case fast:96:labels --case balanced:64:kept=2 ...]

Every case runs in a process of its own, which first measures how slow the computer is at that moment.  Costs are fitted
to seconds as they would be at the median of these measurements, and that median is printed as the reference.  Then come
the largest misses: of the fitted costs, and of those that stand in the table now.  Let nothing else run meanwhile.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.optimize import nnls

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.evaluation.peak_memory import peak_memory
from TriplaneGaussianReconLib.jobs.calibration import measured
from TriplaneGaussianReconLib.jobs.costs import REFERENCE, Cost, DeviceKind, Reference
from TriplaneGaussianReconLib.jobs.estimates import Slowness, estimate, gaussians
from TriplaneGaussianReconLib.pipeline.reconstruction import Memory, reconstruct
from TriplaneGaussianReconLib.runtime.processors import limited_threads

USUAL = ("fast:64", "fast:96", "fast:96:kept=2", "fast:160", "fast:64:labels", "fast:96:labels", "balanced:64",
         "balanced:160", "balanced:64:labels")


@dataclass(frozen=True)
class Case:
    """A cube to reconstruct: its side in voxels, which of its slices are kept, and whether it has two labels."""

    preset: str
    side: int
    kept: int = 4
    labels: bool = False

    @classmethod
    def parse(cls, text: str) -> Case:
        preset, side, *further = text.split(":")
        kept = next((int(word.removeprefix("kept=")) for word in further if word.startswith("kept=")), 4)
        return cls(preset, int(side), kept, "labels" in further)

    @property
    def grid(self) -> Grid:
        return Grid((self.side,) * 3)

    @property
    def observed(self) -> dict[Axis, Selection]:
        return {"k": Selection.every(self.side, self.kept)}

    @property
    def millions(self) -> float:
        return gaussians(self.grid, self.observed, PRESETS[self.preset].gap_sampling) / 1e6


@dataclass(frozen=True)
class Run:
    """What a case took: how long the work of `calibration` took before, seconds, and bytes of the host at the peak."""

    case: Case
    reference: Reference
    seconds: float
    memory: float

    def slowness(self, reference: Reference) -> Slowness:
        return Slowness(self.reference.learning / reference.learning, self.reference.drawing / reference.drawing)


def run(case: Case, device: str, threads: int | None) -> Run:
    """Reconstruct once, with everything compiled."""
    smooth = gaussian_filter(np.random.default_rng(0).standard_normal((case.side,) * 3), 3.0)
    image = Image((1000.0 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.int16), case.grid)
    labels = np.digitize(smooth, np.quantile(smooth, [0.6, 0.9])).astype(np.uint8)
    segmentation = Segmentation.from_labelmap(labels, case.grid) if case.labels else None
    observations = Observations.from_volume(image, case.observed, segmentation)
    with limited_threads(threads):
        reference, start = measured(torch.device(device)), time.perf_counter()
        reconstruct(observations, case.grid, preset=case.preset, device=device, memory=Memory(keep_model=False))
        return Run(case, reference, time.perf_counter() - start, peak_memory() or 0.0)


def in_own_process(case: Case, device: str, threads: int | None) -> Run:
    """The same in a fresh process."""
    words = [sys.executable, __file__, "--once", json.dumps(asdict(case)), "--device", device,
             *(["--threads", str(threads)] if threads else [])]
    told = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return Run(case, Reference(**told["reference"]), told["seconds"], told["memory"])


def fitted(columns: list[list[float]], wanted: list[float]) -> list[float]:
    """What to multiply each column with, so that the sums miss what is wanted by the least share; nothing negative."""
    scale = np.array(wanted)
    found: np.ndarray = nnls(np.array(columns).T / scale[:, None], np.ones(len(scale)))[0]
    return [float(number) for number in found]


def costs_of(runs: list[Run], reference: Reference) -> Cost:
    """Fit the seconds of one preset."""
    slow = [each.slowness(reference) for each in runs]
    fixed, labels, per_million = fitted([[s.learning for s in slow],
                                         [s.learning * r.case.labels for s, r in zip(slow, runs, strict=True)],
                                         [s.drawing * r.case.millions for s, r in zip(slow, runs, strict=True)]],
                                        [r.seconds for r in runs])
    return Cost(fixed, labels, per_million)


def report(runs: list[Run], kind: DeviceKind) -> None:
    """Print the table and what it misses."""
    reference = Reference(*(statistics.median(getattr(each.reference, name) for each in runs)
                            for name in ("learning", "drawing")))
    print(f"\nREFERENCE {kind}: {reference}")
    standing, fits = REFERENCE[kind], dict[str, Cost]()
    for name in dict.fromkeys(each.case.preset for each in runs):
        fits[name] = costs_of([each for each in runs if each.case.preset == name], reference)
        print(f'COSTS {kind} "{name}": Cost({fits[name].fixed:.3g}, {fits[name].labels:.3g}, '
              f"{fits[name].per_million:.3g})")
    millions = [each.case.millions for each in runs]
    base, each_one, labelled = fitted([[1.0] * len(runs), millions,
                                       [number * r.case.labels for number, r in zip(millions, runs, strict=True)]],
                                      [r.memory for r in runs])
    print(f"HOST_BYTES {kind}: ({base:.2g}, {each_one / 1e6:.0f}, {labelled / 1e6:.0f})")
    print("\n| case | s | fitted | table now | GB | table now |\n|---|---|---|---|---|---|")
    misses = []
    for each in runs:
        case, slow, cost = each.case, each.slowness(reference), fits[each.case.preset]
        own = slow.learning * (cost.fixed + cost.labels * case.labels) + slow.drawing * cost.per_million * case.millions
        now = estimate(case.grid, case.observed, case.labels, case.preset, kind, slowness=each.slowness(standing))
        print(f"| {case} | {each.seconds:.1f} | {own:.1f} | {now.seconds:.1f} | {each.memory / 1e9:.2f} | "
              f"{now.memory_bytes / 1e9:.2f} |")
        misses.append(tuple(told / taken - 1.0 for told, taken in (
            (own, each.seconds), (now.seconds, each.seconds), (now.memory_bytes, each.memory))))
    largest = [max(column, key=abs) for column in zip(*misses, strict=True)]
    print(f"\nLargest misses: fitted {largest[0]:+.0%}, table now {largest[1]:+.0%}, its memory {largest[2]:+.0%}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--case", action="append", metavar="PRESET:SIDE[:kept=K][:labels]",
                        help=f"default: {' '.join(USUAL)}")
    parser.add_argument("--once", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(asdict(run(Case(**json.loads(args.once)), args.device, args.threads))))
        return
    runs = []
    for text in args.case or USUAL:
        runs.append(in_own_process(Case.parse(text), args.device, args.threads))
        print(f"{text}: {runs[-1].seconds:.1f} s, {runs[-1].memory / 1e9:.2f} GB, {runs[-1].reference}", flush=True)
    report(runs, "cpu" if args.device == "cpu" else "cuda")


if __name__ == "__main__":
    main()
