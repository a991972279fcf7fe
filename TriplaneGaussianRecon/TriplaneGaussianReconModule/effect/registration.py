"""Makes the effect known to the Segment Editor."""
from __future__ import annotations

from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[2] / "TriplaneGaussianReconEditorEffect" / "SegmentEditorEffect.py"


def registerEffect() -> None:
    """Register the effect; called once, when the application has started."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    effect.setPythonSource(_SOURCE.as_posix())
    effect.self().register()
