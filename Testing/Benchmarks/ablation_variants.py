"""Part of `ablation.py`: the published model with one thing changed, and what it is compared with."""
from __future__ import annotations

from dataclasses import replace

from TriplaneGaussianReconLib.config.baseline_presets import INNERGS_STYLE, field_alone, without_field
from TriplaneGaussianReconLib.config.presets import PRESETS, Attribute, Preset, Relocation

# Large residuals of each attribute, in its own unit; see `triplane.TriplaneField`.
LARGE: dict[Attribute, float] = {"centres": 1.0, "tilts": 1.0, "scales": 0.7, "weights": 2.0, "intensity": 0.5}


def variants() -> dict[str, Preset]:
    """Name -> preset: `paper` and `paper-normalised`, each with one thing changed, and what they are compared with."""
    normalised, alpha = PRESETS["paper-normalised"], PRESETS["paper"]
    return {
        "innergs-style": INNERGS_STYLE,
        "innergs-style: slower": _training(INNERGS_STYLE, learning_rates={
            "centres": 0.2, "tilts": 0.02, "in_plane": 0.04, "log_depths": 0.04, "raw_weights": 0.06, "values": 0.04}),
        "innergs-style: relocation": _training(INNERGS_STYLE, relocation=Relocation(every=50, until=0.25)),
        **{name: each for base in (alpha, normalised) for name, each in _around(base).items()},
        # Settings chosen apart, for models without the field, and with it on tilts alone.
        "paper: no field at its best": _training(without_field(_blind(alpha, sigma=0.7)), steps=200),
        "paper-normalised: no field at its best": _training(without_field(_blind(normalised, sigma=1.4)), steps=200),
        "paper-normalised: no field with squared loss at its best": _training(
            without_field(_blind(normalised, sigma=1.4, depth_sigma=0.8)), steps=500, image_loss="squared",
            learning_rates={**without_field(normalised).training.learning_rates, "values": 0.01}),
        "paper-normalised: tilts alone at its best": _tilts_alone(_blind(normalised, depth_sigma=0.8)),
        "paper-normalised: tilts alone with squared loss at its best": _training(
            _tilts_alone(_blind(normalised, sigma=1.0, depth_sigma=0.8)), steps=1000, image_loss="squared",
            learning_rates={**normalised.training.learning_rates, "values": 0.01})}


def _around(base: Preset) -> dict[str, Preset]:
    """Variants of one preset."""
    rates, free = base.training.learning_rates, without_field(base).training.learning_rates
    changed = {
        "": base,
        "no field": without_field(base),
        "field alone": field_alone(base),
        "field and free tilts": _training(base, learning_rates={**free, "field": rates["field"]}),
        "tilts alone": _tilts_alone(base),
        "large field on all": _field(base, residual_limits=LARGE),
        **{f"field on {name} and free tilts": _training(_field(base, residual_limits={name: limit}),
                                                     learning_rates={**free, "field": rates["field"]})
           for name, limit in LARGE.items() if name != "tilts"},
        **{f"resolution {n}": _field(base, resolution=n) for n in (6, 24, 48)},
        **{f"features {n}": _field(base, features=n) for n in (4, 16)},
        **{f"decoder {n}": _field(base, hidden=n) for n in (16, 64)},
        "weighted sum": _field(base, fusion="weighted_sum"),
        **{f"variation x {n}": _field(base, total_variation=n * base.triplane.total_variation) for n in (0, 10)},
        "random": replace(base, initialization="random"),
        "random without field": without_field(replace(base, initialization="random")),
        **{f"depth sigma {n}": _blind(base, depth_sigma=n) for n in (0.5, 0.8, 1.0, 1.5)},
        "depth sigma trained": _training(base, learning_rates={**rates, "log_depths": 0.01}),
        "relocation": _training(base, relocation=Relocation()),
        "squared loss": _training(base, image_loss="squared"),
        "1000 steps": _training(base, steps=1000),
        "1000 steps without field": _training(without_field(base), steps=1000),
    }
    return {f"{base.name}: {name}" if name else base.name: each for name, each in changed.items()
            if not name or each != base}


def _tilts_alone(base: Preset) -> Preset:
    """The field decodes the tilts and nothing else."""
    return _field(base, residual_limits={"tilts": base.triplane.residual_limits["tilts"]})


def _blind(base: Preset, **changes: object) -> Preset:
    return replace(base, blind=replace(base.blind, **changes))  # type: ignore[arg-type]


def _field(base: Preset, **changes: object) -> Preset:
    return replace(base, triplane=replace(base.triplane, **changes))  # type: ignore[arg-type]


def _training(base: Preset, **changes: object) -> Preset:
    return replace(base, training=replace(base.training, **changes))  # type: ignore[arg-type]
