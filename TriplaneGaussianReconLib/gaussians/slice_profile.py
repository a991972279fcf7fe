"""What a slice sees: Gaussians averaged over the slice's profile along its normal, in closed form.

A profile is a sum of equal Gaussians.  The average of a Gaussian over one of them is a Gaussian again: its covariance
is `Sigma + sigma^2 n n'`.  So no rasterizer has to know of profiles, and gradients follow by themselves.
"""
from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .cloud import Gaussians


def averaged(gaussians: Gaussians, normal: Tensor, sigma: float) -> Gaussians:
    """Average Gaussians along a direction, so that drawing them on a thin plane shows what a thick slice sees.

    With `P` the precision, `q = P n` and `s = 1 + sigma^2 n' P n`, the precision becomes `P - sigma^2 q q' / s` and the
    weight falls by `sqrt(s)` (Sherman and Morrison).  Slopes follow the mean place along the normal, which is linear
    in the position: `slope - sigma^2 (slope . n) q / s`.  Differentiable in all.

    Args:
        gaussians: N Gaussians.
        normal: (3,) unit vector, in their frame.
        sigma: mm, standard deviation of the average.

    Returns:
        N Gaussians with the same centres and values.

    Example:
        >>> one = Gaussians(torch.zeros(1, 3), torch.tensor([[1.0, 0, 0, 1, 0, 1]]), torch.ones(1), torch.ones(1, 1),
        ...                 torch.zeros(1, 1, 3), torch.zeros(1, 1, dtype=torch.int32))
        >>> averaged(one, torch.tensor([0.0, 0.0, 1.0]), 3.0 ** 0.5).precisions.tolist()
        [[1.0, 0.0, 0.0, 1.0, 0.0, 0.25]]
    """
    xx, xy, xz, yy, yz, zz = gaussians.precisions.unbind(1)
    x, y, z = normal.to(gaussians.precisions).unbind()
    along = torch.stack([xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z], dim=1)
    widened = 1.0 + sigma ** 2 * (along @ torch.stack([x, y, z]))
    share = sigma ** 2 / widened
    a, b, c = along.unbind(1)
    precisions = gaussians.precisions - share[:, None] * torch.stack([a * a, a * b, a * c, b * b, b * c, c * c], dim=1)
    rise = gaussians.slopes @ torch.stack([x, y, z])
    slopes = gaussians.slopes - (share[:, None] * rise)[..., None] * along[:, None]
    return replace(gaussians, precisions=precisions, weights=gaussians.weights / widened.sqrt(), slopes=slopes)
