"""Refining values and slopes by least squares."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fitting_case import NAMES, cloud, error, quiet, renderer, stopped_at, targets_of

from TriplaneGaussianReconLib.config.gaussians import RefinementConfig
from TriplaneGaussianReconLib.fitting.refine import _curvature_bound, _Problem, refine
from TriplaneGaussianReconLib.fitting.targets import TargetPlanes
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters

CONFIG = RefinementConfig()

pytestmark = pytest.mark.usefixtures("one_thread")


def dense_problem(parameters: GaussianParameters, targets: list[TargetPlanes], mode: str
                  ) -> tuple[np.ndarray, np.ndarray]:
    """The linear problem, column by column: matrix of unit values and unit slopes times size, residual at the start."""
    count = len(parameters)

    def weighted(vector: np.ndarray) -> np.ndarray:
        unknowns = torch.from_numpy(vector.reshape(count, 4))
        slopes = unknowns[:, 1:] / size_of(parameters)
        drawn = replace(parameters.drawn(), values=unknowns[:, :1], slopes=slopes[:, None])
        return np.concatenate([(target.weight.sqrt() * renderer(mode)(drawn, target.planes)[:, 0]).numpy().ravel()
                               for target in targets])

    matrix = np.stack([weighted(row) for row in np.eye(4 * count)], axis=1)
    target = np.concatenate([(target.weight.sqrt() * target.image).numpy().ravel() for target in targets])
    return matrix, target - matrix @ unknowns_of(parameters)


def size_of(parameters: GaussianParameters) -> torch.Tensor:
    """(N, 3) mm, by which slopes are multiplied."""
    return torch.stack([torch.exp(-parameters.in_plane[:, 0]), torch.exp(-parameters.in_plane[:, 2]),
                        torch.exp(parameters.log_depths)], dim=1)


def unknowns_of(parameters: GaussianParameters) -> np.ndarray:
    """(4 N,) values and slopes times size."""
    both = torch.cat([parameters.values, parameters.slopes[:, 0] * size_of(parameters)], dim=1)
    return both.numpy().ravel()  # type: ignore[no-any-return]


@pytest.mark.parametrize("mode", ["normalised", "additive"])
def test_refinement_is_least_squares_with_a_ridge(mode: str) -> None:
    """Many steps come close to the solution of the dense problem, judged by what is minimised."""
    parameters, targets = cloud(), targets_of()
    matrix, residual = dense_problem(parameters, targets, mode)

    def objective(change: np.ndarray) -> float:
        return float(((matrix @ change - residual) ** 2).sum() + CONFIG.ridge * (change ** 2).sum())

    ridge = np.sqrt(CONFIG.ridge) * np.eye(matrix.shape[1])
    best, *_ = np.linalg.lstsq(np.vstack([matrix, ridge]), np.append(residual, np.zeros(matrix.shape[1])), rcond=None)
    start, least = objective(np.zeros_like(best)), objective(best)
    fitted = [refine(parameters, targets, renderer(mode), steps, CONFIG, quiet) for steps in (4, 40, 400)]
    reached = [objective(unknowns_of(each) - unknowns_of(parameters)) for each in fitted]
    assert least < reached[2] < reached[1] < reached[0] < start
    assert reached[2] - least < 0.1 * (start - least)


@pytest.mark.parametrize("mode", ["normalised", "additive"])
def test_the_curvature_is_bounded(mode: str) -> None:
    """What the refinement divides by is at least the curvature in every direction, and not much more."""
    parameters, targets = cloud(), targets_of()
    matrix, _ = dense_problem(parameters, targets, mode)
    problem = _Problem(parameters.drawn(), size_of(parameters), targets, renderer(mode))
    bound = _curvature_bound(problem, CONFIG.ridge).numpy().ravel() ** -0.5
    largest = np.linalg.eigvalsh(bound[:, None] * (matrix.T @ matrix) * bound).max()
    assert 0.2 < largest <= 1.0


@pytest.mark.parametrize("mode", ["normalised", "additive"])
def test_few_refinement_steps_do_most_of_it(mode: str) -> None:
    parameters, targets = cloud(), targets_of()
    before = error(parameters, targets, mode)
    fitted = [refine(parameters, targets, renderer(mode), steps, CONFIG, quiet) for steps in (0, 1, 2, 4, 8)]
    errors = [error(each, targets, mode) for each in fitted]
    assert errors[0] == pytest.approx(before)
    assert errors == sorted(errors, reverse=True) and errors[3] < 0.7 * before


def test_refinement_leaves_the_geometry_alone() -> None:
    parameters = cloud()
    fitted = refine(parameters, targets_of(), renderer(), 3, CONFIG, quiet)
    for name in NAMES:
        same = torch.equal(getattr(fitted, name), getattr(parameters, name))
        assert same == (name not in ("values", "slopes")), name
    assert fitted.values.is_contiguous() and not fitted.values.requires_grad
    assert fitted.values.shape == parameters.values.shape and fitted.slopes.shape == parameters.slopes.shape


def test_refinement_of_an_exact_fit_changes_nothing() -> None:
    parameters = cloud()
    targets = [replace(target, image=renderer()(parameters.drawn(), target.planes)[:, 0]) for target in targets_of()]
    fitted = refine(parameters, targets, renderer(), 5, CONFIG, quiet)
    torch.testing.assert_close(fitted.values, parameters.values)
    torch.testing.assert_close(fitted.slopes, parameters.slopes)
    assert torch.isfinite(fitted.slopes).all()


def test_refinement_ignores_pixels_without_weight() -> None:
    parameters, targets = cloud(), targets_of()
    without = refine(parameters, targets[:1], renderer(), 6, CONFIG, quiet)
    nothing = replace(targets[1], weight=torch.zeros(1, 1, 1).double())
    fitted = refine(parameters, [targets[0], nothing], renderer(), 6, CONFIG, quiet)
    torch.testing.assert_close(fitted.values, without.values)


def test_refinement_tells_its_loss_and_can_be_stopped() -> None:
    parameters, targets, told = cloud(), targets_of(), []
    refine(parameters, targets, renderer(), 4, CONFIG, lambda *about: told.append(about))
    assert [t[:2] for t in told] == [(n, 4) for n in range(4)]
    pixels = sum(target.image.numel() for target in targets)
    assert told[0][2] == pytest.approx(error(parameters, targets) / pixels)
    after_three = refine(parameters, targets, renderer(), 3, CONFIG, quiet)
    assert told[3][2] == pytest.approx(error(after_three, targets) / pixels)
    stopped_at(lambda tick: refine(parameters, targets, renderer(), 4, CONFIG, tick), 2)
