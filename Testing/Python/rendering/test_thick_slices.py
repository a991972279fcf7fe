"""What thick slices see, against sums over many thin planes; all backends alike."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fitting_case import cloud
from torch import Tensor

from TriplaneGaussianReconLib.config.names import Backend
from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.data.slice_profile import ProfileGaussians, SliceProfile
from TriplaneGaussianReconLib.gaussians.cloud import Gaussians
from TriplaneGaussianReconLib.gaussians.slice_profile import averaged
from TriplaneGaussianReconLib.rasterizer.sums import composited
from TriplaneGaussianReconLib.rendering.renderer import Renderer
from TriplaneGaussianReconLib.rendering.thick_slices import thick_sums

pytestmark = pytest.mark.usefixtures("one_thread")

CUTOFF = 12.0
OBLIQUE = PlaneStack([[1.0, 1.0, 0.0], [0.5, 1.0, 1.5]], row_step=[-0.25, 0.9, 0.4], column_step=[0.7, 0.3, 0.2],
                     rows=7, columns=9)
PROFILES = [ProfileGaussians.of("box", 3.0, 1.0), ProfileGaussians.of("gaussian", 3.0, 1.0)]
IDS = ["box", "gaussian"]


def sums_of(renderer: Renderer, gaussians: Gaussians, profile: ProfileGaussians) -> Tensor:
    """The sums that oblique slices see."""
    along = averaged(gaussians, torch.from_numpy(OBLIQUE.normal), profile.sigma)
    return thick_sums(renderer, along, OBLIQUE, profile)


def seen(renderer: Renderer, gaussians: Gaussians, profile: ProfileGaussians) -> Tensor:
    """What oblique slices see."""
    sums = sums_of(renderer, gaussians, profile)
    return composited(sums[:, :-1], sums[:, -1:], renderer.mode)


@pytest.mark.parametrize("mode", ["normalised", "additive"])
@pytest.mark.parametrize("profile", PROFILES, ids=IDS)
def test_a_slice_is_what_sums_over_its_profile_give(profile: ProfileGaussians, mode: str) -> None:
    """In a normalised mode their ratio; two channels, Gaussians that are not cut off."""
    renderer, gaussians = Renderer(mode, 1e4, "reference", channel_count=2), cloud(slots=2).drawn()
    depths = np.linspace(-8.0, 8.0, 401)
    density = np.mean([np.exp(-0.5 * ((depths - offset) / profile.sigma) ** 2) for offset in profile.offsets], axis=0)
    weights = torch.from_numpy(density * (depths[1] - depths[0]) / (2.0 * np.pi) ** 0.5 / profile.sigma)
    for plane, found in enumerate(seen(renderer, gaussians, profile)):
        thin = replace(OBLIQUE, origins=OBLIQUE.origins[plane] + np.outer(depths, OBLIQUE.normal))
        sums = torch.einsum("p,pcij->cij", weights, renderer.sums(gaussians, thin))
        torch.testing.assert_close(found, composited(sums[:-1], sums[-1:], mode), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("thickness", [0.2, 3.0, 9.0])
def test_what_is_constant_stays_so(kind: SliceProfile, thickness: float) -> None:
    gaussians = replace(cloud().drawn(), values=torch.full((12, 1), 0.7).double(),
                        slopes=torch.zeros(12, 1, 3).double())
    renderer, profile = Renderer("normalised", CUTOFF, "cpu"), ProfileGaussians.of(kind, thickness, 1.0)
    is_seen = sums_of(renderer, gaussians, profile)[:, 1] > 0.02
    assert is_seen.double().mean() > 0.5
    np.testing.assert_allclose(seen(renderer, gaussians, profile)[:, 0][is_seen], 0.7, rtol=1e-4)


def drawn_and_gradient(backend: Backend, profile: ProfileGaussians, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """What slices see of some Gaussians, and the gradient of a fixed sum over it with respect to their values."""
    device = "cuda" if backend == "cuda" else "cpu"
    gaussians = cloud(slots=2).drawn().to(device, dtype)
    values = gaussians.values.clone().requires_grad_()
    drawn = seen(Renderer("normalised", CUTOFF, backend, 2), replace(gaussians, values=values), profile)
    share = torch.rand(drawn.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradient, = torch.autograd.grad(drawn, values, share.to(drawn))
    return drawn.detach().cpu().double(), gradient.cpu().double()


@pytest.mark.parametrize("profile", PROFILES, ids=IDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_the_cpu_draws_as_the_reference(profile: ProfileGaussians, dtype: torch.dtype, tolerance: float) -> None:
    drawn, gradient = drawn_and_gradient("cpu", profile, dtype)
    expected, expected_gradient = drawn_and_gradient("reference", profile, torch.float64)
    torch.testing.assert_close(drawn, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradient, expected_gradient, rtol=tolerance,
                               atol=tolerance * float(expected_gradient.abs().max()))


@pytest.mark.gpu
@pytest.mark.parametrize("profile", PROFILES, ids=IDS)
def test_a_gpu_draws_as_the_cpu(profile: ProfileGaussians) -> None:
    for ours, expected in zip(drawn_and_gradient("cuda", profile, torch.float32),
                              drawn_and_gradient("cpu", profile, torch.float32), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
