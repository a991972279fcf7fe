"""What reconstructions cost on this computer: measures synthetic volumes, and prints the table of `jobs/costs.py`.

    estimates.py [--device cpu] [--threads 2] [--case fast:64 --case fast:96:labels --case balanced:64:kept=2 ...]
                 [--volume FILE] [--case fast:48:stacks=2 --case fast:72:stacks=3:still ...]

Several stacks are simulated from such a cube, or from the middle of the volume that is given, moved and noisy; `still`
looks for no motion.

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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

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
from TriplaneGaussianReconLib.evaluation.stack_simulation import Simulation, central, simulate
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.jobs.calibration import measured
from TriplaneGaussianReconLib.jobs.costs import REFERENCE, Cost, DeviceKind, Reference
from TriplaneGaussianReconLib.jobs.estimates import Slowness, estimate, gaussians
from TriplaneGaussianReconLib.jobs.stack_estimates import SeenSlices, estimate_stacks, pairs
from TriplaneGaussianReconLib.pipeline.reconstruction import Memory, reconstruct
from TriplaneGaussianReconLib.pipeline.stacks import reconstruct_stacks
from TriplaneGaussianReconLib.runtime.processors import limited_threads

USUAL = ("fast:64", "fast:96", "fast:96:kept=2", "fast:160", "fast:64:labels", "fast:96:labels", "balanced:64",
         "balanced:160", "balanced:64:labels")


@dataclass(frozen=True)
class Case:
    """A cube to reconstruct.

    Attributes:
        preset: Its name.
        side: In voxels.
        kept: Of how many slices one is used; of how many voxels a slice of several stacks is made.
        labels: Whether it has two.
        stacks: How many are simulated of it; 0 where it is a single volume.
        moves: Whether motion of the stacks is looked for.
    """

    preset: str
    side: int
    kept: int = 4
    labels: bool = False
    stacks: int = 0
    moves: bool = True

    @classmethod
    def parse(cls, text: str) -> Case:
        preset, side, *further = text.split(":")
        numbers = {name: int(number) for name, equals, number in (word.partition("=") for word in further) if equals}
        return cls(preset, int(side), numbers.get("kept", 4), "labels" in further, numbers.get("stacks", 0),
                   "still" not in further)

    @property
    def grid(self) -> Grid:
        return Grid((self.side,) * 3)

    @property
    def observed(self) -> dict[Axis, Selection]:
        return {"k": Selection.every(self.side, self.kept)}

    @property
    def seen(self) -> list[SeenSlices]:
        """The stacks, without voxels."""
        truth = Image(np.zeros(self.grid.shape, np.float32), self.grid)
        return [SeenSlices.of(each.given) for each in simulate(truth, Simulation(self.stacks, self.kept))]

    @property
    def millions(self) -> float:
        """Of Gaussians; of several stacks, of pairs of a pixel and a Gaussian."""
        if self.stacks:
            return pairs(self.seen, self.grid, PRESETS[self.preset].stacks) / 1e6
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


def painted(case: Case) -> np.ndarray:
    """A smooth cube, [k, j, i] from 0 to 1."""
    smooth = gaussian_filter(np.random.default_rng(0).standard_normal((case.side,) * 3), 3.0)
    return (smooth - smooth.min()) / np.ptp(smooth)


def run(case: Case, device: str, threads: int | None, volume: str | None) -> Run:
    """Reconstruct once, with everything compiled; volume: file from which several stacks are simulated."""
    work = stacks_of(case, device, volume) if case.stacks else one_of(case, device)
    with limited_threads(threads):
        reference, start = measured(torch.device(device)), time.perf_counter()
        work()
        return Run(case, reference, time.perf_counter() - start, peak_memory() or 0.0)


def one_of(case: Case, device: str) -> Callable[[], object]:
    """What reconstructs a single volume."""
    smooth = painted(case)
    image = Image((1000.0 * smooth).astype(np.int16), case.grid)
    labels = np.digitize(smooth, np.quantile(smooth, [0.6, 0.9])).astype(np.uint8)
    segmentation = Segmentation.from_labelmap(labels, case.grid) if case.labels else None
    return partial(reconstruct, Observations.from_volume(image, case.observed, segmentation), case.grid,
                   preset=case.preset, device=device, memory=Memory(keep_model=False))


def stacks_of(case: Case, device: str, volume: str | None) -> Callable[[], object]:
    """What reconstructs several."""
    whole = Image(painted(case).astype(np.float32), case.grid) if volume is None else read_image(volume)
    simulated = simulate(central(whole, case.side), Simulation(case.stacks, case.kept, 0.02, motion=(3.0, 3.0)))
    return partial(reconstruct_stacks, Observations.from_volumes([each.given for each in simulated]),
                   min(whole.grid.spacing), preset=case.preset, device=device, motion="stack" if case.moves else "none")


def in_own_process(case: Case, device: str, threads: int | None, volume: str | None) -> Run:
    """The same in a fresh process."""
    words = [sys.executable, __file__, "--once", json.dumps(asdict(case)), "--device", device,
             *(["--threads", str(threads)] if threads else []), *(["--volume", volume] if volume else [])]
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


def report_stacks(runs: list[Run], kind: DeviceKind) -> None:
    """Print what several volumes cost, and what the table misses now."""
    reference = Reference(*(statistics.median(getattr(each.reference, name) for each in runs)
                            for name in ("learning", "drawing")))
    standing = REFERENCE.get(kind) or reference
    slow = [each.slowness(standing).learning for each in runs]
    millions = [each.case.millions for each in runs]
    fixed, per_million, motion = fitted([slow, [s * m for s, m in zip(slow, millions, strict=True)],
                                         [s * r.case.moves * (r.case.stacks - 1) for s, r in
                                          zip(slow, runs, strict=True)]], [r.seconds for r in runs])
    print(f"\nREFERENCE {kind}: {reference}")
    print(f"STACKS_FIXED, STACKS_PER_MILLION, STACKS_MOTION = {fixed:.3g}, {per_million:.3g}, {motion:.3g}")
    print("\n| case | s | table now | GB | table now |\n|---|---|---|---|---|")
    for each in runs:
        now = estimate_stacks(each.case.seen, None, False, each.case.preset, kind, each.case.moves,
                              each.slowness(standing))
        print(f"| {each.case} | {each.seconds:.1f} | {now.seconds:.1f} | {each.memory / 1e9:.2f} | "
              f"{now.memory_bytes / 1e9:.2f} |")


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
    parser.add_argument("--volume", metavar="FILE", help="from which several stacks are simulated")
    parser.add_argument("--case", action="append", metavar="PRESET:SIDE[:kept=K][:labels|:stacks=N[:still]]",
                        help=f"default: {' '.join(USUAL)}")
    parser.add_argument("--once", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(asdict(run(Case(**json.loads(args.once)), args.device, args.threads, args.volume))))
        return
    runs = []
    for text in args.case or USUAL:
        runs.append(in_own_process(Case.parse(text), args.device, args.threads, args.volume))
        print(f"{text}: {runs[-1].seconds:.1f} s, {runs[-1].memory / 1e9:.2f} GB, {runs[-1].reference}", flush=True)
    kind: DeviceKind = "cpu" if args.device == "cpu" else "cuda"
    for show, which in ((report, [each for each in runs if not each.case.stacks]),
                        (report_stacks, [each for each in runs if each.case.stacks])):
        if which:
            show(which, kind)


if __name__ == "__main__":
    main()
