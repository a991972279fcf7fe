"""What the Gaussians are fitted to."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.geometry import PlaneStack
from ..data.model_space import depth_of_pixels, depth_range


@dataclass(frozen=True)
class TargetPlanes:
    """Planes that the Gaussians are to reproduce, in the model's frame and units.

    Attributes:
        planes: Where the P planes lie.
        image: (P, rows, columns), background subtracted.
        weight: (P, rows, columns) or (P, 1, 1), at least 0.
        occupancies: (L, channels - 1, rows, columns) label masks, or None.
        labelled: (L,) numbers of the planes that these are of; None for all.
    """

    planes: PlaneStack
    image: Tensor
    weight: Tensor
    occupancies: Tensor | None = None
    labelled: Tensor | None = None

    @classmethod
    def uniform(cls, planes: PlaneStack, image: Tensor, weight: float, occupancies: Tensor | None = None,
                shares: np.ndarray | None = None, labelled: Tensor | None = None) -> TargetPlanes:
        """Give all pixels the same weight, or where `shares` [plane, row, column] are given so much of it."""
        weights = torch.full((len(planes), 1, 1), weight, device=image.device)
        if shares is not None:
            weights = weights * torch.from_numpy(np.asarray(shares, np.float32)).to(image.device)
        return cls(planes, image, weights, occupancies, labelled)

    @classmethod
    def between(cls, span: tuple[float, float], planes: PlaneStack, image: Tensor, weight: float, whole: int,
                shares: np.ndarray | None = None) -> TargetPlanes:
        """Keep the planes that have pixels within a span of depths; other pixels of these planes weigh nothing.

        Args:
            span: Lowest depth and the depth above the highest, mm.
            planes: Where the planes lie.
            image: (P, rows, columns), background subtracted.
            weight: Of a pixel within the span.
            whole: Pixels of this target without a span.  Weights are scaled so that the means of all spans add up to
                the mean of the whole.
            shares: (P, rows, columns), how much of that weight each pixel has; None for all of it.
        """
        depths = depth_range(planes)
        touched = np.flatnonzero((depths[:, 1] >= span[0]) & (depths[:, 0] < span[1]))
        planes, image = planes.subset(touched), image[torch.from_numpy(touched).to(image.device)]
        pixels = depth_of_pixels(planes)
        share = weight * image.numel() / whole * ((pixels >= span[0]) & (pixels < span[1]))
        if shares is not None:
            share = share * shares[touched]
        if len(share) and (share == share[0, 0, 0]).all():
            share = share[:, :1, :1]
        return cls(planes, image, torch.from_numpy(share.astype(np.float32)).to(image.device))
