"""How a stack sees a lattice: both implementations alike, and each the transpose of itself."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.data.geometry import Grid, PlaneStack
from TriplaneGaussianReconLib.data.slice_profile import ProfileGaussians
from TriplaneGaussianReconLib.fitting.stack_view import (
    DrawnView,
    MatrixView,
    SeenStack,
    Sight,
    StackView,
    view,
)
from TriplaneGaussianReconLib.gaussians.lattice import Lattice

pytestmark = pytest.mark.usefixtures("one_thread")

LATTICE = Lattice((11, 12, 13), pitch=1.2, sigma=0.6, cutoff=9.0)
LAST = (np.array(LATTICE.shape[::-1]) - 1) * LATTICE.pitch
PLANES = PlaneStack([[-6.0, -3.0, 1.0], [-5.5, -3.5, 4.5], [-5.0, -4.0, 8.0]], row_step=[-0.1, 1.0, 0.3],
                    column_step=[0.9, 0.1, -0.2], rows=18, columns=24)
"""Oblique slices that reach beyond the lattice on all sides."""
PROFILES = [ProfileGaussians.of("box", 3.6, 1.2), ProfileGaussians.of("gaussian", 3.6, 1.2)]
with_each_profile = pytest.mark.parametrize("profile", PROFILES, ids=["box", "gaussian"])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def stack(profile: ProfileGaussians, device: str = "cpu") -> SeenStack:
    """Of random pixels, each trusted differently."""
    image, weights = random(*PLANES.shape, seed=1), 0.2 + 0.8 * random(*PLANES.shape, seed=2)
    return SeenStack(PLANES, image.to(device), weights.to(device), profile)


def assert_alike(found: StackView, expected: StackView) -> None:
    values, pixels = random(*LATTICE.shape), random(*PLANES.shape, seed=3)
    device = found.weights.device
    torch.testing.assert_close(found.weights.cpu(), expected.weights)
    is_seen = expected.weights > 0
    assert 0.2 < is_seen.float().mean() < 0.8
    torch.testing.assert_close(found.seen(values.to(device)).cpu()[is_seen], expected.seen(values)[is_seen], rtol=1e-4,
                               atol=1e-4)
    ours, theirs = Sight.of(found).pull(pixels.to(device)).cpu(), Sight.of(expected).pull(pixels)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@with_each_profile
def test_the_matrix_sees_as_the_rasterizer_does(profile: ProfileGaussians) -> None:
    assert_alike(MatrixView(stack(profile), LATTICE), DrawnView(stack(profile), LATTICE, "cpu"))


@pytest.mark.gpu
@with_each_profile
def test_a_gpu_sees_as_the_matrix_does(profile: ProfileGaussians) -> None:
    assert_alike(DrawnView(stack(profile, "cuda"), LATTICE, "cuda"), MatrixView(stack(profile), LATTICE))


@pytest.fixture(params=["matrix", "drawn"])
def seen_by(request: pytest.FixtureRequest) -> StackView:
    """Either implementation, of boxes."""
    boxes = stack(PROFILES[0])
    return MatrixView(boxes, LATTICE) if request.param == "matrix" else DrawnView(boxes, LATTICE, "cpu")


def test_back_is_the_transpose_of_seen(seen_by: StackView) -> None:
    """With pixels as they are, and with each times its weight."""
    values, pixels = random(*LATTICE.shape) - 0.5, random(*PLANES.shape, seed=3) - 0.5
    for found, weights in ((seen_by.back(pixels), 1.0), (Sight.of(seen_by).pull(pixels), seen_by.weights)):
        forth, back = (weights * seen_by.seen(values) * pixels).double().sum(), (values * found).double().sum()
        assert float(back) == pytest.approx(float(forth), rel=1e-4)
        assert abs(forth) > 0.1


def test_a_constant_is_seen_as_itself(seen_by: StackView) -> None:
    found = seen_by.seen(torch.full(LATTICE.shape, 0.7))
    np.testing.assert_allclose(found[seen_by.weights > 0], 0.7, rtol=1e-4)


def test_pixels_beyond_the_lattice_have_no_weight_and_those_inside_their_own(seen_by: StackView) -> None:
    points = PLANES.points()
    outside = np.maximum(-points, points - LAST).max(axis=-1)  # mm from the lattice; negative inside
    is_far, is_deep = outside > 3.6, outside < -2.4
    assert is_far.sum() > 50 and is_deep.sum() > 50
    assert (seen_by.weights[is_far] == 0).all()
    torch.testing.assert_close(seen_by.weights[is_deep], seen_by.stack.weights[is_deep])


@pytest.mark.parametrize("beyond", [2, 80])
def test_which_pixels_are_trusted_does_not_depend_on_how_far_the_slice_goes_on(beyond: int) -> None:
    """A thin slice, whose last columns on the lattice see less and less of it."""
    planes = PlaneStack([[0.0, 0.0, 4.8]], [0.0, 1.2, 0.0], [0.3, 0.0, 0.0], rows=12, columns=53 + beyond)
    slice_seen = SeenStack(planes, torch.zeros(planes.shape), torch.ones(planes.shape), ProfileGaussians((0.0,), 0.6))
    is_trusted = view(slice_seen, LATTICE, "cpu").weights[0] > 0
    assert is_trusted[:, :53].all() and not is_trusted[:, 53:].any()


def test_a_stack_beyond_the_lattice_sees_nothing() -> None:
    away = replace(stack(PROFILES[0]), planes=replace(PLANES, origins=PLANES.origins + 100.0))
    for backend in ("cpu", "reference"):
        found = view(away, LATTICE, backend)
        assert not found.weights.any() and not found.seen(random(*LATTICE.shape)).any()
        assert not found.back(random(*PLANES.shape)).any()


def test_a_straight_thin_slice_through_centres_sees_what_the_lattice_shows() -> None:
    planes = PlaneStack([[0.0, 0.0, 4.8]], [0.0, 1.2, 0.0], [1.2, 0.0, 0.0], *LATTICE.shape[1:])
    thin = SeenStack(planes, torch.zeros(planes.shape), torch.ones(planes.shape), ProfileGaussians((0.0,), 0.0))
    values = random(*LATTICE.shape)
    torch.testing.assert_close(view(thin, LATTICE, "cpu").seen(values)[0], LATTICE.drawn(values)[4], rtol=1e-5,
                               atol=1e-5)


def test_pixels_see_about_as_many_gaussians_as_is_planned_with() -> None:
    planes = Grid((8, 32, 32), origin=(0.0, 0.0, 1.5), spacing=(1.0, 1.0, 4.0)).planes("k", np.arange(8))
    lattice, image = Lattice((32, 32, 32), 1.0, 0.45, 9.0), torch.zeros(planes.shape)
    seen = MatrixView(SeenStack(planes, image, image + 1.0, ProfileGaussians.of("box", 4.0, 1.0)), lattice)
    found = seen._matrix.nnz / image.numel()  # those at the rims see fewer
    assert found < seen.stack.profile.entries(lattice.pitch, lattice.sigma, lattice.cutoff) < 1.3 * found
