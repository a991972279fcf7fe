"""What the Gaussians are fitted to."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.geometry import PlaneStack


@dataclass(frozen=True)
class TargetPlanes:
    """Planes that the Gaussians are to reproduce, in the model's frame and units.

    Attributes:
        planes: Where the P planes lie.
        image: (P, rows, columns), background subtracted.
        weight: (P, rows, columns) or (P, 1, 1), at least 0.
        occupancies: (L, channels - 1, rows, columns) label masks, or None.
        labelled: (L,) numbers of the planes that these are of; None for all.
        background: What was subtracted, of which structural similarity has to know.
    """

    planes: PlaneStack
    image: Tensor
    weight: Tensor
    occupancies: Tensor | None = None
    labelled: Tensor | None = None
    background: float = 0.0

    @classmethod
    def uniform(cls, planes: PlaneStack, image: Tensor, weight: float, occupancies: Tensor | None = None,
                shares: np.ndarray | None = None, labelled: Tensor | None = None, background: float = 0.0
                ) -> TargetPlanes:
        """Give all pixels the same weight, or where `shares` [plane, row, column] are given so much of it."""
        weights = torch.full((len(planes), 1, 1), weight, device=image.device)
        if shares is not None:
            weights = weights * torch.from_numpy(np.asarray(shares, np.float32)).to(image.device)
        return cls(planes, image, weights, occupancies, labelled, background)
