"""Variants of the preset `paper` that serve comparisons alone; data, as in `presets`."""
from __future__ import annotations

from dataclasses import replace

from .presets import PRESETS, Attribute, Preset

# The rates of InnerGS in pixels, slower for what the tri-plane moves too.
_GRID_RATES = {"centres": 0.2, "tilts": 0.02, "in_plane": 0.04, "log_depths": 0.04, "raw_weights": 0.06, "values": 0.04,
               "field": 1e-2}
_GRID_LIMITS: dict[Attribute, float] = {"centres": 2.0, "scales": 1.0, "weights": 4.0, "intensity": 0.5}
GRID_STEPS = 250


def without_field(preset: Preset) -> Preset:
    """The tri-plane field stays at its start, where its residuals are 0."""
    rates = {name: rate for name, rate in preset.training.learning_rates.items() if name != "field"}
    return replace(preset, training=replace(preset.training, learning_rates=rates))


def from_grid(steps: int = GRID_STEPS) -> Preset:
    """`paper` from a grid of 42 Gaussians a side, blind to the image, as InnerGS starts."""
    paper = PRESETS["paper"]
    return replace(paper, name="grid", description="The published method, started from a blind grid.",
                   initialization="grid", grid_size=42,
                   triplane=replace(paper.triplane, residual_limits=_GRID_LIMITS),
                   training=replace(paper.training, steps=steps, learning_rates=_GRID_RATES))


# How InnerGS optimises, in this library's terms: blind start, alpha compositing, observed slices alone, no tri-plane.
# It is not their code, whose figures differ (docs/results/paper.md has both).
INNERGS_STYLE = replace(without_field(from_grid()), name="innergs-style",
                        description="The preset paper without its tri-plane, from a blind grid: how InnerGS optimises.")
