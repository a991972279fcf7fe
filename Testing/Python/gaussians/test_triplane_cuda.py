"""The tri-plane field's kernels against torch's own operations, on a GPU and on its stand-in."""
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.gaussians import triplane_cuda as gpu_field
from TriplaneGaussianReconLib.gaussians.triplane import FeatureFusion, TriplaneField

DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.gpu))


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """The GPU, and `cpu`: the stand-in that runs the kernels on the processor."""
    if request.param == "cpu":
        request.getfixturevalue("cuda_on_host")
    return str(request.param)


def field_of(fusion: FeatureFusion, device: str) -> TriplaneField:
    """A field whose decoder does not give zeros, in float64."""
    torch.manual_seed(3)
    box = torch.tensor([[-3.0, 0.0, 2.0], [9.0, 20.0, 8.0]])
    field = TriplaneField(box, {"tilts": 0.3, "intensity": 0.1}, resolution=12, features=4, hidden=5, fusion=fusion)
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return field.to(device, torch.float64)


def fused(field: TriplaneField, points: Tensor) -> Tensor:
    first, last = field.decoder[0], field.decoder[2]
    return gpu_field.decode(points, field.box, list(field.planes), first.weight, first.bias, last.weight,  # type: ignore
                             last.bias, field.limits, field.plane_weights)  # type: ignore


def plain(field: TriplaneField, points: Tensor) -> Tensor:
    return field.limits * torch.tanh(field.decoder(field.features(points)))


def points_of(count: int, device: str) -> Tensor:
    """Points inside the box, outside it, and on its corners; neighbours lie close together."""
    torch.manual_seed(4)
    points = torch.cumsum(torch.rand(count, 3, dtype=torch.float64) - 0.5, 0) + torch.tensor([3.0, 10.0, 5.0])
    points[:2] = torch.tensor([[-3.0, 0.0, 2.0], [9.0, 20.0, 8.0]])
    return points.to(device)


@pytest.mark.parametrize("fusion", ["concatenate", "weighted_sum"])
@pytest.mark.parametrize("count", [1, 63, 700])
def test_agrees_with_torch(device: str, fusion: FeatureFusion, count: int) -> None:
    """Residuals, and gradients of texels, decoder and fusion weights."""
    field, points = field_of(fusion, device), points_of(max(count, 2), device)[:count]
    pull = torch.randn(count, 3, dtype=torch.float64).to(device)
    results = []
    for decode in (fused, plain):
        residuals = decode(field, points)
        gradients = torch.autograd.grad((residuals * pull).sum(), list(field.parameters()))
        results.append((residuals.detach(), gradients))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-10, atol=1e-12)
    assert all(gradient.any() for gradient in results[1][1])
    for (name, _), ours, expected in zip(field.named_parameters(), results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


def test_no_points(device: str) -> None:
    field = field_of("concatenate", device)
    residuals = fused(field, torch.zeros(0, 3, dtype=torch.float64, device=device))
    assert residuals.shape == (0, 3)
    residuals.sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in field.parameters())


def test_repeats_bit_by_bit(device: str, request: pytest.FixtureRequest) -> None:
    """Whatever the order in which threads run."""
    field, points = field_of("concatenate", device), points_of(900, device)
    results = []
    orders: tuple[Any, ...] = ("forward", "reverse") if device == "cpu" else (0, 0)
    for order in orders:
        if device == "cpu":
            request.getfixturevalue("cuda_on_host")(order)
        results.append(torch.autograd.grad(fused(field, points).square().sum(), list(field.parameters())))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_not_a_number_stays_one(device: str) -> None:
    field, points = field_of("concatenate", device), points_of(100, device)
    pull = torch.ones(100, 3, dtype=torch.float64, device=device)
    pull[50] = float("nan")
    (fused(field, points) * pull).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isnan().any() for parameter in field.parameters())


@pytest.mark.gpu
def test_the_field_uses_it_on_a_gpu() -> None:
    """`TriplaneField` in float32 gives what it gives on the processor."""
    field = field_of("concatenate", "cpu").float()
    points = points_of(500, "cpu").float()
    expected = field(points)
    ours = field.cuda()(points.cuda())
    for name, values in expected.items():
        torch.testing.assert_close(ours[name].cpu(), values, rtol=1e-4, atol=1e-5)


def test_a_decoder_that_is_too_large_is_left_to_torch() -> None:
    assert gpu_field.fits(4, 16, 1, True) and gpu_field.fits(8, 32, 8, True)
    assert not gpu_field.fits(8, 32, 80, True)
