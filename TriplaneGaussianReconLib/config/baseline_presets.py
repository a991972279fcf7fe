"""Variants of the preset `paper` that serve comparisons alone; data, as in `presets`."""
from __future__ import annotations

from dataclasses import replace

from .gaussians import BlindStart
from .presets import PRESETS, Attribute, Preset, Training

# Largest residuals where nothing but the field says what a Gaussian is like: from the common start to anything needed.
_FROM_FIELD: dict[Attribute, float] = {"centres": 2.0, "tilts": 2.0, "scales": 1.5, "weights": 6.0, "intensity": 1.0,
                                       "semantics": 1.0}
_FIELD_RATE = 1e-2
_FREE_TILTS = 0.015  # of 0.002 to 0.05; the best one with the best other settings


def without_field(preset: Preset) -> Preset:
    """The tri-plane field stays at its start, where its residuals are 0; each Gaussian has a tilt of its own."""
    rates = {name: rate for name, rate in preset.training.learning_rates.items() if name != "field"}
    return replace(preset, training=replace(preset.training, learning_rates={**rates, "tilts": _FREE_TILTS}))


def field_alone(preset: Preset) -> Preset:
    """All attributes are decoded from the field; Gaussians have none of their own beyond their common start."""
    return replace(preset, name="field-alone", description="The published method, all attributes from the field alone.",
                   triplane=replace(preset.triplane, residual_limits=_FROM_FIELD),
                   training=replace(preset.training, learning_rates={"field": _FIELD_RATE}, relocation=None))


# How InnerGS optimises, in this library's terms: blind start, alpha compositing, observed slices alone, no tri-plane;
# its rates, the centres' of 160 pixels a side.  It is not their code; docs/results/paper.md has the figures of both.
INNERGS_STYLE = replace(
    PRESETS["paper"], name="innergs-style", description="How InnerGS optimises: from a blind grid, without tri-plane.",
    initialization="grid", blind=BlindStart(size=42, sigma=0.42, opacity=0.55, intensity=0.8, tilt=0.05),
    training=Training(steps=1000, image_loss="l1_ssim", learning_rates={
        "centres": 4.8, "tilts": 0.08, "in_plane": 0.08, "log_depths": 0.08, "raw_weights": 0.06, "values": 0.04}))
