"""Part of `ablation.py`: the published model with one thing changed."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from TriplaneGaussianReconLib.config.baseline_presets import INNERGS_STYLE, field_alone, without_field
from TriplaneGaussianReconLib.config.presets import PRESETS, Attribute, Preset, Relocation

# Largest residual of each attribute where it is decoded, in its own unit; see `triplane.TriplaneField`.
LIMITS: dict[Attribute, float] = {"centres": 1.0, "tilts": 1.0, "scales": 0.7, "weights": 2.0, "intensity": 0.5}

# Of InnerGS, whose box is from -1 to 1, for 160 pixels a side: 0.06 of 80 pixels.
_PUBLISHED_RATES = {"centres": 4.8, "tilts": 0.08, "in_plane": 0.08, "log_depths": 0.08}


def variants() -> dict[str, Preset]:
    """Name -> preset: `paper` and `paper-normalised`, each with one thing changed, and what they are compared with."""
    bases = [PRESETS["paper"], PRESETS["paper-normalised"]]
    faster = {**INNERGS_STYLE.training.learning_rates, **_PUBLISHED_RATES}
    return {"innergs-style": INNERGS_STYLE,
            "innergs-style: published rates": _training(INNERGS_STYLE, learning_rates=faster),
            "innergs-style: relocation": _training(INNERGS_STYLE, relocation=Relocation(every=50, until=0.25)),
            **{name: each for base in bases for name, each in _around(base).items()}}


def _around(base: Preset) -> dict[str, Preset]:
    """Variants of one preset."""
    changed = {
        "": base,
        "no field": without_field(base),
        "field alone": field_alone(base),
        "field on all": _on(base, LIMITS),
        **{f"field on {name}": _on(base, {name: limit}) for name, limit in LIMITS.items()},
        **{f"resolution {n}": _field(base, resolution=n) for n in (12, 24, 48, 96)},
        **{f"features {n}": _field(base, features=n) for n in (4, 16)},
        **{f"decoder {n}": _field(base, hidden=n) for n in (16, 64)},
        "weighted sum": _field(base, fusion="weighted_sum"),
        **{f"variation x {n}": _field(base, total_variation=n * base.triplane.total_variation) for n in (0, 0.1, 10)},
        "random": replace(base, initialization="random"),
        "random, no field": without_field(replace(base, initialization="random")),
        **{f"depth sigma {n}": replace(base, blind=replace(base.blind, depth_sigma=n)) for n in (0.0, 0.5, 1.0, 2.0)},
        "depth sigma trained": _training(base, learning_rates={**base.training.learning_rates, "log_depths": 0.01}),
        "relocation": _training(base, relocation=Relocation()),
        "squared loss": _training(base, image_loss="squared"),
        "no variation, depth sigma 0, trained": _training(
            replace(_field(base, total_variation=0.0), blind=replace(base.blind, depth_sigma=0.0)),
            learning_rates={**base.training.learning_rates, "log_depths": 0.01}),
    }
    return {f"{base.name}: {name}" if name else base.name: each for name, each in changed.items()
            if not name or each != base}


def _on(base: Preset, limits: Mapping[Attribute, float]) -> Preset:
    """The field on other attributes; where an attribute is decoded already its limit stays."""
    return _field(base, residual_limits={name: base.triplane.residual_limits.get(name, limit)
                                         for name, limit in limits.items()})


def _field(base: Preset, **changes: object) -> Preset:
    return replace(base, triplane=replace(base.triplane, **changes))  # type: ignore[arg-type]


def _training(base: Preset, **changes: object) -> Preset:
    return replace(base, training=replace(base.training, **changes))  # type: ignore[arg-type]
