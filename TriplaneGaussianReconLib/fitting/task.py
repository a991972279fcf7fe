"""What is to be fitted: everything that is the same for all slabs."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..config.presets import Preset
from ..data.gap_sampling import layer_count
from ..data.model_space import ModelSpaceData
from ..gaussians.triplane import TriplaneField
from ..labels.channels import LabelChannels
from ..prediction.ensemble import EnsembleWeights
from ..prediction.fusion import LearnedFusion
from ..rasterizer.modes import MODES
from ..registration.optical_flow import Correspondence
from ..runtime.memory import fitting_bytes
from ..self_supervised.label_super_resolution import LabelSuperResolution
from ..self_supervised.super_resolution import SuperResolution


@dataclass(frozen=True)
class Task:
    """What is to be fitted: everything that is the same for all slabs.

    Attributes:
        observed: The observed slices in the model's frame and units.
        correspondence: Displacement across each gap.
        ensemble: How the predictions of the interpolators are mixed.
        super_resolutions: Number of planes in a gap -> network that fills such gaps, see `prediction.predict`.
        fusion: Network that takes the place of the super-resolution networks, or None, see `prediction.predict`.
        label_super_resolutions: Number of planes in a gap -> network that finds labels in such gaps, see
            `placement.Gaps`.
        preset: What decides about the result.
        seed: Of all random numbers.
    """

    observed: ModelSpaceData
    correspondence: Correspondence
    ensemble: EnsembleWeights
    super_resolutions: Mapping[int, SuperResolution]
    fusion: LearnedFusion | None
    label_super_resolutions: Mapping[int, LabelSuperResolution]
    preset: Preset
    seed: int

    @property
    def channels(self) -> LabelChannels:
        """Which channel is which label."""
        return LabelChannels(self.observed.segments)

    @property
    def can_be_cut(self) -> bool:
        """Whether slabs give the same result as the whole: they do where nothing is trained by gradient descent."""
        return (self.preset.initialization == "correspondence" and not MODES[self.preset.mode].is_ordered
                and not self.preset.training.steps)

    @property
    def is_semantic(self) -> bool:
        """Whether labels are trained, not just placed."""
        return bool(self.preset.training.semantic_loss and self.observed.segments)

    def gap_bytes(self) -> np.ndarray:
        """(gap,) memory that fitting takes for each gap, with a Gaussian on every pixel."""
        planes, counts = self.observed.planes, self.observed.plane_counts
        layers = np.array([layer_count(count) for count in counts])
        return fitting_bytes(planes.rows * planes.columns, layers, counts,
                             self.preset.labels.most_slots if self.observed.segments else 0)

    def initial_field(self) -> TriplaneField:
        """Return the tri-plane field before training, on the CPU; the same for the same seed."""
        triplane = self.preset.triplane
        with torch.random.fork_rng(devices=[]):  # the caller's own random numbers go on as they were
            torch.manual_seed(self.seed)
            return TriplaneField(torch.from_numpy(self.observed.box), triplane.residual_limits,
                                 label_channels=self.channels.count - 1 if self.is_semantic else 0,
                                 resolution=triplane.resolution, features=triplane.features, hidden=triplane.hidden,
                                 fusion=triplane.fusion, initial_spread=triplane.initial_spread,
                                 fewest_texels=triplane.fewest_texels)
