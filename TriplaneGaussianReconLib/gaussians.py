"""The Gaussian cloud: what is stored and trained (`GaussianParameters`) and what is drawn (`Gaussians`).

Both live in the model's frame: millimetres, x along the columns of the slices, y along their rows, z along the slice
normal (the depth axis).
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians, ready to be drawn; `G(x) = exp(-1/2 (x - centre)' precision (x - centre))`.

    centres: (N, 3) mm.
    precisions: (N, 6) 1/mm^2, the inverse covariance packed as xx, xy, xz, yy, yz, zz.
    weights: (N,) non-negative; the opacity in mode `alpha` (at most 1).
    values: (N, S) value at the centre, one per slot.
    slopes: (N, S, 3) 1/mm; a slot's value at x is `value + slope . (x - centre)`.
    channels: (N, S) int32, the channel that each slot contributes to.  Slot 0 is the image (channel 0); labels fill
        the further slots, so that the cost follows the labels that touch a Gaussian and not those that exist.  A slot
        that is not needed has value and slope 0 (and any valid channel).
    """

    centres: Tensor
    precisions: Tensor
    weights: Tensor
    values: Tensor
    slopes: Tensor
    channels: Tensor

    def __len__(self) -> int:
        return len(self.centres)

    def to(self, *args: object, **kwargs: object) -> Gaussians:
        """Move or convert the floating-point tensors (as `Tensor.to`); `channels` moves but keeps its type."""
        moved = {name: getattr(self, name).to(*args, **kwargs)
                 for name in ("centres", "precisions", "weights", "values", "slopes")}
        return replace(self, **moved, channels=self.channels.to(moved["centres"].device))
