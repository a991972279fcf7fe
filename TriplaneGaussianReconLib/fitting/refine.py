"""Refining values and slopes by least squares, with Chebyshev's iteration."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..config.gaussians import RefinementConfig
from ..gaussians.cloud import GaussianParameters, Gaussians
from ..rasterizer.modes import PLAIN_SUMS
from ..rasterizer.sums import curvature_share
from ..rendering.renderer import Renderer
from ..runtime.progress import Tick
from ..self_supervised.optimizers import LatestKnown
from .targets import TargetPlanes


def refine(parameters: GaussianParameters, targets: Sequence[TargetPlanes], renderer: Renderer, steps: int,
           config: RefinementConfig, tick: Tick) -> GaussianParameters:
    """Fit values and slopes of Gaussians without labels by weighted least squares.

    With the geometry fixed, what a linear mode draws is linear in values and slopes, so few steps do what many of
    Adam's would.  Slopes are scaled by the Gaussian's size, and each unknown by a bound of its curvature, which keeps
    all eigenvalues below 1.  So the lengths of the steps do not depend on the data: nothing waits for a device, and a
    slab is refined as it would be in the whole.

    The iteration is Chebyshev's, as in Saad, Iterative Methods for Sparse Linear Systems, algorithm 12.1.

    Args:
        parameters: Gaussians with one slot.
        targets: What they are to reproduce.
        renderer: How to draw, in a linear mode.
        steps: Number of steps.
        config: What decides about the result.
        tick: Called before every step with the latest known loss; may raise to stop.
    """
    with torch.no_grad():
        gaussians = parameters.drawn()
    # Standard deviations along x, y and depth turn a slope into a change of value.
    size = torch.stack([torch.exp(-parameters.in_plane[:, 0]), torch.exp(-parameters.in_plane[:, 2]),
                        torch.exp(parameters.log_depths)], dim=1)
    problem = _Problem(gaussians, size, targets, renderer)
    bound = _curvature_bound(problem, config.ridge)
    start = torch.cat([gaussians.values, gaussians.slopes[:, 0] * size], dim=1)
    middle, half = 0.5 * (1.0 + config.least_eigenvalue), 0.5 * (1.0 - config.least_eigenvalue)
    unknowns, change, rate = start, torch.zeros_like(start), half / middle
    loss, pixels = LatestKnown(start.device), sum(target.image.numel() for target in targets)
    for step in range(steps):
        downhill, squared = problem.downhill(unknowns)
        loss.note(squared / pixels)
        tick(step, steps, loss.value())
        residual = (downhill - config.ridge * (unknowns - start)) / bound
        if step == 0:
            change = residual / middle
        else:
            former, rate = rate, 1.0 / (2.0 * middle / half - rate)
            change = rate * former * change + (2.0 * rate / half) * residual
        unknowns = unknowns + change
    return replace(parameters, values=unknowns[:, :1].contiguous(), slopes=unknowns[:, None, 1:] / size[:, None])


@dataclass(frozen=True)
class _Problem:
    """A linear least-squares problem.  size: (N, 3) mm, standard deviation along x, y and depth."""

    gaussians: Gaussians
    size: Tensor
    targets: Sequence[TargetPlanes]
    renderer: Renderer

    def downhill(self, unknowns: Tensor) -> tuple[Tensor, Tensor]:
        """Return minus half the gradient of the squared errors, and their sum.

        unknowns: (N, 4), values, and slopes times size.
        """
        values, slopes = (tensor.clone().requires_grad_() for tensor in (unknowns[:, :1], unknowns[:, None, 1:]))
        cloud = replace(self.gaussians, values=values, slopes=slopes / self.size[:, None])
        images = [self.renderer(cloud, target.planes)[:, 0] for target in self.targets]
        residuals = [target.image - image.detach() for target, image in zip(self.targets, images, strict=True)]
        pulls = [target.weight * residual for target, residual in zip(self.targets, residuals, strict=True)]
        # The gradient of one number: several outputs with gradients of their own make torch load a symbolic algebra.
        pulled = torch.stack([(pull * image).sum() for pull, image in zip(pulls, images, strict=True)]).sum()
        of_values, of_slopes = torch.autograd.grad(pulled, (values, slopes))
        squared = torch.stack([(pull * residual).sum() for pull, residual in zip(pulls, residuals, strict=True)]).sum()
        return torch.cat([of_values, of_slopes[:, 0]], dim=1), squared


def _curvature_bound(problem: _Problem, ridge: float) -> Tensor:
    """Return (N, 4), a diagonal matrix that is nowhere below the curvature of the squared errors.

    `curvature_share` sets the Gaussians of a pixel apart.  What is left for each is a 4 x 4 matrix of moments, which
    its row sums bound.  The moments up to the second are the gradients of one drawing with respect to values, slopes
    and precisions.
    """
    gaussians, size = problem.gaussians, problem.size
    values = torch.ones_like(gaussians.values).requires_grad_()
    slopes = torch.zeros_like(gaussians.slopes).requires_grad_()
    precisions = gaussians.precisions.clone().requires_grad_()
    cloud = replace(gaussians, values=values, slopes=slopes, precisions=precisions)
    plain = replace(problem.renderer, mode=PLAIN_SUMS)
    total = torch.zeros((), dtype=size.dtype, device=size.device)
    for target in problem.targets:
        weight_sum = plain(cloud, target.planes)[:, 0]
        total = total + (target.weight * curvature_share(weight_sum, problem.renderer.mode)).sum()
    zeroth, first, second = torch.autograd.grad(total, (values, slopes, precisions))
    first = first[:, 0].abs() / size
    xx, xy, xz, yy, yz, zz = (second.abs() * second.new_tensor([2.0, 1.0, 1.0, 2.0, 1.0, 2.0])).unbind(1)
    x, y, z = size.unbind(1)
    return ridge + torch.stack([zeroth[:, 0] + first.sum(dim=1),
                                first[:, 0] + (xx / x + xy / y + xz / z) / x,
                                first[:, 1] + (xy / x + yy / y + yz / z) / y,
                                first[:, 2] + (xz / x + yz / y + zz / z) / z], dim=1)
