"""Fitting the Gaussians: Adam with the tri-plane field, and least squares."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.config.presets import Training
from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.fitting.losses import structural_dissimilarity
from TriplaneGaussianReconLib.fitting.training import RIDGE, Renderer, TargetPlanes, _curvature_bound, refine, train
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.gaussians.triplane import TriplaneField
from TriplaneGaussianReconLib.rasterizer.rasterize import rasterize

BOX = torch.tensor([[0.0, 0.0, 0.0], [7.0, 7.0, 2.0]])
NAMES = ("centres", "tilts", "in_plane", "log_depths", "raw_weights", "values", "slopes", "channels")

pytestmark = pytest.mark.usefixtures("one_thread")


def cloud(slots: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64, count: int = 12) -> GaussianParameters:
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
    return PlaneStack([[0.0, 0.0, z] for z in depths], [0, 1, 0], [1, 0, 0], 8, 8)


def targets_of(dtype: torch.dtype = torch.float64, masks: int = 0) -> list[TargetPlanes]:
    """Two stacks: trusted pixels with weights of their own, and predicted ones of lower weight."""
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
    return Renderer(mode, 12.0, "reference", channel_count)


def quiet(step: int, steps: int, loss: float) -> None:
    pass


def field_of(limits: dict | None = None, slots: int = 0, dtype: torch.dtype = torch.float64) -> TriplaneField:
    torch.manual_seed(1)
    return TriplaneField(BOX, limits or {"intensity": 0.3}, label_channels=slots, resolution=8, features=3,
                         hidden=6).to(dtype)


def error(parameters: GaussianParameters, targets: list[TargetPlanes], mode: str = "normalised") -> float:
    """Sum of weighted squared errors."""
    with torch.no_grad():
        return sum(float((target.weight * (renderer(mode)(parameters.drawn(), target.planes)[:, 0] - target.image) ** 2).sum())
                   for target in targets)


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
        return float(((matrix @ change - residual) ** 2).sum() + RIDGE * (change ** 2).sum())

    ridge = np.sqrt(RIDGE) * np.eye(matrix.shape[1])
    best, *_ = np.linalg.lstsq(np.vstack([matrix, ridge]), np.append(residual, np.zeros(matrix.shape[1])), rcond=None)
    start, least = objective(np.zeros_like(best)), objective(best)
    reached = [objective(unknowns_of(refine(parameters, targets, renderer(mode), steps, quiet)) - unknowns_of(parameters))
               for steps in (4, 40, 400)]
    assert least < reached[2] < reached[1] < reached[0] < start
    assert reached[2] - least < 0.1 * (start - least)


@pytest.mark.parametrize("mode", ["normalised", "additive"])
def test_the_curvature_is_bounded(mode: str) -> None:
    """What the refinement divides by is at least the curvature in every direction, and not much more."""
    parameters, targets = cloud(), targets_of()
    matrix, _ = dense_problem(parameters, targets, mode)
    bound = _curvature_bound(parameters.drawn(), size_of(parameters), targets, renderer(mode)).numpy().ravel() ** -0.5
    largest = np.linalg.eigvalsh(bound[:, None] * (matrix.T @ matrix) * bound).max()
    assert 0.2 < largest <= 1.0


@pytest.mark.parametrize("mode", ["normalised", "additive"])
def test_few_refinement_steps_do_most_of_it(mode: str) -> None:
    parameters, targets = cloud(), targets_of()
    before = error(parameters, targets, mode)
    errors = [error(refine(parameters, targets, renderer(mode), steps, quiet), targets, mode) for steps in (0, 1, 2, 4, 8)]
    assert errors[0] == pytest.approx(before)
    assert errors == sorted(errors, reverse=True) and errors[3] < 0.7 * before


def test_refinement_leaves_the_geometry_alone() -> None:
    parameters = cloud()
    fitted = refine(parameters, targets_of(), renderer(), 3, quiet)
    for name in NAMES:
        same = torch.equal(getattr(fitted, name), getattr(parameters, name))
        assert same == (name not in ("values", "slopes")), name
    assert fitted.values.is_contiguous() and not fitted.values.requires_grad
    assert fitted.values.shape == parameters.values.shape and fitted.slopes.shape == parameters.slopes.shape


def test_refinement_of_an_exact_fit_changes_nothing() -> None:
    parameters = cloud()
    targets = [replace(target, image=renderer()(parameters.drawn(), target.planes)[:, 0]) for target in targets_of()]
    fitted = refine(parameters, targets, renderer(), 5, quiet)
    torch.testing.assert_close(fitted.values, parameters.values)
    torch.testing.assert_close(fitted.slopes, parameters.slopes)
    assert torch.isfinite(fitted.slopes).all()


def test_refinement_ignores_pixels_without_weight() -> None:
    parameters, targets = cloud(), targets_of()
    without = refine(parameters, targets[:1], renderer(), 6, quiet)
    nothing = replace(targets[1], weight=torch.zeros(1, 1, 1).double())
    torch.testing.assert_close(refine(parameters, [targets[0], nothing], renderer(), 6, quiet).values, without.values)


def test_refinement_tells_its_loss_and_can_be_stopped() -> None:
    parameters, targets, told = cloud(), targets_of(), []
    refine(parameters, targets, renderer(), 4, lambda *about: told.append(about))
    assert [t[:2] for t in told] == [(n, 4) for n in range(4)]
    pixels = sum(target.image.numel() for target in targets)
    assert told[0][2] == pytest.approx(error(parameters, targets) / pixels)
    assert told[3][2] == pytest.approx(error(refine(parameters, targets, renderer(), 3, quiet), targets) / pixels)
    stopped_at(lambda tick: refine(parameters, targets, renderer(), 4, tick), 2)


def stopped_at(work: Callable[[Callable[[int, int, float], None]], object], last: int) -> None:
    calls = []

    def tick(step: int, steps: int, loss: float) -> None:
        calls.append(step)
        if step == last:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        work(tick)
    assert calls == list(range(last + 1))


RATES = {"centres": 0.02, "tilts": 0.02, "in_plane": 0.02, "log_depths": 0.02, "raw_weights": 0.05, "values": 0.05,
         "slopes": 0.01, "field": 0.01}


@pytest.mark.parametrize("mode", ["normalised", "additive", "alpha"])
@pytest.mark.parametrize("image_loss", ["squared", "l1_ssim"])
def test_training_lowers_the_loss(mode: str, image_loss: str) -> None:
    losses: list[float] = []
    training = Training(30, RATES, image_loss)  # type: ignore[arg-type]
    parameters, targets = cloud(), targets_of()
    trained = train(parameters, field_of(), targets, renderer(mode), training, 1e-3, 1.0,
                    lambda step, steps, loss: losses.append(loss))
    assert len(losses) == 30 and np.isnan(losses[0])
    assert losses[-1] < 0.85 * losses[1]
    assert error(trained, targets, mode) < 0.95 * error(parameters, targets, mode)


def test_threads_do_not_change_the_bits(keep_thread_counts: None) -> None:
    """The decoder's gradients are sums over many Gaussians."""
    parameters, results = cloud(count=100_000, dtype=torch.float32), []
    targets = [replace(target, image=target.image.float(), weight=target.weight.float()) for target in targets_of()]
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(train(parameters, field_of(dtype=torch.float32), targets, Renderer("normalised", 12.0, "cpu"),
                             Training(2, {"field": 0.02}), 0.0, 1.0, quiet))
    for name in NAMES:
        assert all(torch.equal(getattr(results[0], name), getattr(other, name)) for other in results[1:]), name


def test_the_field_is_baked_in() -> None:
    """What training returns draws as the parameters with the field on top, and needs the field no more."""
    parameters, field = cloud(slots=2), field_of({"intensity": 0.3, "centres": 0.5})
    trained = train(parameters, field, targets_of(), renderer(channel_count=2), Training(8, {"field": 0.02}), 0.0, 1.0,
                    quiet)
    expected = field.applied_to(parameters)
    for name in NAMES:
        tensor = getattr(trained, name)
        assert not tensor.requires_grad
        torch.testing.assert_close(tensor, getattr(expected, name).detach(), rtol=0, atol=0)
        changed = name in ("values", "centres")
        assert torch.equal(tensor, getattr(parameters, name)) != changed, name
    assert torch.equal(trained.values[:, 1:], parameters.values[:, 1:])


@pytest.mark.parametrize("name", [n for n in RATES if n != "field"])
def test_only_what_has_a_rate_is_trained(name: str) -> None:
    parameters = cloud()
    before = {n: t.clone() for n, t in parameters.tensors().items()}
    trained = train(parameters, field_of(), targets_of(), renderer(), Training(2, {name: 0.01}), 0.0, 1.0, quiet)
    for other in NAMES:
        assert torch.equal(getattr(trained, other), before[other]) == (other != name)
        assert torch.equal(getattr(parameters, other), before[other])  # the input is left alone


def test_rates_of_lengths_are_in_pixels() -> None:
    """Adam's first step is as long as the rate."""
    parameters = cloud()
    for name, rate, pixel, step in (("centres", 0.02, 0.5, 0.01), ("tilts", 0.02, 0.5, 0.02),
                                    ("values", 0.05, 0.5, 0.05)):
        trained = train(parameters, field_of(), targets_of(), renderer(), Training(1, {name: rate}), 0.0, pixel, quiet)
        change = (getattr(trained, name) - getattr(parameters, name)).abs()
        assert float(change.max()) == pytest.approx(step, rel=1e-3), name


def test_no_steps_change_nothing() -> None:
    parameters = cloud()
    trained = train(parameters, field_of(), targets_of(), renderer(), Training(0, RATES), 0.0, 1.0, quiet)
    for name in NAMES:
        assert torch.equal(getattr(trained, name), getattr(parameters, name))


def loss_at_start(parameters: GaussianParameters, targets: list[TargetPlanes], training: Training, field: TriplaneField,
                  total_variation: float = 0.0, channel_count: int = 1) -> float:
    """The second tick tells the loss of the first step."""
    losses: list[float] = []
    train(parameters, field, targets, renderer(channel_count=channel_count), training, total_variation, 1.0,
          lambda step, steps, loss: losses.append(loss))
    return losses[1]


def test_the_loss_is_what_it_says() -> None:
    parameters, targets = cloud(slots=3), targets_of(masks=2)
    drawn = [rasterize(parameters.drawn(), target.planes, mode="normalised", channel_count=3, backend="reference").channels
             for target in targets]
    images, targets, weights = [d[:, 0] for d in drawn], [target.image for target in targets], [target.weight for target in targets]
    squared = sum(float((w * (i - t) ** 2).mean()) for w, i, t in zip(weights, images, targets, strict=True))
    mixed = sum(0.8 * float((w * (i - t).abs()).mean()) + 0.4 * float(structural_dissimilarity(i, t))
                for w, i, t in zip(weights, images, targets, strict=True))
    masks = targets[0].occupancies
    assert masks is not None
    semantic = float(((drawn[0][:, 1:] - masks) ** 2).mean())

    def told(training: Training, total_variation: float = 0.0) -> float:
        return loss_at_start(parameters, targets, training, field_of(), total_variation, 3)

    assert told(Training(2, RATES)) == pytest.approx(squared)
    assert told(Training(2, RATES, "l1_ssim")) == pytest.approx(mixed)
    assert told(Training(2, RATES, semantic_loss=0.7)) == pytest.approx(squared + 0.7 * semantic)
    smooth = float(field_of().total_variation().detach())
    assert told(Training(2, RATES), 2.0) == pytest.approx(squared + 2.0 * smooth)


def test_labels_are_learnt_with_the_semantic_loss_alone() -> None:
    parameters, targets = cloud(slots=3), targets_of(masks=2)
    field = {"semantics": 0.5}

    def trained(weight: float) -> GaussianParameters:
        return train(parameters, field_of(field, slots=2), targets, renderer(channel_count=3),
                     Training(25, {"values": 0.05, "field": 0.01}, semantic_loss=weight), 0.0, 1.0, quiet)

    def mismatch(p: GaussianParameters) -> float:
        masks = targets[0].occupancies
        assert masks is not None
        return float(((renderer(channel_count=3)(p.drawn(), targets[0].planes)[:, 1:] - masks) ** 2).mean())

    assert mismatch(trained(1.0)) < 0.8 * mismatch(parameters)
    assert torch.equal(trained(0.0).values[:, 1:], parameters.values[:, 1:])


def test_label_slots_that_are_not_used_stay_empty() -> None:
    """Channel 0 in a label's slot means that the slot is free: it must not add to the image."""
    parameters = cloud(slots=3)
    parameters.channels[:, 2] = 0
    parameters.values[:, 2] = 0
    parameters.slopes[:, 2] = 0
    trained = train(parameters, field_of({"intensity": 0.1, "semantics": 0.5}, slots=2), targets_of(masks=2),
                    renderer(channel_count=3),
                    Training(4, {"values": 0.05, "field": 0.01}, semantic_loss=1.0), 0.0, 1.0,
                    quiet)
    assert not trained.values[:, 2].any()
    assert not torch.equal(trained.values[:, 1], parameters.values[:, 1])
    assert not torch.equal(trained.values[:, 0], parameters.values[:, 0])


def test_training_can_be_stopped() -> None:
    stopped_at(lambda tick: train(cloud(), field_of(), targets_of(), renderer(), Training(9, RATES), 0.0, 1.0, tick), 3)


def test_rates_fall_where_the_loss_does_not() -> None:
    """Steps far too long make the loss rise: with little patience they become shorter."""
    def last_step(patience: int) -> float:
        before, after = (train(cloud(), field_of(), targets_of(), renderer(),
                               Training(steps, {"values": 2.0}, patience=patience), 0.0, 1.0, quiet).values
                         for steps in (40, 41))
        return float((after - before).abs().max())

    assert last_step(0) < 0.3 * last_step(1000)


def test_structural_dissimilarity() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 20, 24, generator=generator, dtype=torch.float64)
    assert float(structural_dissimilarity(image, image)) == pytest.approx(0, abs=1e-12)
    other = torch.rand(2, 20, 24, generator=generator, dtype=torch.float64)
    assert 0.5 < float(structural_dissimilarity(image, other)) < 1.2
    assert float(structural_dissimilarity(image, other)) == pytest.approx(float(structural_dissimilarity(other, image)))
    slight = float(structural_dissimilarity(image, image + 0.02 * other))
    assert 0 < slight < 0.1
    small = torch.rand(1, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: structural_dissimilarity(x, other[:1, :8, :8]), small)
