"""The stages of a reconstruction in order: their names, what users read, and their usual share of the time.

Console, log and panel show the sentences; messages and reports use the names, which scripts read.
"""
from __future__ import annotations

from dataclasses import dataclass

from .presets import Preset


@dataclass(frozen=True)
class Stage:
    """One stage of a reconstruction.

    Attributes:
        name: identifier in messages, and key in the `seconds` and `loss` of a report.
        share: usual share of the time, against those of the other stages that are gone through.
        sentence: what users read while it is going on.
    """

    name: str
    share: float
    sentence: str


STAGES: dict[str, Stage] = {stage.name: stage for stage in (
    Stage("label completion", 0.1, "Filling labels on the slices where none are drawn"),
    Stage("correspondence", 0.03, "Finding how structures move from slice to slice"),
    Stage("learning", 0.28, "Learning from the scan's own slices"),
    Stage("arbitration", 0.05, "Hiding slices to see which prediction is best"),
    Stage("fusion", 0.1, "Learning which prediction to believe where"),
    Stage("labels", 0.1, "Learning from the segmentation"),
    Stage("prediction", 0.05, "Predicting what lies between the slices"),
    Stage("initialization", 0.06, "Placing Gaussians"),
    Stage("training", 0.3, "Training Gaussians"),
    Stage("refinement", 0.05, "Fitting Gaussians to the slices"),
    Stage("rendering", 0.08, "Drawing the volume"),
    Stage("motion", 0.2, "Finding how the volumes lie to each other"),
    Stage("stacks", 0.7, "Solving for what all volumes have seen"),
)}

STACK_STAGES = tuple(STAGES[name] for name in ("motion", "stacks", "rendering"))
"""The stages of a reconstruction from several volumes, in order."""


def stages_of(preset: Preset, has_labels: bool, fills_labels: bool = False, fits: bool = True) -> tuple[Stage, ...]:
    """Return the stages that a reconstruction goes through, in order.

    Args:
        preset: What is to be computed.
        has_labels: Whether there are labels on the slices.
        fills_labels: Whether labels are to be filled on some of the used slices.
        fits: Whether Gaussians are fitted at all.

    Returns:
        All stages but those that are skipped.

    Example:
        >>> from TriplaneGaussianReconLib.config.presets import PRESETS
        >>> [stage.name for stage in stages_of(PRESETS["paper"], has_labels=True)][:3]
        ['correspondence', 'arbitration', 'prediction']
    """
    skipped = {"motion": True, "stacks": True, "label completion": not fills_labels,
               "learning": preset.super_resolution is None, "fusion": preset.fusion is None,
               "labels": preset.label_super_resolution is None or not has_labels,
               "training": not preset.training.steps}
    return tuple(stage for stage in STAGES.values()
                 if not skipped.get(stage.name, False) and (fits or stage.name == "label completion"))
