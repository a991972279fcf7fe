"""Weights of the ensemble's members, found on hidden observed slices."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.config.prediction import EnsembleConfig
from TriplaneGaussianReconLib.config.registration import FlowConfig
from TriplaneGaussianReconLib.config.self_supervised import SuperResolutionConfig
from TriplaneGaussianReconLib.data.foreground import foreground
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.prediction import hidden_slices
from TriplaneGaussianReconLib.prediction.ensemble import (
    EnsembleWeights,
    fit_ensemble,
    hidden_slice_task,
)
from TriplaneGaussianReconLib.prediction.error_model import ErrorModel
from TriplaneGaussianReconLib.prediction.hidden_slices import Hiding
from TriplaneGaussianReconLib.prediction.interpolators import INTERPOLATORS, MEMBERS, member_predictions
from TriplaneGaussianReconLib.registration.displacements import displacements
from TriplaneGaussianReconLib.registration.optical_flow import correspond
from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext
from TriplaneGaussianReconLib.self_supervised.super_resolution import Trainer

CONFIG, FLOW = EnsembleConfig(), FlowConfig()
USUALLY = CONFIG.usual_with_super_resolution
MOVING = ("flow", "flow_cubic", "gated", "gated_cubic", "gated_smooth")
STRAIGHT = ("linear", "pchip", "cubic", "straight_smooth")
BRIEF = SuperResolutionConfig(width=6, blocks=1, steps=10, batch=16, rate=5e-3)


@pytest.fixture(autouse=True)
def keep_thread_count() -> Iterator[None]:
    threads = cv2.getNumThreads(), torch.get_num_threads()
    yield
    cv2.setNumThreads(threads[0])
    torch.set_num_threads(threads[1])


def quietly(slices: np.ndarray, positions: np.ndarray | None = None) -> EnsembleWeights:
    return fitted(slices, np.arange(len(slices)) * 3.0 if positions is None else positions)


def fitted(slices: np.ndarray, positions: np.ndarray, config: EnsembleConfig = CONFIG,
           tick: Callable[[float], None] = lambda done: None, held: np.ndarray | None = None, **learnt: Any
           ) -> EnsembleWeights:
    with displacements(slices, FLOW) as flows:
        return fit_ensemble(Hiding(slices, positions, config, flows, torch.device("cpu"), held), tick, **learnt)


def share(result: EnsembleWeights, names: tuple[str, ...]) -> float:
    return sum(result.named_weights[name] for name in names)


def check(result: EnsembleWeights) -> None:
    """What holds for every ensemble."""
    assert result.weights.shape == (len(INTERPOLATORS),)
    assert (result.weights >= 0).all() and result.weights.sum() == pytest.approx(1)
    for name, weight in CONFIG.usual.items():
        assert result.weights[INTERPOLATORS.index(name)] >= CONFIG.usual_share * weight - 1e-9
    assert min(result.error_model.floor, *result.error_model.factors) >= 0
    assert result.band > 0
    assert all(np.isfinite(hidden.psnr) for hidden in result.hidden)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_displacement_wins_where_a_pattern_moves(textured: Callable[..., np.ndarray], noise: float) -> None:
    result = quietly(textured((7, 32, 36), (2.0, -1.5), noise=noise, count=80))
    check(result)
    assert share(result, MOVING) > 0.85
    assert [hidden.plane for hidden in result.hidden] == [1, 2, 3, 4, 5]


def test_straight_wins_where_slices_are_unrelated(textured: Callable[..., np.ndarray]) -> None:
    """Independent smooth fields: following any displacement between them harms."""
    slices = np.concatenate([textured((1, 32, 36), seed=10 + n) for n in range(9)])
    result = quietly(slices)
    check(result)
    assert share(result, STRAIGHT) > 0.6
    assert result.named_weights["flow"] + result.named_weights["flow_cubic"] < 0.05


def test_straight_wins_where_nothing_moves(textured: Callable[..., np.ndarray]) -> None:
    """A fixed pattern whose contrast changes linearly is known exactly without displacement."""
    pattern, change = textured((1, 32, 36), seed=1)[0], textured((1, 32, 36), seed=2)[0]
    slices = np.stack([0.6 * pattern + 0.04 * n * change for n in range(9)])
    result = quietly(slices)
    check(result)
    assert share(result, STRAIGHT) > 0.6
    assert min(hidden.psnr for hidden in result.hidden) > 60


def test_smoothing_wins_on_noise() -> None:
    """Where nothing but noise differs, the smoothest members are nearest to the truth."""
    generator = np.random.default_rng(0)
    slices = (0.5 + 0.1 * generator.standard_normal((9, 32, 36))).astype(np.float32)
    result = quietly(slices)
    check(result)
    assert share(result, ("straight_smooth", "gated_smooth")) > 0.45


def test_uneven_positions_are_taken_into_account(textured: Callable[..., np.ndarray]) -> None:
    """A linear trend in position is known exactly at uneven positions too."""
    pattern, change = textured((1, 32, 36), seed=1)[0], textured((1, 32, 36), seed=2)[0]
    positions = np.array([0.0, 1.0, 4.0, 5.0, 8.0, 9.5, 12.0])
    slices = np.stack([0.6 * pattern + np.float32(0.03 * p) * change for p in positions])
    assert min(hidden.psnr for hidden in quietly(slices, positions).hidden) > 60
    assert min(hidden.psnr for hidden in quietly(slices).hidden) < 45


def test_fewer_than_three_slices_get_the_usual_mixture(textured: Callable[..., np.ndarray]) -> None:
    result = quietly(textured((2, 32, 36), (2.0, -1.5)))
    assert result.weights.sum() == pytest.approx(1) and result.hidden == ()
    assert {name: weight for name, weight in result.named_weights.items() if weight} == CONFIG.usual
    assert result.error_model == ErrorModel.of_disagreement(CONFIG.neighbourhood)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_few_slices(textured: Callable[..., np.ndarray], count: int) -> None:
    result = quietly(textured((count, 32, 36), (2.0, -1.5)))
    check(result)
    assert [hidden.plane for hidden in result.hidden] == list(range(1, count - 1))


def test_blank_slices_tell_nothing(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((7, 32, 36), (2.0, -1.5))
    slices[[1, 3]] = 0.0
    result = quietly(slices)
    check(result)
    assert [hidden.plane for hidden in result.hidden] == [2, 4, 5]
    slices[1:-1] = 0.0
    blank = quietly(slices)
    assert blank.hidden == () and {n for n, w in blank.named_weights.items() if w} == set(CONFIG.usual)


def test_many_slices_are_sampled(textured: Callable[..., np.ndarray]) -> None:
    result = quietly(textured((40, 10, 10), seed=3, noise=0.05))
    check(result)
    planes = [hidden.plane for hidden in result.hidden]
    assert len(planes) == 24 and planes[0] == 1 and planes[-1] == 38 and planes == sorted(set(planes))


def test_repeats_bit_by_bit(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((6, 32, 36), (1.0, -1.5), noise=0.02)
    results = []
    for threads in (1, 1, 2):
        cv2.setNumThreads(threads)
        torch.set_num_threads(threads)
        results.append(quietly(slices))
    for other in results[1:]:
        np.testing.assert_array_equal(other.weights, results[0].weights)
        assert other.error_model == results[0].error_model and other.hidden == results[0].hidden


@pytest.mark.parametrize("planes", [4, 9, 30])
def test_how_many_slices_are_looked_at_at_a_time_does_not_matter(textured: Callable[..., np.ndarray], planes: int,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, as on a GPU, or one, as on the CPU; blank slices and uneven positions among them."""
    slices = textured((planes, 32, 36), (1.0, -1.5), noise=0.02)
    slices[1:planes // 3] = 0.0
    positions = np.cumsum(np.random.default_rng(0).uniform(1, 3, planes))
    alone = quietly(slices, positions)
    monkeypatch.setattr(hidden_slices, "shares", lambda pieces, size, device: [pieces])
    together = quietly(slices, positions)
    np.testing.assert_allclose(together.weights, alone.weights, atol=1e-5)
    np.testing.assert_allclose(together.error_model.factors, alone.error_model.factors, atol=1e-4)
    assert [hidden.plane for hidden in together.hidden] == [hidden.plane for hidden in alone.hidden]
    for a, b in zip(together.hidden, alone.hidden, strict=True):
        assert a.psnr == pytest.approx(b.psnr, abs=1e-3)


def test_members_are_mixed_by_weight() -> None:
    predictions = torch.rand(len(INTERPOLATORS), 2, 12, 14, generator=torch.Generator().manual_seed(0))
    weights = np.zeros(len(INTERPOLATORS))
    weights[[1, 4]] = 0.25, 0.75
    model = ErrorModel(0.1, (0.5, 0.3, 0.2), CONFIG.neighbourhood)
    result = EnsembleWeights(weights, model, 1.0, ())
    apart, confidence = torch.full((2, 12, 14), -0.2), torch.full((2, 12, 14), 0.25)
    mixture, error = result.mixture(predictions), result.expected_error(predictions, apart, confidence)
    torch.testing.assert_close(mixture, 0.25 * predictions[1] + 0.75 * predictions[4])
    torch.testing.assert_close(error, CONFIG.narrower * model.expected(predictions, apart, confidence))
    assert mixture.dtype == torch.float32 and error.shape == (2, 12, 14)


def test_the_expected_error_is_about_right(textured: Callable[..., np.ndarray]) -> None:
    """On slices that were never seen, the mean expected error is within a factor of 2 of the mean error."""
    volume = textured((17, 32, 36), (1.2, -0.9), noise=0.02, count=80)
    kept, positions = volume[::2], np.arange(0, 17, 2.0)
    result = quietly(kept, positions)
    found, observed = correspond(kept, FLOW).on(torch.device("cpu")), torch.from_numpy(kept)
    errors, expected = [], []
    for gap in range(8):
        context = SliceContext.around(np.array([gap]), positions, np.array([0.5]), 4)
        predictions = member_predictions(observed, found, context, CONFIG.smoothing)[:, 0, 0]
        errors.append(np.abs(result.mixture(predictions).numpy() - volume[2 * gap + 1]).mean())
        apart = torch.from_numpy(kept[gap + 1] - kept[gap])
        expected.append(float(result.expected_error(predictions, apart, found.confidence[gap]).mean()))
    assert 0.5 < np.mean(expected) / np.mean(errors) < 2.0


def test_the_band_holds_68_percent_of_what_is_hidden(textured: Callable[..., np.ndarray]) -> None:
    """The slices look as those that it was found on, and as many of their pixels lie inside, wherever these are."""
    slices = textured((25, 60, 64), (0.5, -0.4), noise=0.01)
    slices[:, :, :20] = 0.0  # where nothing can be wrong
    kept, hidden = slices[::2], slices[1::2]
    result = quietly(kept, 2.0 * np.arange(13.0))
    context = SliceContext.around(np.arange(12), 2.0 * np.arange(13.0), np.array([0.5]), 4)
    found = correspond(kept, FLOW).on(torch.device("cpu"))
    predictions = member_predictions(torch.from_numpy(kept), found, context, CONFIG.smoothing)[:, :, 0]
    wrong = (result.mixture(predictions) - torch.from_numpy(hidden)).abs()
    expected = result.expected_error(predictions, torch.from_numpy(np.diff(kept, axis=0)), found.confidence)
    inside = (wrong <= result.band * expected).numpy()[foreground(hidden)].mean()
    assert 0.6 < inside < 0.8


def test_the_tick_tells_how_far_and_may_stop(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((7, 32, 36))
    told: list[float] = []
    fitted(slices, np.arange(7.0), tick=told.append)
    assert told == sorted(told) and told[0] >= 0 and told[-1] <= 1 and max(told) > 0.6

    def stop(done: float) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        fitted(slices, np.arange(7.0), tick=stop)


def waves(planes: int, gap: float, rows: int = 40, columns: int = 44, shortest: float = 18.0) -> np.ndarray:
    """[plane, row, column] in [0, 1], `gap` pixels apart: waves in all directions."""
    generator = np.random.default_rng(0)
    place = np.stack(np.meshgrid(np.arange(planes) * gap, np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    result = np.zeros(place.shape[:-1])
    for _ in range(40):
        way = generator.standard_normal(3)
        way *= 2.0 * np.pi / np.linalg.norm(way) / (shortest * generator.uniform(1.0, 1.6))
        result += np.sin(place @ way + generator.uniform(0.0, 2.0 * np.pi))
    return (0.5 + 0.4 * np.tanh(0.12 * result)).astype(np.float32)


def with_network(slices: np.ndarray, positions: np.ndarray, config: SuperResolutionConfig = BRIEF) -> EnsembleWeights:
    trainer = Trainer(torch.from_numpy(slices), positions, (1.0, 1.0), 1.0, config, 0)
    context, share_of_steps = hidden_slice_task(trainer, CONFIG)
    network = trainer.train(context, lambda step, steps, loss: None, share_of_steps)
    result = fitted(slices, positions, trainer=trainer, super_resolution=network)
    assert result.weights.shape == (len(MEMBERS),) and set(result.named_weights) == set(MEMBERS)
    assert (result.weights >= 0).all() and result.weights.sum() == pytest.approx(1)
    assert sum(result.named_weights.values()) == pytest.approx(1, abs=1e-3)
    assert min(result.error_model.floor, *result.error_model.factors) >= 0
    assert result.band > 0
    return result


def test_what_a_network_must_be_trained_for_to_be_judged() -> None:
    """Each inner slice, where it lies between its neighbours, at uneven positions too; nothing between two slices."""
    positions = np.array([0.0, 3.0, 4.0, 8.0, 14.0])
    trainer = Trainer(torch.zeros(5, 40, 40), positions, (1.0, 1.0), 1.0, BRIEF, 0)
    context, share_of_steps = hidden_slice_task(trainer, CONFIG)
    assert context.planes.tolist() == [[0, 0, 2, 4], [1, 1, 3, 3], [0, 2, 4, 4]] and 0.0 < share_of_steps <= 1.0
    np.testing.assert_allclose(context.widths, [4.0, 5.0, 10.0])
    np.testing.assert_allclose(context.fractions, [[0.75], [0.2], [0.4]])
    two = replace(trainer, slices=trainer.slices[:2], positions=positions[:2])
    context, _ = hidden_slice_task(two, CONFIG)
    assert not len(context.planes)


def test_a_network_that_is_much_better_gets_most_of_the_weight() -> None:
    slices, positions = waves(9, 4.0, 56, 56, shortest=16.0), np.arange(9) * 4.0
    config = SuperResolutionConfig(12, 1, 400, 32, 7e-3)
    result, without = with_network(slices, positions, config), quietly(slices, positions)
    assert result.named_weights["super_resolution"] > 0.6
    assert [hidden.plane for hidden in result.hidden] == [hidden.plane for hidden in without.hidden]
    assert np.mean([hidden.psnr for hidden in result.hidden]) > 1.0 + np.mean(
        [hidden.psnr for hidden in without.hidden])


def test_an_untrained_network_gets_no_more_than_is_usual(textured: Callable[..., np.ndarray]) -> None:
    """It says what linear says, which is bad where a pattern moves."""
    slices, config = textured((7, 32, 36), (2.0, -1.5), count=80), SuperResolutionConfig(6, 1, 2, 8, 0.0)
    result = with_network(slices, np.arange(7) * 3.0, config)
    usual = CONFIG.usual_share_with_super_resolution * USUALLY["super_resolution"]
    assert result.named_weights["super_resolution"] == pytest.approx(usual, abs=0.06)
    assert share(result, MOVING) > 0.7


def test_a_network_that_cannot_be_judged_gets_what_is_usual() -> None:
    """Twice the gap is wider than the slices; the other members are weighted as if there were none."""
    slices, positions = waves(7, 8.0, 14, 15), np.arange(7) * 8.0
    result, without = with_network(slices, positions), quietly(slices, positions)
    usual, none = (np.array([mixture.get(name, 0.0) for name in MEMBERS]) for mixture in (USUALLY, CONFIG.usual))
    np.testing.assert_allclose(result.weights - CONFIG.usual_share * usual,
                               np.append(without.weights, 0.0) - CONFIG.usual_share * none, atol=1e-9)
    assert result.weights[-1] == pytest.approx(CONFIG.usual_share * USUALLY["super_resolution"])
    assert [hidden.plane for hidden in result.hidden] == [hidden.plane for hidden in without.hidden]


def test_a_network_is_judged_where_it_bridges_the_gap() -> None:
    """Slices whose neighbours are too far apart are not hidden."""
    positions = np.array([0.0, 4.0, 8.0, 12.0, 52.0, 56.0, 60.0])
    assert [hidden.plane for hidden in with_network(waves(7, 4.0), positions).hidden] == [1, 2, 5]


@pytest.mark.parametrize("slices", [waves(2, 4.0), np.repeat(np.float32([0, 1, 0, 1]), 400).reshape(4, 20, 20)])
def test_with_a_network_but_nothing_to_hide_the_usual_mixture_is_taken(slices: np.ndarray) -> None:
    result = with_network(slices, np.arange(len(slices)) * 4.0)
    assert {name: weight for name, weight in result.named_weights.items() if weight} == USUALLY
    assert result.hidden == () and result.error_model == ErrorModel.of_disagreement(CONFIG.neighbourhood)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_few_slices_with_a_network(count: int) -> None:
    result = with_network(waves(count, 4.0), np.arange(count) * 4.0)
    assert [hidden.plane for hidden in result.hidden] == list(range(1, count - 1))


def test_with_a_network_it_repeats_bit_by_bit() -> None:
    first, again = (with_network(waves(6, 4.0), np.arange(6) * 4.0) for _ in range(2))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert first.hidden == again.hidden and first.error_model == again.error_model


def test_where_the_super_resolution_is_missing_the_usual_mixture_takes_its_place() -> None:
    predictions = torch.rand(len(MEMBERS), 2, 12, 14, generator=torch.Generator().manual_seed(0))
    weights = np.zeros(len(MEMBERS))
    weights[[0, -1]] = 0.2, 0.8
    result = EnsembleWeights(weights, ErrorModel(0.1, (0.5, 0.0, 0.0), 1.5), 1.0, ())
    torch.testing.assert_close(result.mixture(predictions), 0.2 * predictions[0] + 0.8 * predictions[-1])
    usual = sum(weight * predictions[INTERPOLATORS.index(name)] for name, weight in CONFIG.usual.items())
    torch.testing.assert_close(result.mixture(predictions[:-1]), 0.2 * predictions[0] + 0.8 * usual)


@pytest.mark.parametrize(("own", "expected"), [
    (0.8, 16 / 17), (0.6, 9 / 13), (0.5, 0.5), (0.3, 0.3), (1.0, 1.0), (0.0, 0.0)])
def test_fusion_gets_more_weight_if_the_super_resolution_has_most(own: float, expected: float) -> None:
    """Its odds are squared, the others keep their proportions."""
    weights = np.zeros(len(MEMBERS))
    weights[[0, 3, -1]] = 0.25 * (1 - own), 0.75 * (1 - own), own
    weighted = EnsembleWeights(weights, ErrorModel(0.01, (0.5, 0.0, 0.0), 1.5), 1.0, ())
    raised = weighted.with_fusion().weights
    np.testing.assert_allclose(raised[[0, 3, -1]], [0.25 * (1 - expected), 0.75 * (1 - expected), expected])
    assert raised.sum() == pytest.approx(1.0) and weighted.weights[-1] == own


def test_without_a_super_resolution_there_is_nothing_to_raise() -> None:
    weighted = EnsembleWeights(np.eye(len(INTERPOLATORS))[3], ErrorModel(0.01, (0.5, 0.0, 0.0), 1.5), 1.0, ())
    assert weighted.with_fusion() is weighted


def test_members_that_the_preset_calls_usual_get_its_share(textured: Callable[..., np.ndarray]) -> None:
    config = EnsembleConfig(usual={"cubic": 1.0}, usual_share=1.0, most_hidden=2)
    slices = textured((7, 32, 36), (2.0, -1.5))
    result = fitted(slices, np.arange(7.0), config)
    assert result.named_weights["cubic"] == 1.0 and len(result.hidden) == 2 and result.config is config


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_mask_over_few_slices_leaves_the_usual_weights(textured: Callable[..., np.ndarray], count: int) -> None:
    slices = textured((count, 24, 20)).astype(np.float32)
    held = np.ones(slices.shape, bool)
    held[:, :, 15:] = False
    result = fitted(slices, np.arange(count) * 3.0, held=held)
    assert (result.weights >= 0).all() and result.weights.sum() == pytest.approx(1)
