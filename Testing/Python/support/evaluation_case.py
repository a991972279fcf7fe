"""A case for the evaluation, and methods that run in other processes, where they must be importable."""
from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.evaluation import metrics
from TriplaneGaussianReconLib.evaluation.evaluate import evaluate
from TriplaneGaussianReconLib.evaluation.methods import BASELINES, MethodResult
from TriplaneGaussianReconLib.evaluation.report import EvaluationReport, MethodScores

LARGE = 256_000_000  # bytes
SHAPE = (9, 24, 28)
KEEP = Selection.every(9, 4)
HIDDEN = [1, 2, 3, 5, 6, 7]
BAND = 0.9
EXPECTED = np.broadcast_to(np.linspace(0.001, 0.1, SHAPE[2], dtype=np.float32), SHAPE)


def careful(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> MethodResult:
    """A stand-in for a preset: fills image and labels, and expects errors that grow along i."""
    volume = BASELINES["linear"](image, segmentation, axis, selection).volume
    layers = BASELINES["label-shape"](image, segmentation, axis, selection).layers if segmentation else None
    return MethodResult(volume, layers, EXPECTED, BAND)


def seen(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> MethodResult:
    return MethodResult(np.isfinite(image.array), segmentation.layers if segmentation else None)


def greedy(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection, size: int
           ) -> MethodResult:
    return MethodResult(np.zeros(image.grid.shape) + np.ones(size, np.uint8)[0])


def failing(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> MethodResult:
    raise ValueError("no [such] thing")


def crashing(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> MethodResult:
    os._exit(3)


def misshapen(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> MethodResult:
    return MethodResult(image.array[1:])


def unsure(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> MethodResult:
    return MethodResult(np.zeros(image.grid.shape), None, EXPECTED[:, 1:], BAND)


def delegating(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> MethodResult:
    """Leaves the work to a program."""
    subprocess.run([sys.executable, "-c", f"held = b'1' * {LARGE}"], check=True)
    return MethodResult(np.zeros(image.grid.shape))


def hollow(image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection) -> MethodResult:
    return MethodResult(image.array)


def moving_case() -> tuple[Image, Segmentation]:
    """A ball that moves through the slices over a smooth background; two overlapping segments."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    ball = np.hypot(j - 9 - 0.6 * k, i - 12) < 6
    core = np.hypot(j - 9 - 0.6 * k, i - 12) < 4
    noise = np.random.default_rng(1).normal(0, 8, SHAPE)
    array = (300 + 20 * i + 500 * ball + noise).astype(np.int16)
    grid = Grid(SHAPE, spacing=(0.8, 0.8, 2.5), direction=((-1, 0, 0), (0, -1, 0), (0, 0, 1)))
    segments = (Segment("ball", 1, color=(0.0, 0.5, 0.0)), Segment("core", 1, layer=1))
    return Image(array, grid), Segmentation(np.stack([ball, core]).astype(np.uint8), segments, grid)


def in_unit_range(image: Image) -> Image:
    return Image(metrics.normalise(image.array), image.grid)


def evaluated() -> EvaluationReport:
    """By methods of the library and by those of this file, most of which fail."""
    image, segmentation = moving_case()
    presets = {"careful": careful, "failing": failing, "crashing": crashing, "misshapen": misshapen, "hollow": hollow,
               "unsure": unsure}
    methods = ["nearest", "linear", "label-nearest", "label-shape", *presets]
    return evaluate(image, segmentation, "k", KEEP, methods, presets)


def row(report: EvaluationReport, name: str) -> MethodScores:
    return next(row for row in report.rows if row.name == name)
