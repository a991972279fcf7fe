"""The presets of this library as methods to compare."""
from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ..config.label_completion import LabelCompletionConfig
from ..config.presets import NetworkConfig, Preset, Training
from ..data.geometry import Axis, Grid
from ..data.images import Image, Segmentation
from ..data.observations import Observations
from ..data.selection import Selection
from ..errors import InputNote
from ..pipeline.reconstruction import Memory, Reconstruction, reconstruct
from .methods import Hidden, MethodResult

Effort = TypeVar("Effort", bound=Training | NetworkConfig | LabelCompletionConfig)


@dataclass(frozen=True)
class PresetMethod:
    """A preset of this library as a method to compare; see `evaluation.methods.Method`.

    Attributes:
        preset, device, seed: see `pipeline.reconstruction.reconstruct`.
        hidden: whole slices, or their labels alone.
        limit: bytes of the host that its process may hold at its peak; None for what is free.
    """

    preset: Preset
    device: str
    seed: int
    hidden: Hidden = "slices"
    limit: int | None = None

    def prepare(self) -> None:
        """Import and compile, by reconstructing a tiny volume in few steps, with labels and without."""
        few = replace(self.preset, blind=replace(self.preset.blind, size=4), training=_brief(self.preset.training),
                      label_completion=_brief(self.preset.label_completion),
                      super_resolution=self.preset.super_resolution and _brief(self.preset.super_resolution),
                      fusion=self.preset.fusion and _brief(self.preset.fusion),
                      label_super_resolution=self.preset.label_super_resolution and _brief(
                          self.preset.label_super_resolution))
        grid = Grid((7, 24, 24))
        random = np.random.default_rng(0).random(grid.shape, np.float32)
        labels = Segmentation.from_labelmap((random > 0.5).astype(np.uint8), grid)
        for segmentation in (labels,) if self.hidden == "labels" else (labels, None):
            replace(self, preset=few)(Image(random, grid), segmentation, "k", Selection.every(7, 2))

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection
                 ) -> MethodResult:
        """Reconstruct on the image's grid, with the error that is to be expected; or the labels alone."""
        observations = self._observed(image, segmentation, axis, selection)
        made = reconstruct(observations, image.grid, preset=self.preset, device=self.device, seed=self.seed,
                           memory=Memory(keep_model=False, limit=self.limit))
        layers = _layers_like(segmentation, made)
        if self.hidden == "labels":
            return MethodResult(layers=layers)
        return MethodResult(made.volume.array, layers, made.confidence.array, made.report.self_check.band_68)

    def _observed(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection
                  ) -> Observations:
        if self.hidden == "slices":
            return Observations.from_volume(image, {axis: selection}, segmentation)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputNote)  # which slices are labelled is the evaluation's own choice
            return Observations.from_volume(image, {axis: Selection.every(selection.count, 1)}, segmentation,
                                            labelled={axis: selection})


def _layers_like(segmentation: Segmentation | None, made: Reconstruction) -> np.ndarray | None:
    """The labels made, in as many layers as `segmentation`, which may have further ones without any segment."""
    if segmentation is None or made.segmentation is None:
        return None
    layers = np.zeros_like(segmentation.layers)
    layers[:len(made.segmentation.layers)] = made.segmentation.layers
    return layers


def _brief(training: Effort) -> Effort:
    """The same with two steps at most."""
    return replace(training, steps=min(training.steps, 2))
