"""Presets are data: what a name such as `fast` stands for, the same on every device."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import InputError
from .gaussians import ModelSpaceConfig, PlacementConfig, RefinementConfig

FeatureFusion = Literal["concatenate", "weighted_sum"]  # of the samples of three planes
Attribute = Literal["centres", "tilts", "scales", "weights", "intensity", "semantics"]  # that a field may change


@dataclass(frozen=True)
class NetworkConfig:
    """How large a network is and how long it learns.

    width, blocks: see `ResidualNetwork`.  batch: pieces of the volume per step.  rate: the peak rate, see
    `optimizers.learn`.  views: how often it looks, each time from another side, to take the mean; see each kind of
    `TrainedNetwork`.
    """

    width: int
    blocks: int
    steps: int
    batch: int
    rate: float
    views: int = 1


@dataclass(frozen=True)
class Triplane:
    """The tri-plane field of a preset; see `triplane.TriplaneField` for the meaning of each number."""

    residual_limits: Mapping[Attribute, float]
    resolution: int
    features: int
    hidden: int
    fusion: FeatureFusion
    total_variation: float  # weight in the loss
    initial_spread: float = 0.1
    fewest_texels: int = 4


@dataclass(frozen=True)
class Training:
    """Adam on everything that has a learning rate, all planes in every step.

    learning_rates: field of GaussianParameters -> rate in the field's unit (lengths in pixels), or `field` for the
        tri-plane.
    image_loss: `squared`, or `l1_ssim` for 0.8 L1 + 0.4 (1 - SSIM).
    semantic_loss: weight of the mean squared error of the label occupancies.
    """

    steps: int
    learning_rates: Mapping[str, float]
    image_loss: Literal["squared", "l1_ssim"] = "squared"
    semantic_loss: float = 0.0
    patience: int = 20  # steps without improvement after which the rates are halved


@dataclass(frozen=True)
class Preset:
    """Everything that decides about a reconstruction but the observations.

    initialization: `correspondence` places a Gaussian per pixel and gap, tilted along the displacement; `grid` places
        `grid_size` Gaussians along the longest side of the box, blind to the image.
    mode, cutoff: see `rasterizer`.
    in_plane_sigma, depth_sigmas, opacity: see `placement.along_displacement`.
    refinement_steps: steps of Chebyshev's iteration on values and slopes, after training.
    predicted_weight: weight of what is predicted between trusted slices against a trusted pixel's 1; 0 trains on
        trusted slices alone.
    prior: how much is learnt from lines within the slices; None leaves that candidate out.
    fusion: how much is learnt about which prediction to believe pixel by pixel; None takes the prior as it is.
    labels: how much is learnt from labels on lines within the slices, if there are any and there is a prior.
    model_space, placement, refinement: see each class.
    """

    name: str
    initialization: Literal["correspondence", "grid"]
    mode: str
    cutoff: float
    triplane: Triplane
    training: Training
    in_plane_sigma: float = 0.0
    depth_sigmas: tuple[float, float] = (0.0, 0.0)
    opacity: float = 0.5
    refinement_steps: int = 0
    predicted_weight: float = 0.0
    grid_size: int = 0
    prior: NetworkConfig | None = None
    fusion: NetworkConfig | None = None
    labels: NetworkConfig | None = None
    model_space: ModelSpaceConfig = ModelSpaceConfig()
    placement: PlacementConfig = PlacementConfig()
    refinement: RefinementConfig = RefinementConfig()


# Gaussians along the displacement, in the mixture that hidden slices ask for.  For everyday use.
_FAST = Preset(
    name="fast", initialization="correspondence", mode="normalised", cutoff=12.0,
    in_plane_sigma=0.38, depth_sigmas=(0.3, 0.4),
    triplane=Triplane(residual_limits={"intensity": 0.05}, resolution=48, features=4, hidden=16,
                      fusion="concatenate", total_variation=1e-3),
    training=Training(steps=1, learning_rates={"field": 1e-2}),
    refinement_steps=4, predicted_weight=0.5,
    prior=NetworkConfig(width=24, blocks=4, steps=800, batch=128, rate=5e-3, views=2),
    labels=NetworkConfig(width=24, blocks=4, steps=1000, batch=96, rate=3e-3))

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (
    _FAST,
    # More is learnt from the slices: what two cores do in some minutes.
    replace(_FAST, name="balanced", prior=NetworkConfig(32, 6, steps=3000, batch=128, rate=5e-3, views=2),
            fusion=NetworkConfig(24, 2, steps=600, batch=24, rate=2e-3, views=2),
            labels=NetworkConfig(32, 4, steps=2000, batch=96, rate=3e-3, views=2)),
    # For a GPU: more again.
    replace(_FAST, name="best", prior=NetworkConfig(96, 8, steps=5000, batch=256, rate=2e-3, views=4),
            fusion=NetworkConfig(48, 3, steps=2000, batch=48, rate=1e-3, views=8),
            labels=NetworkConfig(64, 4, steps=4000, batch=128, rate=2e-3, views=4)),
    # The published model and losses, trained on trusted slices alone.  For comparison; slow.
    Preset(
        name="paper", initialization="correspondence", mode="alpha", cutoff=12.0,
        in_plane_sigma=0.5, depth_sigmas=(1.0, 1.2), opacity=0.95,
        triplane=Triplane(residual_limits={"tilts": 0.1, "scales": 0.3, "weights": 1.0, "intensity": 0.1,
                                           "semantics": 0.1},
                          resolution=96, features=8, hidden=32, fusion="concatenate", total_variation=1e-2),
        training=Training(steps=10, image_loss="l1_ssim", semantic_loss=0.4, learning_rates={
            "centres": 0.02, "tilts": 0.005, "in_plane": 0.01, "log_depths": 0.01, "raw_weights": 0.02, "values": 0.01,
            "field": 3e-3})),
)}


DEFAULT_PRESET = _FAST.name


def preset_named(name: str) -> Preset:
    """Return the preset called `name`; raises InputError that lists the known ones."""
    if name not in PRESETS:
        raise InputError(f"Unknown preset '{name}'. Choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
