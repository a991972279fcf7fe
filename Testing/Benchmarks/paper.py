#!/usr/bin/env python3
"""What the published model reaches on a volume, with and without its parts.

    paper.py VOLUME [--keep-every 4] [--centre 160] [--variants paper,grid,...] [--grid-steps 250]

Variants: `start`, the Gaussians of the preset `paper` before training; `paper`; `paper-no-triplane`; `grid`, the same
losses from a blind grid of 42 Gaussians a side, as InnerGS starts; `grid-no-triplane`, which `evaluate` calls
`innergs-style`.  Prints PSNR and SSIM of the held-out slices, PSNR of the observed ones and seconds.  Slow: hours of
processor time for a whole volume.
"""
from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from TriplaneGaussianReconLib.config.baseline_presets import GRID_STEPS, from_grid, without_field
from TriplaneGaussianReconLib.config.presets import PRESETS, Preset
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.evaluation import metrics
from TriplaneGaussianReconLib.evaluation.scores import image_scores
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.pipeline.reconstruction import reconstruct


def variants(grid_steps: int) -> dict[str, Preset]:
    """The presets to compare."""
    paper, grid = PRESETS["paper"], from_grid(grid_steps)
    return {"start": replace(paper, training=replace(paper.training, steps=0)),
            "paper": paper, "paper-no-triplane": without_field(paper),
            "grid": grid, "grid-no-triplane": without_field(grid)}


def centred(image: Image, side: int) -> Image:
    """The central part of `image`, normalised as the protocol does."""
    corner = [max(0, (n - side) // 2) for n in image.array.shape]
    part = image.array[tuple(slice(c, c + side) for c in corner)]
    origin = image.grid.index_to_physical(np.array(corner[::-1]))
    x, y, z = (float(value) for value in origin)
    depth, rows, columns = part.shape
    return Image(metrics.normalise(part), replace(image.grid, shape=(depth, rows, columns), origin=(x, y, z)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("--keep-every", type=int, default=4)
    parser.add_argument("--centre", type=int, default=160)
    parser.add_argument("--variants", default="start,paper,paper-no-triplane,grid,grid-no-triplane")
    parser.add_argument("--grid-steps", type=int, default=GRID_STEPS)
    args = parser.parse_args()
    image = centred(read_image(args.volume), args.centre)
    observed = Selection.every(image.grid.count("k"), args.keep_every)
    held_out = np.setdiff1d(np.arange(observed.indices[-1]), observed.indices)
    observations = Observations.from_volume(image, {"k": observed})
    print("| variant | held-out PSNR | SSIM | PSNR of used slices | Gaussians | s |\n|:--|--:|--:|--:|--:|--:|")
    for name in args.variants.split(","):
        start = time.perf_counter()
        result = reconstruct(observations, image.grid, preset=variants(args.grid_steps)[name])
        seconds = time.perf_counter() - start
        scores = image_scores(image.array[held_out], result.volume.array[held_out])
        print(f"| {name} | {scores['psnr'].value:.2f} | {scores['ssim'].value:.4f} | "
              f"{result.report.residuals[0].psnr:.1f} | {result.report.gaussians} | "
              f"{seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
