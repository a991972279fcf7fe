"""Fitting the Gaussians to what was observed, and to what is predicted between it."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..config.presets import Training
from ..data.geometry import PlaneStack
from ..gaussians.cloud import GaussianParameters, Gaussians
from ..gaussians.triplane import TriplaneField
from ..rasterizer.modes import MODES
from ..rasterizer.rasterize import EPSILON
from ..rendering.renderer import Renderer
from ..runtime.progress import Tick
from ..runtime.threads import serial_torch
from ..self_supervised.optimizers import Adam, LatestKnown, Plateau, repeat
from .losses import structural_dissimilarity

# Ridge that keeps the least-squares refinement from chasing what the slices do not determine.
RIDGE = 1e-3
# The refinement is quick for errors whose preconditioned eigenvalues lie between this and 1; others take more steps.
LEAST_EIGENVALUE = 0.3


@dataclass(frozen=True)
class TargetPlanes:
    """Planes that the Gaussians are to reproduce, in the model's frame and units.

    target: (P, rows, columns) image, background subtracted.  weight: (P, rows, columns) or (P, 1, 1), at least 0.
    occupancies: (P, channels - 1, rows, columns) label masks, or None.
    """

    planes: PlaneStack
    target: Tensor
    weight: Tensor
    occupancies: Tensor | None = None


def train(parameters: GaussianParameters, field: TriplaneField, views: Sequence[TargetPlanes], renderer: Renderer,
          training: Training, total_variation: float, pixel: float, tick: Tick) -> GaussianParameters:
    """Train with Adam, all planes in every step; return the parameters with the field's residuals baked in.

    pixel: mm; learning rates of lengths are in pixels.  tick: called before every step, may raise to stop.
    """
    trained, groups = _trainable(parameters, field, training, pixel)
    optimizer = Adam(groups)
    plateau = Plateau(optimizer.rates, training.patience)

    def step() -> Tensor:
        drawn = field.applied_to(trained).drawn()
        loss = total_variation * field.total_variation()
        for view in views:
            loss = loss + planes_loss(renderer(drawn, view.planes), view, training)
        optimizer.step(torch.autograd.grad(loss, optimizer.parameters, allow_unused=True))
        plateau.follow(loss.detach())
        return loss.detach()

    # The decoder's gradients are sums over all Gaussians, which torch cuts up by the number of its threads.
    with serial_torch():
        repeat(step, training.steps, parameters.centres.device,
               lambda number, loss: tick(number, training.steps, loss))
        with torch.no_grad():
            baked = field.applied_to(trained)
    return GaussianParameters(**{name: tensor.detach() for name, tensor in baked.tensors().items()})


def _trainable(parameters: GaussianParameters, field: TriplaneField, training: Training, pixel: float
               ) -> tuple[GaussianParameters, list[tuple[list[Tensor], float]]]:
    """Leaf tensors and optimiser groups of everything that has a learning rate."""
    leaves: dict[str, Tensor] = {}
    by_rate: dict[float, list[Tensor]] = {}
    for name, rate in training.learning_rates.items():
        if name == "field":
            by_rate.setdefault(rate, []).extend(field.parameters())
            continue
        leaves[name] = getattr(parameters, name).clone().requires_grad_()
        if name == "values":  # label slots that a Gaussian does not use stay empty
            leaves[name].register_hook(_used_slots(parameters.channels).mul)
        by_rate.setdefault(rate * (pixel if name == "centres" else 1.0), []).append(leaves[name])
    return dataclasses.replace(parameters, **leaves), [(tensors, rate) for rate, tensors in by_rate.items()]


def _used_slots(channels: Tensor) -> Tensor:
    """(N, S) 1 for the image's slot and for label slots in use, else 0."""
    used = (channels > 0).float()
    used[:, 0] = 1.0
    return used


def planes_loss(drawn: Tensor, view: TargetPlanes, training: Training) -> Tensor:
    """Loss of one view: weighted image loss and, with labels, mean squared error of the occupancies."""
    image = drawn[:, 0]
    if training.image_loss == "squared":
        loss = (view.weight * (image - view.target) ** 2).mean()
    else:  # as InnerGS: 0.8 L1 + 0.4 (1 - SSIM)
        loss = (0.8 * (view.weight * (image - view.target).abs()).mean()
                + 0.4 * structural_dissimilarity(image, view.target))
    if view.occupancies is not None and training.semantic_loss:
        loss = loss + training.semantic_loss * torch.nn.functional.mse_loss(drawn[:, 1:], view.occupancies)
    return loss


def refine(parameters: GaussianParameters, views: Sequence[TargetPlanes], renderer: Renderer, steps: int, tick: Tick
           ) -> GaussianParameters:
    """Fit values and slopes of Gaussians without labels by weighted least squares, with Chebyshev's iteration.

    With the geometry fixed, what is drawn in the modes `normalised` and `additive` is linear in values and slopes, so
    few steps do what many of Adam's would.  Slopes are scaled by the Gaussian's size, and each unknown by a bound of
    its curvature, which keeps all eigenvalues below 1: the lengths of the steps follow from that alone and not from the
    data, so that nothing waits for a device, and a part of the volume is refined as it would be in the whole.
    """
    with torch.no_grad():
        image = parameters.drawn()
    # Standard deviations along x, y and depth turn a slope into a change of value.
    size = torch.stack([torch.exp(-parameters.in_plane[:, 0]), torch.exp(-parameters.in_plane[:, 2]),
                        torch.exp(parameters.log_depths)], dim=1)
    bound = _curvature_bound(image, size, views, renderer)

    def descent(fitted: Tensor) -> tuple[Tensor, Tensor]:
        """Minus half the gradient of the squared errors at `fitted`, values and slopes times size (N, 4); their sum."""
        values, slopes = (part.clone().requires_grad_() for part in (fitted[:, :1], fitted[:, None, 1:]))
        cloud = replace(image, values=values, slopes=slopes / size[:, None])
        images = [renderer(cloud, view.planes)[:, 0] for view in views]
        residuals = [view.target - image.detach() for view, image in zip(views, images, strict=True)]
        pulls = [view.weight * residual for view, residual in zip(views, residuals, strict=True)]
        # The gradient of one number: several outputs with gradients of their own make torch load a symbolic algebra.
        pulled = torch.stack([(pull * image).sum() for pull, image in zip(pulls, images, strict=True)]).sum()
        of_values, of_slopes = torch.autograd.grad(pulled, (values, slopes))
        squared = torch.stack([(pull * residual).sum() for pull, residual in zip(pulls, residuals, strict=True)]).sum()
        return torch.cat([of_values, of_slopes[:, 0]], dim=1), squared

    start = torch.cat([image.values, image.slopes[:, 0] * size], dim=1)
    middle, half = 0.5 * (1.0 + LEAST_EIGENVALUE), 0.5 * (1.0 - LEAST_EIGENVALUE)
    fitted, change, rate = start, torch.zeros_like(start), half / middle
    loss, pixels = LatestKnown(start.device), sum(view.target.numel() for view in views)
    for step in range(steps):
        downhill, squared = descent(fitted)
        loss.note(squared / pixels)
        tick(step, steps, loss.value())
        wanted = (downhill - RIDGE * (fitted - start)) / bound
        if step == 0:
            change = wanted / middle
        else:
            former, rate = rate, 1.0 / (2.0 * middle / half - rate)
            change = rate * former * change + (2.0 * rate / half) * wanted
        fitted = fitted + change
    return replace(parameters, values=fitted[:, :1].contiguous(), slopes=fitted[:, None, 1:] / size[:, None])


def _curvature_bound(image: Gaussians, size: Tensor, views: Sequence[TargetPlanes], renderer: Renderer) -> Tensor:
    """(N, 4): a diagonal matrix that is nowhere below the curvature of the squared errors.

    A pixel shows `sum_i a_i u_i` of what its Gaussians would show alone, u_i linear in their unknowns, with a_i >= 0.
    By Cauchy and Schwarz its square is at most `(sum_i a_i) sum_i a_i u_i^2`, in which Gaussians are apart: what is
    left are the moments of each one's a_i, and row sums bound their 4 x 4 matrix.  The moments up to the second are the
    gradients of one drawing with respect to values, slopes and precisions.
    """
    values, slopes = torch.ones_like(image.values).requires_grad_(), torch.zeros_like(image.slopes).requires_grad_()
    precisions = image.precisions.clone().requires_grad_()
    cloud = replace(image, values=values, slopes=slopes, precisions=precisions)
    total = torch.zeros((), dtype=size.dtype, device=size.device)
    for view in views:
        weights = replace(renderer, mode="additive")(cloud, view.planes)[:, 0]
        share = torch.log(weights + EPSILON) if MODES[renderer.mode].is_normalised else 0.5 * weights ** 2
        total = total + (view.weight * share).sum()
    zeroth, first, second = torch.autograd.grad(total, (values, slopes, precisions))
    first = first[:, 0].abs() / size
    xx, xy, xz, yy, yz, zz = (second.abs() * second.new_tensor([2.0, 1.0, 1.0, 2.0, 1.0, 2.0])).unbind(1)
    x, y, z = size.unbind(1)
    return RIDGE + torch.stack([zeroth[:, 0] + first.sum(dim=1),
                                first[:, 0] + (xx / x + xy / y + xz / z) / x,
                                first[:, 1] + (xy / x + yy / y + yz / z) / y,
                                first[:, 2] + (xz / x + yz / y + zz / z) / z], dim=1)
