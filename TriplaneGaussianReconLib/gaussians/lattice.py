"""Gaussians of one size on a lattice of cubic voxels: what several stacks are solved for."""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from .cloud import GaussianParameters


@dataclass(frozen=True)
class Lattice:
    """Where the Gaussians are, in the model's frame: x along the last index, z along the first, the first at 0.

    Attributes:
        shape: (K, J, I) Gaussians.
        pitch: mm from one to the next.
        sigma: mm, their standard deviation.
        cutoff: squared Mahalanobis distance beyond which they are 0.
    """

    shape: tuple[int, int, int]
    pitch: float
    sigma: float
    cutoff: float

    def parameters(self, values: Tensor) -> GaussianParameters:
        """Return the Gaussians with these `values` [k, j, i], on their device."""
        axes = [torch.arange(n, device=values.device, dtype=values.dtype) * self.pitch for n in self.shape]
        centres = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3).flip(1).contiguous()
        count, precision = len(centres), -math.log(self.sigma)
        in_plane = values.new_tensor([precision, 0.0, precision]).repeat(count, 1)
        return GaussianParameters(centres, values.new_zeros(count, 2), in_plane,
                                  values.new_full((count,), math.log(self.sigma)), values.new_zeros(count),
                                  values.reshape(-1, 1), values.new_zeros(count, 1, 3),
                                  torch.zeros(count, 1, dtype=torch.int32, device=values.device))

    def with_labels(self, parameters: GaussianParameters, layers: Tensor) -> GaussianParameters:
        """Return the Gaussians with a further slot for each layer of labels, of value 1; layers: [layer, k, j, i] the
        channel of each Gaussian's label.
        """
        extra, count = len(layers), len(parameters)
        return replace(
            parameters, values=torch.cat([parameters.values, parameters.values.new_ones(count, extra)], dim=1),
            slopes=parameters.slopes.new_zeros(count, 1 + extra, 3),
            channels=torch.cat([parameters.channels, layers.reshape(extra, -1).T.to(torch.int32)], dim=1).contiguous())

    def drawn(self, values: Tensor) -> Tensor:
        """Return [k, j, i], what Gaussians with `values` [k, j, i] show at their centres."""
        return self._blurred(values) / self._blurred(torch.ones_like(values))

    def _blurred(self, values: Tensor) -> Tensor:
        """Sum of the Gaussians within `cutoff` of each centre."""
        reach = int(self.cutoff ** 0.5 * self.sigma / self.pitch)
        steps = torch.arange(-reach, reach + 1, device=values.device) * (self.pitch / self.sigma)
        squared = steps[:, None, None] ** 2 + steps[:, None] ** 2 + steps ** 2
        kernel = torch.where(squared <= self.cutoff, torch.exp(-0.5 * squared), 0.0).to(values.dtype)
        return functional.conv3d(values[None, None], kernel[None, None], padding=reach)[0, 0]
