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
    """

    margin: int = 2
    background_tolerance: float = 1e-3
    background_border: int = 3
    repeated_depth_sigma: float = 0.25


@dataclass(frozen=True)
class BlindStart:
    """Gaussians that start blind to the image, see `gaussians.blind_start`.

    Attributes:
        size: Gaussians along the longest side of the box, but no more than pixels; as many as fill the other sides
            likewise.
        layers: Of Gaussians along the depth axis, in each gap between used slices; 0 fills it as the other sides.
        sigma: Standard deviation, in distances from one to the next in the plane.
        depth_sigma: Along the depth axis at least this, in distances between the used slices.
        tilt: Standard deviation of the tilts.
        opacity: Weight of each, between 0 and 1.
        intensity: Value of the image, model units; the background is not subtracted.
    """

    size: int = 64
    layers: float = 0.0
    sigma: float = 0.42
    depth_sigma: float = 0.0
    tilt: float = 0.05
    opacity: float = 0.55
    intensity: float = 0.8
