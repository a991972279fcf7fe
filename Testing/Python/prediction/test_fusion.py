"""Predictions fused by a network that is trained on virtual stacks."""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.config.prediction import EnsembleConfig, FusionConfig
from TriplaneGaussianReconLib.config.registration import FlowConfig
from TriplaneGaussianReconLib.config.self_supervised import SuperResolutionConfig
from TriplaneGaussianReconLib.data.trainable import trains_fusion
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.prediction import fusion
from TriplaneGaussianReconLib.prediction.fusion import LearnedFusion, features, learn_fusion, roughened
from TriplaneGaussianReconLib.prediction.interpolators import INTERPOLATORS, member_predictions
from TriplaneGaussianReconLib.registration.optical_flow import Correspondence, Motion, correspond
from TriplaneGaussianReconLib.self_supervised.networks import ResidualNetwork
from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext
from TriplaneGaussianReconLib.self_supervised.super_resolution import SuperResolution, Trainer

CPU = torch.device("cpu")
FLOW, SMOOTHING = FlowConfig(), EnsembleConfig().smoothing
FEW_STEPS = FusionConfig(width=6, blocks=1, steps=8, batch=3, rate=1e-3, augmentations=4)
INPUTS = FEW_STEPS.inputs
UNTRAINED = replace(FEW_STEPS, rate=0.0)

pytestmark = pytest.mark.usefixtures("one_thread")


def tubes(size: int, seed: int = 0, count: int = 60, noise: float = 0.02) -> np.ndarray:
    """[plane, row, column] in about [0, 1]: straight tubes in all directions, and noise."""
    generator = np.random.default_rng(seed)
    points = np.stack(np.meshgrid(*[np.arange(float(size))] * 3, indexing="ij"), axis=-1)
    volume = np.zeros((size,) * 3)
    for _ in range(count):
        way = generator.standard_normal(3)
        from_one = points - generator.uniform(0.0, size, 3)
        from_one -= (from_one @ way)[..., None] * (way / (way @ way))
        volume += generator.uniform(-1.0, 1.0) * np.exp(-(from_one ** 2).sum(axis=-1) / (2.0 * 1.5 ** 2))
    volume = 0.5 + 0.25 * volume / volume.std()
    return (volume + noise * generator.standard_normal(volume.shape)).clip(0.0, 1.0).astype(np.float32)


def ramp(shape: tuple[int, int, int]) -> Tensor:
    """[plane, row, column] in [0, 1]: linear along every axis, along none as along another."""
    courses = [share * torch.linspace(0.0, 1.0, n) for share, n in zip((0.2, 0.3, 0.5), shape, strict=True)]
    return courses[0][:, None, None] + courses[1][:, None] + courses[2]


def randomised(network: ResidualNetwork, seed: int = 0) -> ResidualNetwork:
    """With an answer other than 0."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def untrained_network(planes: int, augmentations: int = 1, size: int = 4) -> SuperResolution:
    """What it predicts is linear."""
    network = ResidualNetwork(size, planes, 4, 1, (1, 5), torch.Generator().manual_seed(0), size + planes)
    config = SuperResolutionConfig(4, 1, steps=1, batch=1, rate=0.0, augmentations=augmentations)
    return SuperResolution(network=network, config=config, size=size, widths=(0.0, math.inf))


def untrained_fusion(planes: int, augmentations: int) -> LearnedFusion:
    network = ResidualNetwork(INPUTS * planes, (INPUTS + 1) * planes, 6, 1, (3, 3), torch.Generator().manual_seed(0))
    return LearnedFusion(randomised(network), replace(FEW_STEPS, augmentations=augmentations))


def fusion_of(dense: Tensor, every: int, spacing: tuple[float, float, float], network: SuperResolution,
              config: FusionConfig, seed: int, tick: Callable[[int, int, float], None]) -> LearnedFusion:
    return learn_fusion(dense, every, spacing, network, config, FLOW, SMOOTHING, seed, tick)


def features_of(slices: Tensor, positions: np.ndarray, found: Motion, gaps: np.ndarray, fractions: np.ndarray,
                network: SuperResolution) -> Tensor:
    return features(slices, positions, found, gaps, fractions, network, FEW_STEPS, SMOOTHING)


def never_stop(step: int, steps: int, loss: float) -> None:
    pass


def exchanged(predictions: Tensor) -> Tensor:
    """Seen with rows and columns exchanged, the two directions of the super-resolution are exchanged as well."""
    return predictions[:, [*range(INPUTS - 2), -1, -2]].transpose(-2, -1)


def test_fused_is_better_than_everything_that_is_fused() -> None:
    """On planes that nobody saw, with one of the predictions for a first dense estimate."""
    every, volume = 4, torch.from_numpy(tubes(49, count=30, noise=0.05))
    slices, positions = volume[::every].contiguous(), np.arange(0.0, 49.0, every)
    gaps, fractions = np.arange(len(slices) - 1), np.arange(1, every) / every
    trainer = Trainer(slices, positions, (1.0, 1.0), 1.0, SuperResolutionConfig(12, 1, 150, 64, 5e-3), 0)
    network = trainer.train(trainer.context(gaps, fractions), never_stop)
    assert network is not None and trains_fusion(49, 49, (1.0, 1.0), positions, every - 1, 1.0, FEW_STEPS, FLOW)
    predictions = features_of(slices, positions, correspond(slices.numpy(), FLOW).on(CPU), gaps, fractions, network)
    dense = torch.cat([torch.cat([slices[:-1, None], predictions[:, -1]], dim=1).flatten(0, 1), slices[-1:]])
    config = FusionConfig(16, 1, 120, 6, 4e-3, augmentations=4)
    fused = fusion_of(dense, every, (1.0, 1.0, 1.0), network, config, 0, never_stop).fuse(predictions)
    truth = volume[:-1].unflatten(0, (-1, every))[:, 1:]
    error = ((predictions - truth[:, None]) ** 2).mean(dim=(0, 2, 3, 4))
    mean = ((predictions.mean(dim=1) - truth) ** 2).mean()
    wrong = ((fused - truth) ** 2).mean()
    assert wrong < 0.95 * error.min() and wrong < 0.95 * mean


@pytest.mark.parametrize(("every", "spacing"), [(2, (1.0, 1.0, 1.0)), (4, (1.0, 1.0, 1.0)), (4, (0.75, 1.0, 0.7)),
                                                (3, (1.3, 1.0, 1.4))])
def test_virtual_planes_lie_where_they_are_wanted(every: int, spacing: tuple[float, float, float]) -> None:
    """All predictions are right where intensities are linear, so there is nothing to train for."""
    losses: list[float] = []
    fusion_of(ramp((24 // every * every + 1, 40, 36)), every, spacing, untrained_network(every - 1), UNTRAINED,
                 0, lambda step, steps, loss: losses.append(loss))
    assert max(losses[5:]) < 1.2e-3  # the smallest that a loss can be is 1e-3


def test_virtual_slices_run_across_rows_and_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far apart as the real ones, from the first one and from half-way to the next; as rough as they are."""
    found: list[np.ndarray] = []

    def noted(slices: np.ndarray, config: FlowConfig) -> Correspondence:
        found.append(slices)
        return correspond(slices, config)

    monkeypatch.setattr(fusion, "correspond", noted)
    dense = torch.from_numpy(tubes(34)[:25])
    fusion_of(dense, 4, (0.75, 0.75, 1.0), untrained_network(3), UNTRAINED, 0, never_stop)
    rough = roughened(dense, 4, torch.Generator().manual_seed(0))
    for slices, expected in zip(found, (rough[:, ::4].transpose(0, 1), rough[:, 2::4].transpose(0, 1),
                                        rough[..., ::3].movedim(2, 0), rough[..., 1::3].movedim(2, 0)), strict=True):
        np.testing.assert_allclose(slices, expected)


def test_patches_are_read_in_all_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with rows and columns exchanged; the super-resolution along rows stays that along rows."""
    seen: list[Tensor] = []

    def coordinates(slices: Tensor, positions: np.ndarray, found: Motion, gaps: np.ndarray, *_: object) -> Tensor:
        result = torch.zeros(len(gaps), INPUTS, 3, *slices.shape[1:])
        result[:, 0] = torch.arange(3)[:, None, None]
        result[:, -2] = torch.arange(slices.shape[2])
        result[:, -1] = torch.arange(slices.shape[1])[:, None]
        return result

    def noted(network: ResidualNetwork, predictions: Tensor, config: FusionConfig) -> Tensor:
        seen.append(predictions)
        return fused(network, predictions, config)

    fused = fusion._fused
    monkeypatch.setattr(fusion, "features", coordinates)
    monkeypatch.setattr(fusion, "_fused", noted)
    fusion_of(ramp((25, 36, 40)), 4, (1.0, 1.0, 1.0), untrained_network(3), FusionConfig(4, 1, 30, 3, 0.0), 0,
                 never_stop)
    ways = set()
    for order, along_rows, along_columns in torch.cat(seen)[:, [0, -2, -1]]:
        steps = order.diff(dim=0), along_rows.diff(dim=2), along_columns.diff(dim=1)
        assert all(step.min() == step.max() for step in steps)
        ways.add(tuple(step.max().item() for step in steps))
    assert ways == set(product((-1.0, 1.0), repeat=3))


@pytest.mark.parametrize(("most", "kept"), [(1, 3), (10_000, 8)])
def test_of_a_large_volume_the_middle_is_trained_on(most: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many gaps of each virtual stack, but a few at least; 25 x 41 predicted pixels in each."""
    asked: list[np.ndarray] = []

    def noted(slices: Tensor, positions: np.ndarray, found: Motion, gaps: np.ndarray, fractions: np.ndarray,
              *others: Any) -> Tensor:
        asked.append(positions[gaps] + 1.0)  # where the middle of each gap lies, but for the stack's offset
        return features(slices, positions, found, gaps, fractions, *others)

    losses: list[float] = []
    monkeypatch.setattr(fusion, "features", noted)
    fusion_of(ramp((25, 41, 41)), 2, (1.0, 1.0, 1.0), untrained_network(1),
              replace(UNTRAINED, most_pixels=most), 0, lambda step, steps, loss: losses.append(loss))
    middles = np.concatenate(asked)
    assert len(middles) == 4 * min(max(most // (25 * 41), 3), 20) and np.abs(middles - 20.0).max() <= kept + 2.0
    assert max(losses[5:]) < 1.2e-3


def test_what_was_not_observed_counts_little() -> None:
    """Where no slice runs, observed or virtual, the estimate is wrong by 1: on 18 of 25 lines, for a third of what is
    predicted there.  So slices and predictions are right, but not what is taken for the truth."""
    dense, losses = ramp((25, 40, 40)), []
    dense[np.arange(25) % 4 != 0, 1::2, 1::2] += 1.0
    fusion_of(dense, 4, (1.0, 1.0, 1.0), untrained_network(3), replace(UNTRAINED, steps=20), 0,
                 lambda step, steps, loss: losses.append(loss))
    unseen = 18 * FEW_STEPS.unseen_weight
    assert np.mean(losses[5:]) == pytest.approx(FEW_STEPS.small_error + unseen / 3 / (7 + unseen), rel=0.1)


def test_features_are_the_interpolators_and_both_directions_of_the_super_resolution() -> None:
    slices, positions, fractions = torch.from_numpy(tubes(32)[::4].copy()), np.arange(8) * 4.0, np.array([0.25, 0.7])
    gaps, found = np.array([0, 3, 6]), correspond(slices.numpy(), FLOW).on(CPU)
    for augmentations in (1, 2, 4):
        network = untrained_network(2, augmentations)
        randomised(network.network)
        predictions = features_of(slices, positions, found, gaps, fractions, network)
        assert predictions.shape == (3, INPUTS, 2, 32, 32) and predictions.dtype == torch.float32
        context = SliceContext.around(gaps, positions, fractions, 4)
        by_member = member_predictions(slices, found, context, SMOOTHING)
        for number, name in enumerate(FEW_STEPS.interpolators):
            assert torch.equal(predictions[:, number], by_member[INTERPOLATORS.index(name)])
        lines = network.predict(slices, SliceContext.around(gaps, positions, fractions, network.size))
        torch.testing.assert_close(predictions[:, -2:].mean(dim=1), lines, atol=1e-6, rtol=0.0)
        turned = features_of(slices.transpose(1, 2), positions, found, gaps, fractions, network)
        torch.testing.assert_close(turned[:, -2:], exchanged(predictions)[:, -2:], atol=1e-6, rtol=0.0)
        assert (predictions[:, -2] - predictions[:, -1]).abs().max() > 1e-3


def test_many_gaps_at_a_time_are_what_each_is_alone() -> None:
    slices, positions, fractions = torch.from_numpy(tubes(32)[::4].copy()), np.arange(8) * 4.0, np.array([0.25, 0.7])
    found, network, fused = correspond(slices.numpy(), FLOW).on(CPU), untrained_network(2), untrained_fusion(2, 4)
    randomised(network.network)
    together = features_of(slices, positions, found, np.array([5, 2]), fractions, network)
    for number, gap in enumerate((5, 2)):
        alone = features_of(slices, positions, found, np.array([gap]), fractions, network)
        assert torch.equal(together[number], alone[0])
        assert torch.equal(fused.fuse(together)[number], fused.fuse(alone)[0])


AUGMENTATIONS: dict[str, tuple[int, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "slices in the other order": (2, lambda p: p.flip(2), lambda f: f.flip(1)),
    "rows and columns exchanged": (4, exchanged, lambda f: f.transpose(-2, -1)),
    "turned by half a turn": (8, lambda p: p.flip(-2, -1), lambda f: f.flip(-2, -1)),
    "rows mirrored": (16, lambda p: p.flip(-2), lambda f: f.flip(-2)),
    "columns mirrored": (16, lambda p: p.flip(-1), lambda f: f.flip(-1))}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_is_seen_otherwise_is_fused_alike(name: str) -> None:
    """From as many augmentations on as it takes; with fewer it is not, and with more it stays so."""
    enough, seen, drawn = AUGMENTATIONS[name]
    predictions = torch.rand(2, INPUTS, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    for augmentations in (1, 2, 4, 8, 16):
        fused = untrained_fusion(3, augmentations)
        change = (fused.fuse(seen(predictions)) - drawn(fused.fuse(predictions))).abs().max()
        assert change < 1e-5 if augmentations >= enough else change > 1e-3


def test_before_training_it_is_a_mixture() -> None:
    """Weights sum to 1 and there is no residual: what all predictions agree upon comes out."""
    fused = fusion_of(torch.from_numpy(tubes(25)), 2, (1.0, 1.0, 1.0), untrained_network(1),
                         FusionConfig(6, 1, 0, 2, 1e-3), 0, never_stop)
    agreed = torch.rand(1, 1, 1, 20, 22)
    torch.testing.assert_close(fused.fuse(agreed.expand(-1, INPUTS, -1, -1, -1)), agreed[:, 0])
    predictions = torch.rand(1, INPUTS, 1, 20, 22)
    mixture = fused.fuse(predictions)
    assert (mixture >= predictions.amin(dim=1)).all() and (mixture <= predictions.amax(dim=1)).all()


def trained(seed: int, device: torch.device = CPU) -> list[Tensor]:
    dense = torch.from_numpy(tubes(33)).to(device)
    network = fusion_of(dense, 4, (1.0, 1.0, 1.0), untrained_network(3).on(device), FEW_STEPS, seed, never_stop).network
    return [parameter.detach().cpu() for parameter in network.parameters()]


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again, other = trained(0), trained(0), trained(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_thread_count_does_not_matter() -> None:
    first = trained(0)
    torch.set_num_threads(2)
    assert all(torch.equal(a, b) for a, b in zip(first, trained(0), strict=True))
    assert torch.get_num_threads() == 2  # put back


@pytest.mark.gpu
def test_the_same_seed_gives_the_same_bits_on_a_gpu() -> None:
    """And nearly what it gives on the CPU."""
    first, again, on_cpu = trained(0, torch.device("cuda")), trained(0, torch.device("cuda")), trained(0)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for a, b in zip(first, on_cpu, strict=True):
        torch.testing.assert_close(a, b, atol=5e-3, rtol=0.0)


def test_the_tick_tells_how_far_and_may_stop() -> None:
    dense, told = ramp((25, 30, 30)), []
    fusion_of(dense, 2, (1.0, 1.0, 1.0), untrained_network(1), FEW_STEPS, 0,
                 lambda step, steps, loss: told.append((step, steps)))
    assert told == [(0, 8)] * 4 + [(step, 8) for step in range(8)]

    def stop(step: int, steps: int, loss: float) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        fusion_of(dense, 2, (1.0, 1.0, 1.0), untrained_network(1), FEW_STEPS, 0, stop)


@pytest.mark.parametrize("device", [torch.device("cpu"), pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)])
def test_predicted_planes_are_made_as_rough_as_observed_ones(device: torch.device) -> None:
    """Every third plane has noise of 0.1, the others of 0.06: what is added has 0.08.  No other plane changes."""
    noise = torch.randn(25, 64, 64, generator=torch.Generator().manual_seed(1))
    observed = torch.arange(25) % 3 == 0
    dense = ramp((25, 64, 64)) + torch.where(observed, 0.1, 0.06)[:, None, None] * noise
    found = roughened(dense.to(device), 3, torch.Generator().manual_seed(2)).cpu()
    assert torch.equal(found[observed], dense[observed])
    added = (found - dense)[~observed]
    assert float(added.std()) == pytest.approx(0.08, rel=0.05)
    assert abs(float((added * noise[~observed]).mean())) < 0.002  # it is new
    assert torch.equal(found, roughened(dense, 3, torch.Generator().manual_seed(2))) or device.type == "cuda"


def test_planes_that_are_rough_enough_stay() -> None:
    dense = ramp((9, 20, 20))
    dense[1::2] += 0.05 * torch.randn(4, 20, 20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(roughened(dense, 2, torch.Generator().manual_seed(2)), dense)
