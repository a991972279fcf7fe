"""Fitting the Gaussians to what was observed, and to what is predicted between it."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .gaussians import GaussianParameters, Gaussians
from .geometry import PlaneStack
from .losses import structural_dissimilarity
from .presets import Training
from .rasterizer import Backend, Mode, rasterize
from .triplane import TriplaneField

# Ridge that keeps the least-squares refinement from chasing what the slices do not determine.
RIDGE = 1e-3
# On a GPU so many steps are made one operation after another; further ones are recorded once and replayed.
RECORD_AFTER = 3

Tick = Callable[[int, int, float], None]  # step, steps, loss (the latest known); raises to stop


@dataclass(frozen=True)
class View:
    """Planes that the Gaussians are to reproduce, in the model's frame and units.

    target: (P, rows, columns) image, background subtracted.  weight: (P, rows, columns) or (P, 1, 1), at least 0.
    occupancies: (P, channels - 1, rows, columns) label masks, or None.
    """

    planes: PlaneStack
    target: Tensor
    weight: Tensor
    occupancies: Tensor | None = None


@dataclass(frozen=True)
class Drawing:
    """How Gaussians are drawn."""

    mode: Mode
    cutoff: float
    backend: Backend
    channel_count: int = 1

    def __call__(self, gaussians: Gaussians, planes: PlaneStack) -> Tensor:
        """(P, channel, rows, columns)."""
        return rasterize(gaussians, planes, mode=self.mode, channel_count=self.channel_count, backend=self.backend,
                         cutoff=self.cutoff).channels


def train(parameters: GaussianParameters, field: TriplaneField, views: Sequence[View], drawing: Drawing,
          training: Training, total_variation: float, pixel: float, tick: Tick) -> GaussianParameters:
    """Train with Adam, all planes in every step; return the parameters with the field's residuals baked in.

    pixel: mm; learning rates of lengths are in pixels.  tick: called before every step, may raise to stop.
    """
    device = parameters.centres.device
    trained, groups = _trainable(parameters, field, training, pixel)
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.Adam(groups, capturable=on_gpu, fused=on_gpu)
    schedule = _HalveOnPlateau([group["lr"] for group in optimizer.param_groups], training.patience)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        drawn = field.applied_to(trained).drawn()
        loss = total_variation * field.total_variation()
        for view in views:
            loss = loss + _view_loss(drawing(drawn, view.planes), view, training)
        loss.backward()
        optimizer.step()
        schedule.step(loss.detach())
        return loss.detach()

    loss, replay = _LatestKnown(device), None
    for number in range(training.steps):
        tick(number, training.steps, loss.value())
        if on_gpu and number == RECORD_AFTER and training.steps > 2 * RECORD_AFTER:
            replay = _recorded(step)
        loss.note(replay() if replay else step())
    with torch.no_grad():
        baked = field.applied_to(trained)
    return GaussianParameters(**{name: tensor.detach() for name, tensor in baked.tensors().items()})


def _recorded(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record all that `step` starts on the GPU; return what does it again, without the cost of starting each piece."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


class _HalveOnPlateau:
    """torch's ReduceLROnPlateau with factor 0.5, but all on the device: nothing waits for the loss.

    rates: 0-dimensional tensors that are changed in place.
    """

    def __init__(self, rates: list[Tensor], patience: int) -> None:
        self.rates, self.patience = rates, patience
        self.best = torch.full_like(rates[0], float("inf")) if rates else torch.zeros(())
        self.bad = torch.zeros_like(self.best)

    def step(self, loss: Tensor) -> None:
        better = loss < self.best * (1.0 - 1e-4)
        self.best.copy_(torch.where(better, loss, self.best))
        self.bad.copy_(torch.where(better, 0.0, self.bad + 1.0))
        enough = self.bad > self.patience
        self.bad.masked_fill_(enough, 0.0)
        torch._foreach_mul_(self.rates, torch.where(enough, 0.5, 1.0))


class _LatestKnown:
    """A number that is computed now and then, read without waiting: on the CPU the latest, on a GPU an older one."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.number = torch.full((), float("nan"), pin_memory=self.on_gpu)
        self.copied = torch.cuda.Event() if self.on_gpu else None
        self.known = float("nan")

    def note(self, number: Tensor) -> None:
        """Take in a new number."""
        if self.copied is not None and not self.copied.query():
            return  # the one before is still on its way
        self.value()
        self.number.copy_(number, non_blocking=True)
        if self.copied is not None:
            self.copied.record()

    def value(self) -> float:
        """The latest number that is there."""
        if self.copied is None or self.copied.query():
            self.known = float(self.number)
        return self.known


def _trainable(parameters: GaussianParameters, field: TriplaneField, training: Training, pixel: float
               ) -> tuple[GaussianParameters, list[dict[str, object]]]:
    """Leaf tensors and optimiser groups of everything that has a learning rate."""
    leaves: dict[str, Tensor] = {}
    groups: list[dict[str, object]] = []
    device = parameters.centres.device
    for name, rate in training.learning_rates.items():
        if name == "field":
            groups.append({"params": list(field.parameters()), "lr": torch.tensor(rate, device=device)})
            continue
        leaves[name] = getattr(parameters, name).clone().requires_grad_()
        if name == "values":  # label slots that a Gaussian does not use stay empty
            leaves[name].register_hook(_used_slots(parameters.channels).mul)
        unit = pixel if name == "centres" else 1.0
        groups.append({"params": [leaves[name]], "lr": torch.tensor(rate * unit, device=device)})
    return dataclasses.replace(parameters, **leaves), groups


def _used_slots(channels: Tensor) -> Tensor:
    """(N, S) 1 for the image's slot and for label slots in use, else 0."""
    used = (channels > 0).float()
    used[:, 0] = 1.0
    return used


def _view_loss(drawn: Tensor, view: View, training: Training) -> Tensor:
    """Loss of one view: weighted image loss and, with labels, mean squared error of the occupancies."""
    image = drawn[:, 0]
    if training.image_loss == "squared":
        loss = (view.weight * (image - view.target) ** 2).mean()
    else:  # as InnerGS: 0.8 L1 + 0.4 (1 - SSIM)
        loss = (0.8 * (view.weight * (image - view.target).abs()).mean()
                + 0.4 * structural_dissimilarity(image, view.target))
    if view.occupancies is not None and training.semantic_loss:
        loss = loss + training.semantic_loss * ((drawn[:, 1:] - view.occupancies) ** 2).mean()
    return loss


def refine(parameters: GaussianParameters, views: Sequence[View], drawing: Drawing, steps: int, tick: Tick
           ) -> GaussianParameters:
    """Fit values and slopes of Gaussians without labels by weighted least squares, with conjugate gradients (CGLS).

    With the geometry fixed, what is drawn in the modes `normalised` and `additive` is linear in values and slopes, so
    few steps do what many of Adam's would.  Slopes are scaled by the Gaussian's size, which balances the unknowns.
    """
    with torch.no_grad():
        image = parameters.drawn()
    # Standard deviations along x, y and depth turn a slope into a change of value.
    size = torch.stack([torch.exp(-parameters.in_plane[:, 0]), torch.exp(-parameters.in_plane[:, 2]),
                        torch.exp(parameters.log_depths)], dim=1)[:, None]
    roots = [view.weight.sqrt() for view in views]

    def forward(values: Tensor, slopes: Tensor) -> list[Tensor]:
        cloud = replace(image, values=values, slopes=slopes / size)
        return [root * drawing(cloud, view.planes)[:, 0] for root, view in zip(roots, views, strict=True)]

    def adjoint(outputs: list[Tensor], inputs: tuple[Tensor, Tensor], residuals: list[Tensor]) -> Tensor:
        values, slopes = torch.autograd.grad(outputs, inputs, residuals)
        return torch.cat([values, slopes[:, 0]], dim=1)

    def unknowns(vector: Tensor) -> tuple[Tensor, Tensor]:
        return vector[:, :1].clone().requires_grad_(), vector[:, None, 1:].clone().requires_grad_()

    start = torch.cat([image.values, (image.slopes * size)[:, 0]], dim=1)
    change = torch.zeros_like(start)
    inputs = unknowns(start)
    outputs = forward(*inputs)
    residuals = [root * view.target - output.detach() for root, view, output in zip(roots, views, outputs, strict=True)]
    gradient = adjoint(outputs, inputs, residuals)
    direction, norm = gradient, _dot(gradient, gradient)
    loss, pixels = _LatestKnown(start.device), sum(r.numel() for r in residuals)
    for step in range(steps):
        loss.note(sum(map(_dot, residuals, residuals), start=torch.zeros_like(norm)) / pixels)
        tick(step, steps, loss.value())
        inputs = unknowns(direction)
        outputs = forward(*inputs)
        images = [output.detach() for output in outputs]
        curvature = sum(map(_dot, images, images), start=RIDGE * _dot(direction, direction))
        length = _ratio(norm, curvature)
        change = change + length * direction
        residuals = [r - length * q for r, q in zip(residuals, images, strict=True)]
        gradient = adjoint(outputs, inputs, residuals) - RIDGE * change
        previous, norm = norm, _dot(gradient, gradient)
        direction = gradient + _ratio(norm, previous) * direction
    fitted = start + change
    return replace(parameters, values=fitted[:, :1].contiguous(), slopes=fitted[:, None, 1:] / size)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product, float64 on the tensors' device.

    On the CPU by numpy, whose sums, unlike torch's, do not depend on the number of threads.
    """
    product = a * b
    if product.is_cuda:
        return product.sum(dtype=torch.float64)
    return torch.tensor(product.numpy().sum(dtype=np.float64))


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b; 0 where b is 0, which means that the slices are reproduced exactly."""
    return torch.where(b > 0.0, a / b, 0.0)
