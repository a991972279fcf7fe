"""The stages of a reconstruction in order: their names, what users read, and their usual share of the time.

Console, log and panel show the sentences; messages and reports use the names, which scripts read.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

from .presets import DEFAULT_PRESET, PRESETS, Preset


@dataclass(frozen=True)
class Stage:
    """One stage of a reconstruction.

    Attributes:
        name: identifier in messages, and key in the `seconds` and `loss` of a report.
        share: of the time, against those of the other stages that are gone through: seconds of `fast` on two cores
            for `USUAL_VOXELS`.
        sentence: what users read while it is going on.
        grows: whether it takes longer for larger volumes.
    """

    name: str
    share: float
    sentence: str
    grows: bool = True


USUAL_VOXELS = 160 ** 3


STAGES: dict[str, Stage] = {stage.name: stage for stage in (
    Stage("label completion", 20.0, "Filling labels on the slices where none are drawn", grows=False),
    Stage("correspondence", 0.25, "Finding how structures move from slice to slice"),
    Stage("learning", 3.5, "Learning from the scan's own slices", grows=False),
    Stage("arbitration", 1.5, "Hiding slices to see which prediction is best"),
    Stage("fusion", 55.0, "Learning which prediction to believe where", grows=False),
    Stage("labels", 4.0, "Learning from the segmentation", grows=False),
    Stage("prediction", 1.2, "Predicting what lies between the slices"),
    Stage("initialization", 0.6, "Placing Gaussians"),
    Stage("training", 4.0, "Training Gaussians"),
    Stage("refinement", 2.0, "Fitting Gaussians to the slices"),
    Stage("rendering", 0.8, "Drawing the volume"),
    Stage("motion", 20.0, "Finding how the volumes lie to each other"),
    Stage("stacks", 70.0, "Solving for what all volumes have seen"),
)}

STACK_STAGES = tuple(STAGES[name] for name in ("motion", "stacks", "rendering"))
"""The stages of a reconstruction from several volumes, in order."""


def stages_of(preset: Preset, has_labels: bool, fills_labels: bool = False, fits: bool = True,
              voxels: float = USUAL_VOXELS) -> tuple[Stage, ...]:
    """Return the stages that a reconstruction goes through, in order.

    Args:
        preset: What is to be computed.
        has_labels: Whether there are labels on the slices.
        fills_labels: Whether labels are to be filled on some of the used slices.
        fits: Whether Gaussians are fitted at all.
        voxels: Of the result.

    Returns:
        All stages but those that are skipped, with their shares of this work.

    Example:
        >>> from TriplaneGaussianReconLib.config.presets import PRESETS
        >>> [stage.name for stage in stages_of(PRESETS["paper"], has_labels=True)][:3]
        ['correspondence', 'arbitration', 'prediction']
    """
    skipped = {"motion": True, "stacks": True, "label completion": not fills_labels,
               "learning": preset.super_resolution is None, "fusion": preset.fusion is None,
               "labels": preset.label_super_resolution is None or not has_labels,
               "training": not preset.training.steps}
    return tuple(_sized(stage, preset, voxels / USUAL_VOXELS) for stage in STAGES.values()
                 if not skipped.get(stage.name, False) and (fits or stage.name == "label completion"))


def _sized(stage: Stage, preset: Preset, size: float) -> Stage:
    """A stage with its share of the time of a volume of so many times the usual size."""
    learnt = PRESETS[DEFAULT_PRESET].super_resolution
    if stage.name == "learning" and learnt is not None and preset.super_resolution is not None:
        return replace(stage, share=stage.share * preset.super_resolution.operations / learnt.operations)
    return replace(stage, share=stage.share * size) if stage.grows else stage
