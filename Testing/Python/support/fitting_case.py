"""Some Gaussians, and planes that they are to be fitted to."""
from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.fitting.targets import TargetPlanes
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.rendering.renderer import Renderer
from TriplaneGaussianReconLib.runtime.progress import Tick

BOX = torch.tensor([[0.0, 0.0, 0.0], [7.0, 7.0, 2.0]])
NAMES = ("centres", "tilts", "in_plane", "log_depths", "raw_weights", "values", "slopes", "channels")


def cloud(slots: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64, count: int = 12) -> GaussianParameters:
    """Gaussians with random parameters inside BOX."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=dtype)

    box = BOX.to(dtype)
    return GaussianParameters(box[0] + uniform(count, 3) * (box[1] - box[0]), uniform(count, 2) - 0.5,
                              0.4 * (uniform(count, 3) - 0.5) - torch.tensor([0.4, 0.0, 0.4], dtype=dtype),
                              0.3 * uniform(count), uniform(count), uniform(count, slots),
                              0.1 * (uniform(count, slots, 3) - 0.5),
                              torch.arange(slots, dtype=torch.int32).repeat(count, 1))


def planes_at(*depths: float) -> PlaneStack:
    """Planes across z."""
    return PlaneStack([[0.0, 0.0, z] for z in depths], [0, 1, 0], [1, 0, 0], 8, 8)


def targets_of(dtype: torch.dtype = torch.float64, masks: int = 0) -> list[TargetPlanes]:
    """Two stacks: observed pixels with weights of their own, and predicted ones of lower weight."""
    generator = torch.Generator().manual_seed(9)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=dtype)

    occupancies = torch.zeros(2, masks, 8, 8, dtype=dtype) if masks else None
    for channel in range(masks):  # stripes that can be learnt
        assert occupancies is not None
        occupancies[:, channel, :, channel * 3:channel * 3 + 4] = 1.0
    return [TargetPlanes(planes_at(0.2, 1.7), uniform(2, 8, 8), 0.5 + 0.5 * uniform(2, 8, 8), occupancies),
            TargetPlanes(planes_at(1.0), uniform(1, 8, 8), torch.full((1, 1, 1), 0.3, dtype=dtype))]


def renderer(mode: str = "normalised", channel_count: int = 1) -> Renderer:
    """The reference rasterizer."""
    return Renderer(mode, 12.0, "reference", channel_count)


def quiet(step: int, steps: int, loss: float | None = None, /) -> None:
    """A tick that tells nobody."""


def error(parameters: GaussianParameters, targets: list[TargetPlanes], mode: str = "normalised") -> float:
    """Sum of weighted squared errors."""
    with torch.no_grad():
        images = [renderer(mode)(parameters.drawn(), target.planes)[:, 0] for target in targets]
        return sum(float((target.weight * (image - target.image) ** 2).sum())
                   for target, image in zip(targets, images, strict=True))


def stopped_at(work: Callable[[Tick], object], last: int) -> None:
    """Stop `work` at its tick `last`."""
    calls = []

    def tick(step: int, steps: int, loss: float | None = None, /) -> None:
        calls.append(step)
        if step == last:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        work(tick)
    assert calls == list(range(last + 1))
