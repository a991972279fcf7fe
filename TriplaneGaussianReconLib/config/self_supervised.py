"""What decides about the networks that learn from the volume at hand alone."""
from __future__ import annotations

from dataclasses import dataclass

from .networks import NetworkConfig, OptimizerConfig


@dataclass(frozen=True)
class LineNetworkConfig(NetworkConfig):
    """A network along lines of pixels, trained on lines within the slices.

    Attributes:
        kernel: pixels along a line that one convolution sees.
        patch_length: pixels of a line in a patch.
        averaged_from: slices thicker than this (pixels) are averages: lines within slices are averaged alike for
            training.
        most_slices: of the stack that are trained on, spread over it.
        starts_learnt: whether the training starts from what was learnt on synthetic images, where there is such a start
            for a network of this size; see `self_supervised.start`.
    """

    kernel: int = 5
    patch_length: int = 48
    averaged_from: float = 1.2
    most_slices: int = 96
    starts_learnt: bool = False


@dataclass(frozen=True)
class SuperResolutionConfig(LineNetworkConfig):
    """Super-resolution of the image; see `self_supervised.super_resolution`.

    Attributes:
        draws: so many patches are drawn for each one that is used, the one with most detail.
        narrowest: gaps narrower than this (pixels) hide nothing that lines within a slice could show.
        few_pixels: gaps below this many pixels are filled from `slices_around_few` slices, others from `slices_around`.
        pixels_per_step: at least so many pixels per training step: more steps would overfit a small volume.
    """

    draws: int = 2
    narrowest: float = 1.5
    few_pixels: float = 3.0
    slices_around_few: int = 6
    slices_around: int = 4
    pixels_per_step: int = 8


@dataclass(frozen=True)
class LabelSuperResolutionConfig(LineNetworkConfig):
    """Super-resolution of the labels; see `self_supervised.label_super_resolution`.

    Attributes:
        thickest: slices thicker than this (pixels) are averages; labels within them say too little about labels across.
        agreed: signed distance (pixels) where the slices on either side of a gap agree, before training.
        steepness: odds grow by this factor, as a natural logarithm, with every pixel of signed distance.
        stretch, shift: intensities in [0, 1] become about [-1, 3], as far apart as masks of -1 and 1.
        frequency: a label is drawn in proportion to this power of the number of its border pixels: large labels are
            drawn less often than their size says, and all count the same in the end.
        beyond: a border lies between the two lines on either side of a gap, or at most so many gap widths outside.
    """

    thickest: float = 2.0
    agreed: float = 4.0
    steepness: float = 1.5
    stretch: float = 4.0
    shift: float = -1.0
    frequency: float = 0.5
    beyond: float = 0.1


@dataclass(frozen=True)
class RestorationConfig:
    """The network that restores what several stacks are solved for; see `self_supervised.restoration`.

    Attributes:
        width, layers: channels and convolutions.
        mean_over: voxels along each axis of the local mean that is taken away.
        steps, batch, patch: of the training; a batch has so many patches with so many voxels on a side.
        passes: times that each voxel of the examples is looked at in the mean, at most: more would overfit a small
            volume.
        rate: the peak rate, see `OptimizerConfig`.
    """

    width: int = 16
    layers: int = 5
    mean_over: int = 9
    steps: int = 200
    batch: int = 8
    patch: int = 24
    passes: int = 25
    rate: float = 3e-3
    optimizer: OptimizerConfig = OptimizerConfig()
