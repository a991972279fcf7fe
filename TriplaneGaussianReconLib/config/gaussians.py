"""What decides where observed slices lie in the model, and where Gaussians start."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpaceConfig:
    """How input and output are brought into the model's frame and units, see `data.model_space`.

    Attributes:
        robust_percentile: Percentile of the observed pixels that becomes 1 in the model's units.
        slice_tolerance: Output slices count as lying on the observed ones up to this share of their distance, over all
            of their extent.
    """

    robust_percentile: float = 99.9
    slice_tolerance: float = 0.02


@dataclass(frozen=True)
class PlacementConfig:
    """Where Gaussians start, see `gaussians.placement`.

    Attributes:
        margin: Pixels beyond the image on which Gaussians are placed too, so that structures that move inwards leave
            no hole.
        background_tolerance: A pixel is background if it differs by no more than this from it, model units.
        background_border: Background closer than this (pixels) to anything else keeps its Gaussians.
        repeated_depth_sigma: Depth sigma of the outermost slices' copies, as a share of the nearest gap.
        grid_sigmas: Standard deviations of a Gaussian along the longest side; this and what follows for Gaussians on a
            grid, as in InnerGS.
        grid_tilt: Standard deviation of the tilts.
        grid_raw_weight: Logit of the weights.
        grid_intensity: Value of the image, model units.
    """

    margin: int = 2
    background_tolerance: float = 1e-3
    background_border: int = 3
    repeated_depth_sigma: float = 0.25
    grid_sigmas: float = 100.0
    grid_tilt: float = 0.05
    grid_raw_weight: float = 0.2
    grid_intensity: float = 0.8
