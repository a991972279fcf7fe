"""Pixels of all stacks that are hidden, to see how well a solution finds them."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .stack_view import Sight


@dataclass(frozen=True)
class HiddenPixels:
    """Some pixels at random, of all stacks.

    Attributes:
        sights: all that was seen.
        hidden: of each stack, [plane, row, column] whether a pixel is hidden.
    """

    sights: Sequence[Sight]
    hidden: Sequence[Tensor]

    @classmethod
    def of(cls, sights: Sequence[Sight], share: float, seed: int) -> HiddenPixels:
        """Hide a `share` of the pixels."""
        random = np.random.default_rng(seed)
        return cls(sights, [torch.from_numpy(random.random(each.weights.shape) < share).to(each.weights.device)
                            for each in sights])

    def shown(self) -> list[Sight]:
        """Return the sights without what is hidden."""
        return [replace(each, weights=torch.where(hides, 0.0, each.weights)) for each, hides in
                zip(self.sights, self.hidden, strict=True)]

    def error(self, values: Tensor) -> float:
        """Return the mean squared error of the hidden pixels, as `values` [k, j, i] show them, by how far each is
        trusted.
        """
        squared = weight = 0.0
        for each, hides in zip(self.sights, self.hidden, strict=True):
            weights = each.weights * hides
            squared += float((weights * (each.view.seen(values) - each.image) ** 2).sum())
            weight += float(weights.sum())
        return squared / max(weight, 1e-12)
