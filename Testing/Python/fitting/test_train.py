"""Training with Adam, the tri-plane field included."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fitting_case import BOX, NAMES, cloud, error, quiet, renderer, stopped_at, targets_of

from TriplaneGaussianReconLib.config.presets import Training
from TriplaneGaussianReconLib.fitting.losses import structural_dissimilarity
from TriplaneGaussianReconLib.fitting.targets import TargetPlanes
from TriplaneGaussianReconLib.fitting.train import train
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.gaussians.triplane import TriplaneField
from TriplaneGaussianReconLib.rendering.renderer import Renderer

pytestmark = pytest.mark.usefixtures("one_thread")

RATES = {"centres": 0.02, "tilts": 0.02, "in_plane": 0.02, "log_depths": 0.02, "raw_weights": 0.05, "values": 0.05,
         "slopes": 0.01, "field": 0.01}


def field_of(limits: dict | None = None, slots: int = 0, dtype: torch.dtype = torch.float64) -> TriplaneField:
    torch.manual_seed(1)
    return TriplaneField(BOX, limits or {"intensity": 0.3}, label_channels=slots, resolution=8, features=3,
                         hidden=6).to(dtype)


@pytest.mark.parametrize("mode", ["normalised", "additive", "alpha"])
@pytest.mark.parametrize("image_loss", ["squared", "l1_ssim"])
def test_training_lowers_the_loss(mode: str, image_loss: str) -> None:
    losses: list[float] = []
    training = Training(30, RATES, image_loss)  # type: ignore[arg-type]
    parameters, targets = cloud(), targets_of()
    trained = train(parameters, field_of(), targets, renderer(mode), training, 1e-3, 1.0,
                    lambda step, steps, loss=None: losses.append(loss))
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
          lambda step, steps, loss=None: losses.append(loss))
    return losses[1]


def test_the_loss_is_what_it_says() -> None:
    parameters, targets = cloud(slots=3), targets_of(masks=2)
    drawn = [renderer(channel_count=3)(parameters.drawn(), target.planes) for target in targets]
    images, truths, weights = ([d[:, 0] for d in drawn], [target.image for target in targets],
                               [target.weight for target in targets])
    squared = sum(float((w * (i - t) ** 2).mean()) for w, i, t in zip(weights, images, truths, strict=True))
    mixed = sum(0.8 * float((w * (i - t).abs()).mean()) + 0.4 * float(structural_dissimilarity(i, t))
                for w, i, t in zip(weights, images, truths, strict=True))
    masks = targets[0].occupancies
    assert masks is not None
    semantic = float(((drawn[0][:, 1:] - masks) ** 2).mean())

    def told(training: Training, total_variation: float = 0.0) -> float:
        return loss_at_start(parameters, targets, training, field_of(), total_variation, 3)

    assert told(Training(2, RATES)) == pytest.approx(squared)
    assert told(Training(2, RATES, "l1_ssim")) == pytest.approx(mixed)
    assert told(Training(2, RATES, semantic_loss=0.7)) == pytest.approx(squared + 0.7 * semantic)
    last = len(masks) - 1
    some = [replace(targets[0], occupancies=masks[[last]], labelled=torch.tensor([last])), *targets[1:]]
    semantic = float(((drawn[0][last, 1:] - masks[last]) ** 2).mean())
    assert loss_at_start(parameters, some, Training(2, RATES, semantic_loss=0.7), field_of(), 0.0, 3) == pytest.approx(
        squared + 0.7 * semantic)
    smooth = float(field_of().total_variation().detach())
    assert told(Training(2, RATES), 2.0) == pytest.approx(squared + 2.0 * smooth)


def test_structural_similarity_is_that_of_the_images_with_their_background() -> None:
    """Of images that are 0 on average it would be another one: it compares means."""
    parameters, training = cloud(), Training(2, RATES, "l1_ssim")
    targets = [replace(target, image=target.image - 0.4, background=0.4) for target in targets_of()]
    drawn = [renderer()(parameters.drawn(), target.planes)[:, 0] for target in targets]
    expected = sum(0.8 * float((t.weight * (i - t.image).abs()).mean())
                   + 0.4 * float(structural_dissimilarity(i + 0.4, t.image + 0.4))
                   for i, t in zip(drawn, targets, strict=True))
    assert loss_at_start(parameters, targets, training, field_of()) == pytest.approx(expected)


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
