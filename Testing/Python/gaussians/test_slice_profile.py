"""Gaussians averaged over a slice's profile, against sums over many thin planes."""
from __future__ import annotations

from dataclasses import replace
from math import erf, pi, sqrt

import numpy as np
import pytest
import torch
from fitting_case import cloud
from torch import Tensor

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.data.slice_profile import ProfileGaussians
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.gaussians.cloud import Gaussians
from TriplaneGaussianReconLib.gaussians.slice_profile import averaged
from TriplaneGaussianReconLib.rendering.renderer import Renderer

pytestmark = pytest.mark.usefixtures("one_thread")

RENDERER = Renderer("normalised", 1e4, "reference")  # no Gaussian is cut off anywhere
OBLIQUE = PlaneStack([[0.5, 1.0, -0.5]], row_step=[-0.25, 0.9, 0.4], column_step=[0.7, 0.3, 0.2], rows=5, columns=6)


def one(sigma: float) -> Gaussians:
    """A round Gaussian at the origin."""
    precision = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0, 1.0]]).double() / sigma ** 2
    return Gaussians(torch.zeros(1, 3).double(), precision, torch.ones(1).double(), torch.ones(1, 1).double(),
                     torch.zeros(1, 1, 3).double(), torch.zeros(1, 1, dtype=torch.int32))


def across(depths: np.ndarray) -> PlaneStack:
    """Planes of one pixel each along z, above and below the origin."""
    return PlaneStack(np.outer(depths, [0.0, 0.0, 1.0]), [0, 1, 0], [1, 0, 0], rows=1, columns=1)


def response(sigma: float, profile: ProfileGaussians, depths: np.ndarray) -> np.ndarray:
    """What slices at `depths` see of a round Gaussian."""
    seen = averaged(one(sigma), torch.tensor([0.0, 0.0, 1.0]).double(), profile.sigma)
    return np.mean([RENDERER.sums(seen, across(depths + offset))[:, 1, 0, 0].numpy() for offset in profile.offsets], 0)


@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_the_average_is_that_of_many_thin_planes(sigma: float) -> None:
    """Of tilted Gaussians with slopes, on oblique planes; both sums of values and of weights."""
    gaussians = replace(cloud().drawn(), slopes=cloud(seed=1).slopes * 5.0)
    depths = np.linspace(-9.0, 9.0, 91) * sigma
    density = torch.from_numpy(np.exp(-0.5 * (depths / sigma) ** 2)) * (depths[1] - depths[0]) / sigma / sqrt(2.0 * pi)
    thin = RENDERER.sums(gaussians, replace(OBLIQUE, origins=OBLIQUE.origins + np.outer(depths, OBLIQUE.normal)))
    thick = RENDERER.sums(averaged(gaussians, torch.from_numpy(OBLIQUE.normal), sigma), OBLIQUE)[0]
    expected = torch.einsum("p,pcij->cij", density, thin)
    torch.testing.assert_close(thick, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def test_gradients_are_those_of_finite_differences() -> None:
    gaussians, normal = cloud(slots=2, count=3).drawn(), torch.from_numpy(OBLIQUE.normal)

    def found(precisions: Tensor, weights: Tensor, slopes: Tensor) -> tuple[Tensor, ...]:
        seen = averaged(replace(gaussians, precisions=precisions, weights=weights, slopes=slopes), normal, 1.3)
        return seen.precisions, seen.weights, seen.slopes

    leaves = [each.clone().requires_grad_() for each in (gaussians.precisions, gaussians.weights, gaussians.slopes)]
    assert torch.autograd.gradcheck(found, leaves)


def test_no_thickness_changes_nothing() -> None:
    gaussians = cloud().drawn()
    seen = averaged(gaussians, torch.from_numpy(OBLIQUE.normal), 0.0)
    for name in ("centres", "precisions", "weights", "values", "slopes", "channels"):
        torch.testing.assert_close(getattr(seen, name), getattr(gaussians, name))


@pytest.mark.parametrize("pixel", [10.0, 3.0, 1.2, 0.7, 0.01])
def test_the_parts_of_a_box_spread_as_the_box_does(pixel: float) -> None:
    box = ProfileGaussians.of("box", 4.0, pixel)
    assert np.mean(box.offsets) == pytest.approx(0.0, abs=1e-12)
    assert np.mean(np.square(box.offsets)) + box.sigma ** 2 == pytest.approx(4.0 ** 2 / 12.0)


def test_a_box_is_met_the_better_the_smaller_the_pixels() -> None:
    sigma, thickness, depths = 0.6, 4.0, np.linspace(-4.0, 4.0, 81)
    exact = np.array([erf((z + 2.0) / sigma / sqrt(2.0)) - erf((z - 2.0) / sigma / sqrt(2.0)) for z in depths])
    exact *= 0.5 * sqrt(2.0 * pi) * sigma / thickness
    errors = [np.abs(response(sigma, ProfileGaussians.of("box", thickness, pixel), depths) - exact).max() / exact.max()
              for pixel in (4.0, 2.0, 1.0, 0.5)]
    assert all(finer < 0.75 * coarser for coarser, finer in zip(errors, errors[1:], strict=False)), errors
    assert errors[-1] < 0.03


def test_the_thickness_of_a_gaussian_is_its_full_width_at_half_maximum() -> None:
    point = response(1e-3, ProfileGaussians.of("gaussian", 3.0, 1.0), np.array([-1.5, 0.0, 1.5]))
    np.testing.assert_allclose(point / point[1], [0.5, 1.0, 0.5], rtol=1e-5)


@pytest.mark.parametrize("profile", ["box", "gaussian"])
@pytest.mark.parametrize("thickness", [0.0, -1.0, float("nan"), float("inf")])
def test_a_thickness_that_is_none_is_refused(profile: str, thickness: float) -> None:
    with pytest.raises(InputError, match="thickness of slices must be a positive number"):
        ProfileGaussians.of(profile, thickness, 1.0)  # type: ignore[arg-type]
