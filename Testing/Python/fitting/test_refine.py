"""Refining the values of Gaussians on the pixels of layers."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fitting_case import quiet, renderer, stopped_at
from torch import Tensor

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.data.model_space import ModelSpaceStack
from TriplaneGaussianReconLib.fitting.refine import WantedLayers, own_pixels, refine
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters

ROWS, COLUMNS, DEPTHS = 5, 6, (0.0, 1.0, 2.5)
PLANES = PlaneStack([[0.3 * z, 0.1, z] for z in DEPTHS], [0, 0.8, 0], [0.9, 0, 0], ROWS, COLUMNS)
PIXELS = len(DEPTHS) * ROWS * COLUMNS

pytestmark = pytest.mark.usefixtures("one_thread")


def lattice() -> GaussianParameters:
    """A Gaussian on every pixel of PLANES, tilted this way and that, in a narrow width as in the presets; float64."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.from_numpy(PLANES.points().reshape(-1, 3))
    scale = torch.log(torch.tensor([1 / (0.38 * 0.9), 1.0, 1 / (0.38 * 0.8)], dtype=torch.float64))
    tilts = 0.6 * (torch.rand(PIXELS, 2, generator=generator, dtype=torch.float64) - 0.5)
    return GaussianParameters(
        centres, tilts, (scale * torch.tensor([1.0, 0.0, 1.0])).repeat(PIXELS, 1),
        torch.full((PIXELS,), float(np.log(0.35)), dtype=torch.float64), torch.zeros(PIXELS, dtype=torch.float64),
        torch.rand(PIXELS, 1, generator=generator, dtype=torch.float64),
        0.1 * (torch.rand(PIXELS, 1, 3, generator=generator, dtype=torch.float64) - 0.5),
        torch.zeros(PIXELS, 1, dtype=torch.int32))


def wanted(**more: object) -> WantedLayers:
    """Noise on all pixels of PLANES: nothing is harder to draw."""
    images = torch.rand(PLANES.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    return WantedLayers(PLANES, images, **more)  # type: ignore[arg-type]


def drawn(parameters: GaussianParameters, planes: PlaneStack = PLANES) -> Tensor:
    return renderer()(parameters.drawn(), planes)[:, 0]


def lack(parameters: GaussianParameters, what: WantedLayers) -> float:
    """Root of the mean squared difference."""
    return float((drawn(parameters) - what.images).square().mean().sqrt())


def test_every_gaussian_finds_its_pixel() -> None:
    """Also where planes are shifted to each other; those of the margin, and between the layers, have none."""
    parameters = lattice()
    numbers = own_pixels(parameters.centres, PLANES)
    assert numbers.tolist() == list(range(PIXELS))
    beside = parameters.centres + torch.tensor([-0.9, 0.0, 0.0])
    is_outside = np.arange(PIXELS) % COLUMNS == 0
    expected = np.where(is_outside, PIXELS, np.arange(PIXELS) - 1)
    assert own_pixels(beside, PLANES).tolist() == expected.tolist()
    assert set(own_pixels(parameters.centres + torch.tensor([0.0, 0.0, 0.2]), PLANES).tolist()) == {PIXELS}


def test_steps_converge_to_the_solution_of_the_linear_system() -> None:
    """Column by column: what a unit value of each Gaussian draws."""
    parameters, what = lattice(), wanted()
    none = replace(parameters, values=torch.zeros(PIXELS, 1, dtype=torch.float64))
    constant = drawn(none).flatten()
    matrix = torch.stack([drawn(replace(none, values=unit[:, None])).flatten() - constant
                          for unit in torch.eye(PIXELS, dtype=torch.float64)], dim=1)
    solution = torch.linalg.solve(matrix, what.images.flatten() - constant)
    fitted = refine(parameters, what, renderer(), 200, quiet)
    torch.testing.assert_close(fitted.values[:, 0], solution, atol=1e-9, rtol=0.0)
    assert fitted.slopes is parameters.slopes and fitted.tilts is parameters.tilts


def test_each_step_takes_most_of_what_is_lacking() -> None:
    parameters, what = lattice(), wanted()
    lacks = [lack(refine(parameters, what, renderer(), steps, quiet), what) for steps in range(5)]
    assert all(after < 0.45 * before for before, after in zip(lacks, lacks[1:], strict=False))


def test_pixels_without_weight_change_nothing() -> None:
    """What is wanted there does not matter, not even to their neighbours."""
    weights = torch.ones(PLANES.shape, dtype=torch.float64)
    weights[1, 2, 3] = 0.0
    what = wanted(weights=weights)
    images = what.images.clone()
    images[1, 2, 3] = 1e3
    other = replace(what, images=images)
    fitted, again = (refine(lattice(), each, renderer(), 3, quiet) for each in (what, other))
    assert torch.equal(fitted.values, again.values)
    untouched = (1 * ROWS + 2) * COLUMNS + 3
    assert float(fitted.values[untouched]) == float(lattice().values[untouched])


def test_labels_stay_as_they_are() -> None:
    parameters = lattice()
    labels = torch.rand(PIXELS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labelled = replace(parameters, values=torch.cat([parameters.values, labels], dim=1),
                       slopes=torch.cat([parameters.slopes, torch.zeros(PIXELS, 2, 3, dtype=torch.float64)], dim=1),
                       channels=torch.arange(3, dtype=torch.int32).repeat(PIXELS, 1))
    fitted = refine(labelled, wanted(), renderer(), 2, quiet)
    assert torch.equal(fitted.values[:, 1:], labels)
    torch.testing.assert_close(fitted.values[:, :1], refine(parameters, wanted(), renderer(), 2, quiet).values)


def test_pixels_of_other_orientations_belong_to_the_nearest_gaussian() -> None:
    """A plane across the rows, beside the column that it is nearest to; a pixel without data counts not."""
    what = wanted()
    x = float(PLANES.origins[1, 0] + 2 * 0.9)
    across = PlaneStack([[x, 0.1, 1.0]], [0, 0, 0.5], [0, 0.8, 0], 1, ROWS)
    image = np.full((1, 1, ROWS), 5.0, np.float32)
    weights = np.ones_like(image)
    weights[..., 3] = 0.0
    crossing = ModelSpaceStack(across, image, None, weights)
    fitted = refine(lattice(), replace(what, crossing=(crossing,), background=0.25), renderer(), 1, quiet)
    plain = refine(lattice(), what, renderer(), 1, quiet)
    change = (fitted.values - plain.values)[:, 0].reshape(PLANES.shape)
    lacking = 4.75 - drawn(lattice(), across)[0, 0]
    own = plain.values[:, 0] - lattice().values[:, 0]
    expected = torch.zeros(PLANES.shape, dtype=torch.float64)
    for row in (0, 1, 2, 4):
        expected[1, row, 2] = 0.5 * (lacking[row] - own.reshape(PLANES.shape)[1, row, 2])
    torch.testing.assert_close(change, expected, atol=1e-5, rtol=0.0)


def test_it_tells_what_is_lacking_and_may_be_stopped() -> None:
    told: list[tuple[int, int, float | None]] = []
    what = wanted()
    refine(lattice(), what, renderer(), 3, lambda step, steps, loss=None: told.append((step, steps, loss)))
    assert [each[:2] for each in told] == [(0, 3), (1, 3), (2, 3)]
    assert told[1][2] == pytest.approx(lack(lattice(), what) ** 2, rel=0.02)  # over one pixel more, which lacks nothing
    stopped_at(lambda tick: refine(lattice(), what, renderer(), 4, tick), 2)
