#!/usr/bin/env python3
"""What each part of the model is worth: the tri-plane field, attribute by attribute, and the losses.

    ablation.py VOLUME... [--keep-every 4 2] [--preset fast] [--device auto] [--json OUT.json]

Every k-th slice along the third axis is kept, the others are scored as in `evaluate`.  What does not depend on the
variant (displacement, super-resolution, ensemble weights) is found once per case; each variant is then fitted and
drawn.  Prints the PSNR in dB of every variant; the JSON has the seconds too, and by how much the expected error would
have to be multiplied for 68 % of the voxels to lie within it.
"""
from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from TriplaneGaussianReconLib.config.presets import Preset, Training, preset_named
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.model_space import ModelSpaceData
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.evaluation import metrics
from TriplaneGaussianReconLib.evaluation.scores import image_scores
from TriplaneGaussianReconLib.fitting.slab_fitting import Fitting
from TriplaneGaussianReconLib.fitting.task import Task
from TriplaneGaussianReconLib.gaussians.triplane import Attribute
from TriplaneGaussianReconLib.io.readers import read_image
from TriplaneGaussianReconLib.model.shards import ShardStore
from TriplaneGaussianReconLib.pipeline import reconstruction
from TriplaneGaussianReconLib.runtime.devices import choose
from TriplaneGaussianReconLib.runtime.progress import StageMonitor

# Largest residual of each attribute, in its own unit; see `triplane.TriplaneField`.
LIMITS: dict[Attribute, float] = {"intensity": 0.05, "tilts": 0.1, "scales": 0.3, "weights": 1.0, "centres": 0.2}
STEPS = 20


def variants(preset: Preset) -> dict[str, Preset]:
    """Name -> the preset with one thing changed."""
    def field(steps: int, limits: Mapping[Attribute, float], **training: object) -> Preset:
        chosen = Training(steps=steps, learning_rates={"field": 1e-2}, **training)  # type: ignore[arg-type]
        return replace(preset, triplane=replace(preset.triplane, residual_limits=limits), training=chosen)

    without = replace(preset, training=Training(steps=0, learning_rates={}))
    on_intensity: dict[Attribute, float] = {"intensity": LIMITS["intensity"]}
    return {
        "as it is": preset,
        **({"without field": without} if preset.training.steps else {}),  # else it is without field as it is
        **{f"field on {name}": field(STEPS, {name: limit}) for name, limit in LIMITS.items()},
        "field on all": field(STEPS, LIMITS),
        "field on intensity, L1 + SSIM": field(STEPS, on_intensity, image_loss="l1_ssim"),
        "field on intensity, without predicted planes in the loss": replace(field(STEPS, on_intensity),
                                                                            predicted_weight=0.0),
        "without refinement": replace(without, refinement_steps=0),
    }


@dataclass(frozen=True)
class Case:
    """A volume in [0, 1] with hidden slices, and what was found out about it."""

    image: Image
    selection: Selection
    observations: Observations
    task: Task
    device: str

    @classmethod
    def of(cls, path: Path, step: int, preset: Preset, device: str) -> Case:
        """Read a volume, and learn all that does not depend on the variant."""
        image = read_image(path)
        image = Image(metrics.normalise(image.array), image.grid)
        selection = Selection.every(image.grid.count("k"), step)
        observations = Observations.from_volume(image, {"k": selection})
        observed = ModelSpaceData.of(observations, image.grid, preset.model_space, preset.gap_sampling)
        task = reconstruction._learn(observed, preset, choose(device), 0, StageMonitor())
        return cls(image, selection, observations, task, device)

    def score(self, preset: Preset) -> dict[str, float]:
        """Fit and draw with `preset`; return PSNR (dB), seconds, and the factor that the expected error lacks."""
        chosen, monitor, start = choose(self.device), StageMonitor(), time.perf_counter()
        task = replace(self.task, preset=preset)
        fitting = Fitting(task, reconstruction._slabs(task, chosen, reconstruction.Memory()), chosen, False,
                          monitor)
        result = reconstruction._fit_and_draw(self.observations, self.image.grid, fitting,
                                              ShardStore(preset.cutoff, keep=False, folder=None), monitor)
        seconds = time.perf_counter() - start
        observed = self.selection.indices
        hidden = np.setdiff1d(np.arange(observed[0], observed[-1]), observed)
        truth, estimate = self.image.array[hidden], np.clip(result.volume.array[hidden], 0.0, 1.0)
        shown = metrics.has_content(truth)
        ratio = np.abs(truth - estimate)[shown] / np.maximum(result.confidence.array[hidden][shown], 1e-6)
        return {"psnr": image_scores(truth, estimate)["psnr"].value, "seconds": seconds,
                "factor": float(np.quantile(ratio, 0.68))}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", nargs="+", type=Path)
    parser.add_argument("--keep-every", nargs="+", type=int, default=[4, 2])
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    preset, results = preset_named(args.preset), dict[str, dict[str, dict[str, float]]]()
    for path in args.volumes:
        for step in args.keep_every:
            case = Case.of(path, step, preset, args.device)
            results[f"{path.name.partition('.')[0]}, k={step}"] = {
                name: case.score(variant) for name, variant in variants(preset).items()}
            print(f"{path.name} k={step}: " + ", ".join(
                f"{name} {scores['psnr']:.3f}" for name, scores in list(results.values())[-1].items()), flush=True)
            if args.json:
                args.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
