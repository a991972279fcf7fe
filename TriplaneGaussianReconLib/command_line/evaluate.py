"""`evaluate`: hide slices, fill them by several methods, and print how close each comes."""
from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..config.baseline_presets import INNERGS_STYLE
from ..config.presets import DEFAULT_PRESET, PRESETS, NetworkConfig, Preset, Training
from ..data.alignment import aligned_to
from ..data.geometry import Axis, Grid
from ..data.images import Image, Segmentation
from ..data.observations import Observations
from ..data.selection import Selection
from ..errors import InputError, MissingPackageError, OutputError, ReconstructionError
from ..evaluation.eclare import Eclare
from ..evaluation.evaluate import evaluate
from ..evaluation.figure import figure
from ..evaluation.methods import Method, MethodResult, baseline_names
from ..evaluation.report import EvaluationReport
from ..evaluation.table import table, to_json
from ..io.atomic import check_output
from ..io.readers import read_segmentation
from ..pipeline.reconstruction import Memory, reconstruct
from ..runtime.devices import choose
from .console import note, result, say
from .inputs import read_volume

Effort = TypeVar("Effort", bound=Training | NetworkConfig)


@dataclass(frozen=True)
class PresetMethod:
    """A preset of this library as a method to compare; see `evaluation.methods.Method`."""

    preset: Preset
    device: str
    seed: int

    def prepare(self) -> None:
        """Import and compile, by reconstructing a tiny volume in few steps, with labels and without."""
        few = replace(self.preset, grid_size=min(self.preset.grid_size, 4), training=_brief(self.preset.training),
                      super_resolution=self.preset.super_resolution and _brief(self.preset.super_resolution),
                      fusion=self.preset.fusion and _brief(self.preset.fusion),
                      label_super_resolution=self.preset.label_super_resolution and _brief(
                          self.preset.label_super_resolution))
        grid = Grid((7, 24, 24))
        random = np.random.default_rng(0).random(grid.shape, np.float32)
        labels = Segmentation.from_labelmap((random > 0.5).astype(np.uint8), grid)
        for segmentation in (labels, None):
            replace(self, preset=few)(Image(random, grid), segmentation, "k", Selection.every(7, 2))

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection
                 ) -> MethodResult:
        """Reconstruct on the image's grid, with the error that is to be expected."""
        observations = Observations.from_volume(image, {axis: selection}, segmentation)
        made = reconstruct(observations, image.grid, preset=self.preset, device=self.device, seed=self.seed,
                           memory=Memory(keep_model=False))
        layers = None
        if segmentation is not None and made.segmentation is not None:
            layers = np.zeros_like(segmentation.layers)  # may have further layers, without any segment
            layers[:len(made.segmentation.layers)] = made.segmentation.layers
        return MethodResult(made.volume.array, layers, made.confidence.array,
                            made.report.self_check.band_68)


def _brief(training: Effort) -> Effort:
    """The same with two steps at most."""
    return replace(training, steps=min(training.steps, 2))


def run(arguments: Namespace) -> None:
    """Do what `evaluate` was asked for; raises a ReconstructionError for whatever is wrong."""
    _check_paths(arguments)
    note(choose(arguments.device).note)
    image = read_volume(arguments)
    if image.grid.depths:
        raise InputError("The slices lie unevenly, and hidden ones can only be compared where they are even. Give an "
                         "even volume.")
    axis = image.grid.named_axis(arguments.axis) if arguments.axis else image.grid.thickest_axis()
    count = image.grid.count(axis)
    selection = (Selection.every(count, arguments.keep_every) if arguments.keep_every is not None
                 else Selection.all_but_every(count, arguments.hide_every))
    segmentation = (aligned_to(read_segmentation(arguments.labels, image.grid), image.grid) if arguments.labels
                    else None)
    names = _names(arguments, segmentation is not None)
    if "eclare" in names:
        Eclare(arguments.eclare_python, arguments.device).prepare()  # a mistake shows now rather than hours later
    report = evaluate(image, segmentation, axis, selection, names, _further_methods(arguments),
                      lambda name: note(f"{names.index(name) + 1} of {len(names)}: {name}"))
    succeeded = any(row.failure is None for row in report.rows)
    written = _write(report, arguments, succeeded)
    try:
        result(table(report))
    except OutputError:
        if not arguments.json:  # where the scores are
            raise
    for content, path in written.items():
        say(f"{content + ':':<8} {path}")
    if not succeeded:
        raise ReconstructionError("No method succeeded. The table says why.")


def _write(report: EvaluationReport, arguments: Namespace, succeeded: bool) -> dict[str, str]:
    """Write scores and figure, before anything depends on the terminal; returns where each is."""
    written: dict[str, str] = {}
    if arguments.json:
        to_json(report, arguments.json)
        written["scores"] = arguments.json
    if arguments.figure and succeeded:
        figure(report, arguments.figure)
        written["figure"] = arguments.figure
    return written


def _further_methods(arguments: Namespace) -> dict[str, Method]:
    """The methods to choose from that are no baselines."""
    presets = {name: PresetMethod(preset, arguments.device, arguments.seed)
               for name, preset in {**PRESETS, "innergs-style": INNERGS_STYLE}.items()}
    return {**presets, "eclare": Eclare(arguments.eclare_python, arguments.device)}


def _names(arguments: Namespace, labels: bool) -> list[str]:
    """The methods to compare."""
    if arguments.methods is not None:
        return [name.strip() for name in arguments.methods.split(",")]
    eclare = ["eclare"] if arguments.eclare_python is not None else []
    return [*baseline_names(labels), DEFAULT_PRESET, *eclare]


def _check_paths(arguments: Namespace) -> None:
    """Find out before the work whether scores and figure can be written."""
    if arguments.json:
        check_output(Path(arguments.json), ".json")
    if arguments.figure:
        check_output(Path(arguments.figure), ".png", ".pdf", ".svg")
        if find_spec("matplotlib") is None:
            raise MissingPackageError("The figure needs matplotlib. Install it with 'pip install matplotlib'.")
