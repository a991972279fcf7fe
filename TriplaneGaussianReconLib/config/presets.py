"""Presets are data: what a name such as `fast` stands for, the same on every device.

A new preset is one more entry in `PRESETS`: command line and panel list it with its description.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import InputError
from .data import GapSamplingConfig
from .gaussians import BlindStart, ModelSpaceConfig, PlacementConfig
from .label_completion import CompletionNetworkConfig, ExampleConfig, LabelCompletionConfig
from .labels import LabelConfig
from .networks import NetworkConfig, OptimizerConfig
from .prediction import CrossingConfig, EnsembleConfig, ExpectedErrorConfig, FusionConfig
from .registration import FlowConfig
from .self_supervised import LabelSuperResolutionConfig, RestorationConfig, SuperResolutionConfig
from .stacks import StackConfig

__all__ = [
    "DEFAULT_PRESET", "PRESETS", "Attribute", "BlindStart", "CrossingConfig", "EnsembleConfig", "ExpectedErrorConfig",
    "FeatureFusion", "FlowConfig", "FusionConfig", "GapSamplingConfig", "LabelConfig", "LabelSuperResolutionConfig",
    "ModelSpaceConfig", "NetworkConfig", "OptimizerConfig", "PlacementConfig", "Preset", "SuperResolutionConfig",
    "Training", "Triplane", "preset_named",
]

FeatureFusion = Literal["concatenate", "weighted_sum"]  # of the samples of three planes
Attribute = Literal["centres", "tilts", "scales", "weights", "intensity", "semantics"]  # that a field may change


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
class Relocation:
    """Gaussians that add nothing to the image are moved to where others struggle; their number stays.

    Attributes:
        every: Steps from one round to the next.
        until: Share of the steps after which no more are moved.
        share: Of the Gaussians, at most, that a round moves.
        unused: Weight times value, model units, below which a Gaussian counts as adding nothing.
        narrowing: Both halves of a Gaussian are so many times as narrow in the plane as it was.
    """

    every: int = 100
    until: float = 0.6
    share: float = 0.05
    unused: float = 0.02
    narrowing: float = 1.6


@dataclass(frozen=True)
class Training:
    """Adam on everything that has a learning rate, all planes in every step.

    Attributes:
        learning_rates: field of GaussianParameters -> rate in the field's unit (lengths in pixels), or `field` for the
            tri-plane.
        image_loss: `squared`, or `l1_ssim` for 0.8 L1 + 0.4 (1 - SSIM).
        semantic_loss: weight of the mean squared error of the label occupancies.
        patience: steps without improvement after which the rates are halved.
        final_rates: if given, rates fall along half a cosine to this share of what they were instead.
        relocation: of Gaussians that add nothing; None leaves all where they are.
    """

    steps: int
    learning_rates: Mapping[str, float]
    image_loss: Literal["squared", "l1_ssim"] = "squared"
    semantic_loss: float = 0.0
    patience: int = 20
    final_rates: float | None = None
    relocation: Relocation | None = None


@dataclass(frozen=True)
class Preset:
    """Everything that decides about a reconstruction but the observations, the output grid and the seed.

    Each stage gets its part of a preset as an argument.  What a stage's own configuration holds is explained there;
    today's presets differ in little of it.

    Attributes:
        name: what users choose.
        description: a sentence for them.
        initialization: `correspondence` places a Gaussian per pixel and gap, tilted along the displacement; `grid` and
            `random` place Gaussians as `blind` says, blind to the image.
        mode, cutoff: see `rasterizer`.
        in_plane_sigma, depth_sigmas, opacity: see `placement.along_displacement`.
        refinement_steps: of the intensities, after training, see `fitting.refine`.
        predicted_weight: weight, in the training, of what is predicted between observed slices against an observed
            pixel's 1; 0 trains on observed slices alone.
        super_resolution: network trained on lines within the slices; None leaves it out of the ensemble.
        fusion: network that fuses the predictions pixel by pixel; None takes the super-resolution as it is.
        label_super_resolution: network trained on labels on lines within the slices, if there are any and there is a
            super-resolution of the image; None leaves it out.
        label_completion: network that fills labels on slices whose image is known.
        stacks: how several volumes are solved for together.
        for_comparison: whether it is there to be compared with rather than for use; the panel does not offer it.
        gap_sampling, flow, labels, ensemble, crossing, expected_error, model_space, placement: the configuration of
            these stages.
    """

    name: str
    description: str
    initialization: Literal["correspondence", "grid", "random"]
    mode: str
    cutoff: float
    triplane: Triplane
    training: Training
    in_plane_sigma: float = 0.0
    depth_sigmas: tuple[float, float] = (0.0, 0.0)
    opacity: float = 0.5
    refinement_steps: int = 0
    predicted_weight: float = 0.0
    blind: BlindStart = BlindStart()
    model_space: ModelSpaceConfig = ModelSpaceConfig()
    placement: PlacementConfig = PlacementConfig()
    super_resolution: SuperResolutionConfig | None = None
    fusion: FusionConfig | None = None
    label_super_resolution: LabelSuperResolutionConfig | None = None
    label_completion: LabelCompletionConfig = LabelCompletionConfig(
        CompletionNetworkConfig(width=16, levels=2, embedding=8), ExampleConfig(patch=64), steps=900, batch=2,
        rate=4e-3, judged=0.0)
    stacks: StackConfig = StackConfig()
    for_comparison: bool = False
    gap_sampling: GapSamplingConfig = GapSamplingConfig()
    flow: FlowConfig = FlowConfig()
    labels: LabelConfig = LabelConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    crossing: CrossingConfig = CrossingConfig()
    expected_error: ExpectedErrorConfig = ExpectedErrorConfig()


# Gaussians along the displacement, in the mixture that hidden slices ask for.  For everyday use.  The tri-plane field
# is not trained, since it earns nothing here (docs/results/paper.md).
_FAST = Preset(
    name="fast", description="For everyday use: some twenty seconds on two cores.",
    initialization="correspondence", mode="normalised", cutoff=12.0,
    in_plane_sigma=0.38, depth_sigmas=(0.3, 0.4),
    triplane=Triplane(residual_limits={"intensity": 0.05}, resolution=48, features=4, hidden=16,
                      fusion="concatenate", total_variation=1e-3),
    training=Training(steps=0, learning_rates={"field": 1e-2}),
    refinement_steps=2, predicted_weight=0.5,
    super_resolution=SuperResolutionConfig(width=24, blocks=4, steps=400, batch=128, rate=5e-3, augmentations=2,
                                           starts_learnt=True),
    ensemble=EnsembleConfig(caution={**EnsembleConfig().caution, "super_resolution": 0.06}),  # hidden slices flatter it
    label_super_resolution=LabelSuperResolutionConfig(width=24, blocks=4, steps=300, batch=96, rate=3e-3,
                                                      starts_learnt=True),
    labels=LabelConfig(search=8))  # up to a fifth fewer pixels, the same Dice

# The published model and losses, trained on observed slices alone from a start that is blind to the image.  How the
# published one starts and learns is not told: these numbers were chosen on other volumes (docs/results/paper.md).
# Tilts come from the field alone: they say how structures move from slice to slice, which is smooth.
_PAPER = Preset(
    name="paper", description="The method as it was published, for comparison.", for_comparison=True,
    initialization="grid", mode="alpha", cutoff=12.0,
    blind=BlindStart(size=64, sigma=0.5, depth_sigma=1.5, opacity=0.05, intensity=0.3),
    triplane=Triplane(residual_limits={"centres": 0.1, "tilts": 1.0, "scales": 0.07, "weights": 0.2, "intensity": 0.03,
                                       "semantics": 0.5},
                      resolution=12, features=8, hidden=32, fusion="concatenate", total_variation=1e-2),
    training=Training(steps=300, image_loss="l1_ssim", semantic_loss=0.4, final_rates=0.02, learning_rates={
        "centres": 0.02, "in_plane": 0.01, "raw_weights": 0.03, "values": 0.03, "field": 1e-2}))

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (
    _FAST,
    # Larger networks, trained for longer: what two cores do in some minutes.
    replace(_FAST, name="balanced",
            description="Larger networks, trained for longer: some minutes on two cores, seconds on a GPU.",
            super_resolution=SuperResolutionConfig(32, 6, steps=3000, batch=128, rate=5e-3, augmentations=2),
            ensemble=EnsembleConfig(), labels=LabelConfig(),
            fusion=FusionConfig(24, 2, steps=600, batch=24, rate=2e-3, augmentations=2),
            label_super_resolution=LabelSuperResolutionConfig(32, 4, steps=2000, batch=96, rate=3e-3,
                                                              augmentations=2),
            label_completion=LabelCompletionConfig(CompletionNetworkConfig(width=32), ExampleConfig(patch=96),
                                                   steps=3000, batch=4),
            stacks=StackConfig(examples=6, guess=(4, 10), restoration=RestorationConfig(steps=800))),
    # For a GPU: larger again.
    replace(_FAST, name="best", description="The largest networks: half a minute on a GPU, half an hour on a CPU.",
            super_resolution=SuperResolutionConfig(96, 8, steps=5000, batch=256, rate=2e-3, augmentations=4),
            ensemble=EnsembleConfig(), labels=LabelConfig(),
            fusion=FusionConfig(48, 3, steps=2000, batch=48, rate=1e-3, augmentations=8),
            label_super_resolution=LabelSuperResolutionConfig(64, 4, steps=4000, batch=128, rate=2e-3,
                                                              augmentations=4),
            label_completion=LabelCompletionConfig(CompletionNetworkConfig(width=48), ExampleConfig(patch=128),
                                                   steps=4000, batch=8),
            stacks=StackConfig(examples=8, guess=(6, 12), restoration=RestorationConfig(width=24, steps=2500))),
    _PAPER,
    replace(_PAPER, name="paper-normalised", mode="normalised",
            blind=replace(_PAPER.blind, sigma=1.2, depth_sigma=1.0, opacity=0.5),
            training=replace(_PAPER.training, learning_rates={**_PAPER.training.learning_rates, "centres": 0.06}),
            description="The published method with weighted means instead of opaque Gaussians, for comparison."),
    # The published model and losses from Gaussians along the displacement, which is no part of it.
    Preset(
        name="paper-displaced", description="The published method from a start along the displacement, for comparison.",
        for_comparison=True, initialization="correspondence", mode="alpha", cutoff=12.0,
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


def in_steps(preset: Preset, steps: int) -> Preset:
    """Return a preset that trains its Gaussians in so many steps; raises InputError for one that does not train any."""
    if not preset.training.steps:
        raise InputError(f"The preset '{preset.name}' trains no Gaussians step by step. Leave --steps out, or choose "
                         f"one of {', '.join(name for name, known in PRESETS.items() if known.training.steps)}.")
    return replace(preset, training=replace(preset.training, steps=steps))
