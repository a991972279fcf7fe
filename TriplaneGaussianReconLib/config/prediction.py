"""What decides about the image that is expected between the slices, and about its expected error."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .networks import NetworkConfig


@dataclass(frozen=True)
class EnsembleConfig:
    """How the members of the ensemble are weighted; see `prediction.ensemble`.

    Attributes:
        smoothing: standard deviation (pixels) of the smoothed interpolators.  Where detail cannot be predicted, smooth
            is nearer to the truth.
        most_hidden: slices that are hidden per gap width, spread over the stack, at most.
        hidden_pixels, fewest_hidden: fewer of them if they have more pixels than that, but not fewer than that.
        usual, usual_share: the mixture that is right on most volumes, and its share in the result: few hidden slices at
            a wider gap cannot overrule it altogether.
        usual_with_super_resolution, usual_share_with_super_resolution: the same where there is a super-resolution
            network.
        hidden_training: the super-resolution network for hidden slices is trained with this share of the steps.
        caution: wider gaps flatter members that follow any displacement or blur; their squared error counts this much
            more, in units of the best member's.
        unknown_shrinkage: how errors shrink from twice the gap to the gap where four times the gap cannot be tried.
        narrower: errors at the real gap are smaller than what tells of them there would mean across wider gaps, by this
            factor on average, measured on public volumes.
        narrowest: and by this factor at most as far as hidden slices tell.
        sampled_pixels: of the foreground of each hidden slice, on which expected errors are learnt.
        neighbourhood: standard deviation (pixels) of the neighbourhood over which what tells of an error is averaged.
    """

    smoothing: float = 0.7
    most_hidden: int = 24
    hidden_pixels: int = 1_500_000
    fewest_hidden: int = 10
    usual: Mapping[str, float] = field(default_factory=lambda: {"pchip": 0.3, "gated_cubic": 0.7})
    usual_share: float = 0.4
    usual_with_super_resolution: Mapping[str, float] = field(
        default_factory=lambda: {"super_resolution": 0.8, "gated_cubic": 0.2})
    usual_share_with_super_resolution: float = 0.25
    hidden_training: float = 0.5
    caution: Mapping[str, float] = field(
        default_factory=lambda: {"flow": 0.1, "flow_cubic": 0.1, "straight_smooth": 0.1, "gated_smooth": 0.1})
    unknown_shrinkage: float = 0.75
    narrower: float = 0.9
    narrowest: float = 0.5
    sampled_pixels: int = 2048
    neighbourhood: float = 1.5


@dataclass(frozen=True)
class FusionConfig(NetworkConfig):
    """Learned fusion of predictions; see `prediction.fusion`.

    Attributes:
        interpolators: that are fused; the others are mixtures of these or nearly the same.
        first_logits: of the weights before training, by name of the interpolator; 0 where there is none.
        first_logit_of_lines: the same for the super-resolution along rows and along columns.
        contrast: how much stronger the network sees where predictions differ than what they have in common.
        patch_side: pixels of the square patches on which the network is trained.
        unseen_weight: of an error where the truth is itself a prediction; 1 on lines that were observed.  Less lets the
            network learn the noise of the few observed lines of a small volume.
        squarest: pixels of virtual slices count as nearly square up to this ratio of their sides (2, and rounding).
        thickest: slices thicker than this (pixels) are averages; virtual slices would be thinner than they.
        even: by what share of their mean the widths of gaps may differ and still be even.
        fewest_gaps: a stack with fewer gaps, real or virtual, is too small to train on.
        most_pixels: predicted pixels of each virtual stack that are trained on, those of the gaps in its middle.
    """

    interpolators: tuple[str, ...] = ("linear", "pchip", "flow", "gated_cubic", "gated_smooth")
    first_logits: Mapping[str, float] = field(default_factory=lambda: {"gated_cubic": 0.5})
    first_logit_of_lines: float = 1.5
    contrast: float = 4.0
    patch_side: int = 48
    unseen_weight: float = 0.3
    squarest: float = 2.01
    thickest: float = 1.5
    even: float = 0.01
    fewest_gaps: int = 3
    most_pixels: int = 2 ** 24

    @property
    def inputs(self) -> int:
        """Number of predictions that are fused: the interpolators, and super-resolution along rows and columns."""
        return len(self.interpolators) + 2


@dataclass(frozen=True)
class CrossingConfig:
    """How slices of other orientations correct a prediction; see `prediction.predict.corrected`.

    Attributes:
        reach: standard deviation (pixels) of a correction around a crossing slice.
        fading: added to the sum of weights of crossing pixels, so that a correction fades to 0 away from them.
    """

    reach: float = 1.0
    fading: float = 0.05


@dataclass(frozen=True)
class ExpectedErrorConfig:
    """The expected error that a model carries; see `prediction.expected_error`.

    Attributes:
        coarseness: errors vary slowly; one value per so many pixels keeps the model small.
    """

    coarseness: int = 4
