"""What decides about labels on slices whose image is known; see the package `label_completion`."""
from __future__ import annotations

from dataclasses import dataclass, replace

from .networks import OptimizerConfig
from .registration import FlowConfig

HIDDEN = slice(2, -1, 3)  # of the slices that carry labels, in order: these are hidden where methods are compared
FEWEST_TO_HIDE = 4  # so many must carry labels for one of them to be hidden


@dataclass(frozen=True)
class CompletionNetworkConfig:
    """How large the network is; see `label_completion.network`.

    Attributes:
        width: channels of the first level; each further level has twice as many, up to four times.
        levels: resolutions, each half the one before.
        embedding: channels in which the network sees what each labelled slice says about all labels.
        features: of a texel of the tri-plane.
        texels: of the tri-plane along the longest side of the volume.
        neighbours: which slices' images it sees, counted from the one to be labelled.
    """

    width: int
    levels: int = 3
    embedding: int = 16
    features: int = 8
    texels: int = 48
    neighbours: tuple[int, ...] = (-2, -1, 0, 1, 2)


@dataclass(frozen=True)
class ExampleConfig:
    """What the network is trained on; see `label_completion.examples`.  Lengths are in pixels.

    Attributes:
        patch: side of a patch.
        frequency: a label is drawn in proportion to this power of the number of its border pixels.
        deformed: share of the examples whose labelled slices are the wanted one itself, deformed as much as labels are
            that were carried across part of a gap.
        beside: share of the others that are the slice beside the one whose border is looked at, on which the label may
            be no more.
        growth: the error of carried labels grows with this power of the distance.
        area: how much labels of deformed slices shrink or swell, as a share of the error.
        grain: scale of deformations.
        rotation, scaling, bend: spread of the angle (radians), the size (as a natural logarithm) and the deformation of
            patches.
        brightness, contrast: likewise of their intensities.
        jitter: likewise of where in the volume they are said to lie, as a share of its sides.
        most_bytes: of carried labels; labelled slices are left out until they fit.
    """

    patch: int
    frequency: float = 0.5
    deformed: float = 0.5
    beside: float = 0.5
    growth: float = 0.7
    area: float = 0.3
    grain: float = 8.0
    rotation: float = 0.1
    scaling: float = 0.08
    bend: float = 1.5
    brightness: float = 0.05
    contrast: float = 0.1
    jitter: float = 0.05
    most_bytes: int = 1 << 30


@dataclass(frozen=True)
class LabelCompletionConfig:
    """Everything that decides about labels on slices whose image is known.

    Attributes:
        network, examples: see there.
        steps, batch: of the training; a batch has so many patches.
        rate: the peak rate.
        optimizer: of the network.
        overlap: weight of 1 - Dice in the loss, against the cross entropy.
        prior: weight of the cross entropy of what the labelled slices alone say.
        variation: weight of the total variation of the tri-plane.
        judged: share of the steps after which the network is compared with simpler methods on labelled slices that it
            has not seen until then; 0 does not compare them.
        trusted: share of the network where it is not compared; the rest is that of the carried labels.
        again: share of the steps that a run makes which starts from what an earlier one learnt.
        margin: pixels around all labels that are looked at.
        flow: of the displacement from slice to slice.
    """

    network: CompletionNetworkConfig
    examples: ExampleConfig
    steps: int
    batch: int
    rate: float = 2e-3
    optimizer: OptimizerConfig = OptimizerConfig()
    overlap: float = 0.3
    prior: float = 0.2
    variation: float = 1.0
    judged: float = 0.33
    trusted: float = 0.8
    again: float = 0.1
    margin: int = 32
    flow: FlowConfig = replace(FlowConfig(), smoothness=10.0)
