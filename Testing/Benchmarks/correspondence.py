#!/usr/bin/env python3
"""Which optical flow should say how structures move between slices?

Keeps every k-th slice of each volume, finds the displacement between neighbouring kept slices by every method, blends
both neighbours along it, and scores the slices in between:

    python Testing/Benchmarks/correspondence.py VOLUME ... --keep-every 4

Every method is run in both directions and made symmetric, and is followed by the same blend, so that the rows differ
in the displacement alone.  Seconds are processor time (of all threads, should a library start several) for the
displacement fields of one volume.  A second table shows what the confidence of the chosen method is worth.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from TriplaneGaussianReconLib.config.prediction import EnsembleConfig
from TriplaneGaussianReconLib.config.registration import FlowConfig
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.evaluation import metrics
from TriplaneGaussianReconLib.evaluation.scores import image_scores
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.prediction.interpolators import INTERPOLATORS, SLICES_AROUND, member_predictions
from TriplaneGaussianReconLib.registration.optical_flow import correspond, warp
from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext

# first, second [row, column] float32 in [0, 1] -> [row, column, 2] pixels (along columns, along rows) such that what
# lies at x on the first slice lies at x + d on the second.
OneWay = Callable[[np.ndarray, np.ndarray], np.ndarray]

FLOW = FlowConfig()

_NOTHING: Any = None  # the output, which OpenCV is to allocate; its type information does not know that
_GATE_SHOWN = ("linear", "pchip", "flow", "gated", "flow_cubic", "gated_cubic")


@dataclass(frozen=True)
class Case:
    """One volume: `slices` [k, j, i] float32 in [0, 1], and which of them are kept and which are scored."""

    name: str
    slices: np.ndarray
    kept: np.ndarray
    held_out: np.ndarray

    @classmethod
    def read(cls, path: str, keep_every: int) -> Case:
        """Read a volume and hide its slices along the last index axis."""
        slices = metrics.normalise(read_image(path).array)
        kept = np.asarray(Selection.every(len(slices), keep_every).indices)
        held_out = np.setdiff1d(np.arange(kept[-1]), kept)
        return cls(Path(path).name.split(".")[0], slices, kept, held_out)

    def psnr(self, predict: Callable[[int, float], np.ndarray]) -> float:
        """Mean PSNR (dB) of `predict(gap, fraction of its width)` over the held-out slices."""
        estimate = np.empty((len(self.held_out), *self.slices.shape[1:]), np.float32)
        for number, wanted in enumerate(self.held_out):
            gap = int(np.searchsorted(self.kept, wanted)) - 1
            width = self.kept[gap + 1] - self.kept[gap]
            estimate[number] = predict(gap, float((wanted - self.kept[gap]) / width))
        return image_scores(self.slices[self.held_out], estimate)["psnr"].value


def straight(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """No displacement: linear interpolation."""
    return np.zeros((*first.shape, 2), np.float32)


def dis(first: np.ndarray, second: np.ndarray, *, preset: int, smoothness: float) -> np.ndarray:
    """OpenCV's DIS (Kroeger et al. 2016) with variational refinement of the given smoothness."""
    flow = cv2.DISOpticalFlow.create(preset)
    flow.setVariationalRefinementAlpha(smoothness)
    return flow.calc(_bytes(first), _bytes(second), _NOTHING)


def farneback(first: np.ndarray, second: np.ndarray, *, levels: int, window: int) -> np.ndarray:
    """OpenCV's Farneback (2003)."""
    return cv2.calcOpticalFlowFarneback(_bytes(first), _bytes(second), _NOTHING, pyr_scale=0.5, levels=levels,
                                        winsize=window, iterations=5, poly_n=7, poly_sigma=1.5,
                                        flags=cv2.OPTFLOW_FARNEBACK_GAUSSIAN)


def tvl1(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """scikit-image's TV-L1 (Zach et al. 2007), with the weights of `baselines.flow`."""
    from skimage.registration import optical_flow_tvl1

    return _columns_first(optical_flow_tvl1(first, second, attachment=10, tightness=0.3, num_warp=5, num_iter=10))


def ilk(first: np.ndarray, second: np.ndarray, *, radius: int) -> np.ndarray:
    """scikit-image's iterative Lucas-Kanade (Le Besnerais and Champagnat 2005)."""
    from skimage.registration import optical_flow_ilk

    return _columns_first(optical_flow_ilk(first, second, radius=radius, gaussian=True))


METHODS: dict[str, OneWay] = {
    "none (linear)": straight,
    **{f"DIS {name}, smoothness {smoothness:g}": partial(dis, preset=preset, smoothness=smoothness)
       for name, preset, smoothness in (("ultrafast", cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, 20.0),
                                        ("fast", cv2.DISOPTICAL_FLOW_PRESET_FAST, 20.0),
                                        ("medium", cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, 20.0),
                                        ("medium", cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, FLOW.smoothness),
                                        ("medium", cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, 2 * FLOW.smoothness))},
    "Farneback, window 15": partial(farneback, levels=3, window=15),
    "Farneback, window 31": partial(farneback, levels=4, window=31),
    "ILK, radius 7": partial(ilk, radius=7),
    "ILK, radius 13": partial(ilk, radius=13),
    "TV-L1": tvl1,
}


def flow_score(case: Case, method: OneWay) -> tuple[float, float]:
    """(PSNR in dB, processor seconds) of the blend along the displacement that `method` finds."""
    slices = case.slices[case.kept]
    start = time.process_time()
    found = [0.5 * (method(a, b) - method(b, a)) for a, b in zip(slices[:-1], slices[1:], strict=True)]
    seconds = time.process_time() - start

    def along(gap: int, fraction: float) -> np.ndarray:
        before, after = (warp(slices[gap], found[gap], -fraction), warp(slices[gap + 1], found[gap], 1.0 - fraction))
        return (1.0 - fraction) * before + fraction * after

    return case.psnr(along), seconds


def gate_scores(case: Case) -> dict[str, float]:
    """PSNR (dB) of the library's interpolators: with and without its confidence."""
    slices, positions = case.slices[case.kept], case.kept.astype(np.float64)
    found, observed = correspond(slices, FLOW).on(torch.device("cpu")), torch.from_numpy(slices)

    def interpolated(gap: int, fraction: float, number: int) -> np.ndarray:
        context = SliceContext.around(np.array([gap]), positions, np.array([fraction]), SLICES_AROUND)
        return member_predictions(observed, found, context, EnsembleConfig().smoothing)[number, 0, 0].numpy()

    return {name: case.psnr(partial(interpolated, number=INTERPOLATORS.index(name))) for name in _GATE_SHOWN}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column left-aligned, the others right-aligned."""
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", nargs="+", metavar="VOLUME")
    parser.add_argument("--keep-every", type=int, default=4, metavar="K")
    parser.add_argument("--without", action="append", default=[], choices=list(METHODS), metavar="METHOD",
                        help=f"leave a method out (may be repeated): {'; '.join(METHODS)}")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    cases = [Case.read(path, options.keep_every) for path in options.volumes]
    names = [case.name for case in cases]
    rows = []
    for name in (name for name in METHODS if name not in options.without):
        METHODS[name](*np.zeros((2, 64, 64), np.float32))  # imports
        scores = np.array([flow_score(case, METHODS[name]) for case in cases])
        rows.append([name, *(f"{psnr:.2f}" for psnr in scores[:, 0]), f"{scores[:, 0].mean():.2f}",
                     f"{scores[:, 1].mean():.2f}"])
        print("done:", name, file=sys.stderr, flush=True)
    print(f"\nBlended along the displacement, one slice in {options.keep_every} kept; PSNR in dB\n")
    print(table(["displacement", *names, "mean", "seconds"], rows))
    gate = [gate_scores(case) for case in cases]
    print("\nInterpolators of the library (see `prediction.interpolators`), PSNR in dB\n")
    print(table(["interpolator", *names, "mean"],
                [[name, *(f"{scores[name]:.2f}" for scores in gate), f"{np.mean([s[name] for s in gate]):.2f}"]
                 for name in _GATE_SHOWN]))


def _bytes(slice_: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(slice_ * 255.0), 0, 255).astype(np.uint8)


def _columns_first(displacement: np.ndarray) -> np.ndarray:
    """[2, row, column] (along rows, along columns) -> [row, column, 2] (along columns, along rows)."""
    return np.ascontiguousarray(np.moveaxis(displacement[::-1], 0, -1), dtype=np.float32)


if __name__ == "__main__":
    main()
