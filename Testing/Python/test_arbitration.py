"""Which candidate to believe, found out on hidden trusted slices."""
from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib import arbitration
from TriplaneGaussianReconLib.arbitration import USUAL, USUAL_SHARE, Arbitration, arbitrate, disagreement
from TriplaneGaussianReconLib.correspondence import correspond
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.interpolation import INTERPOLATIONS, Neighbours, candidates

MOVING = ("flow", "flow_cubic", "gated", "gated_cubic", "gated_smooth")
STRAIGHT = ("linear", "pchip", "cubic", "straight_smooth")


@pytest.fixture(autouse=True)
def keep_thread_count() -> Iterator[None]:
    threads = cv2.getNumThreads(), torch.get_num_threads()
    yield
    cv2.setNumThreads(threads[0])
    torch.set_num_threads(threads[1])


def quietly(slices: np.ndarray, positions: np.ndarray | None = None) -> Arbitration:
    positions = np.arange(len(slices)) * 3.0 if positions is None else positions
    return arbitrate(slices, positions, lambda done: None)


def share(result: Arbitration, names: tuple[str, ...]) -> float:
    return sum(result.named_weights[name] for name in names)


def check(result: Arbitration) -> None:
    """What holds for every arbitration."""
    assert result.weights.shape == (len(INTERPOLATIONS),)
    assert (result.weights >= 0).all() and result.weights.sum() == pytest.approx(1)
    for name, weight in USUAL.items():
        assert result.weights[INTERPOLATIONS.index(name)] >= USUAL_SHARE * weight - 1e-9
    assert min(result.error_model) >= 0 and np.isfinite(result.error_model).all()
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
    """Where nothing but noise differs, the smoothest candidates are nearest to the truth."""
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
    assert {name: weight for name, weight in result.named_weights.items() if weight} == USUAL
    assert result.error_model == (0.0, 1.0)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_few_slices(textured: Callable[..., np.ndarray], count: int) -> None:
    result = quietly(textured((count, 32, 36), (2.0, -1.5)))
    check(result)
    assert [hidden.plane for hidden in result.hidden] == list(range(1, count - 1))


def test_blank_slices_teach_nothing(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((7, 32, 36), (2.0, -1.5))
    slices[[1, 3]] = 0.0
    result = quietly(slices)
    check(result)
    assert [hidden.plane for hidden in result.hidden] == [2, 4, 5]
    slices[1:-1] = 0.0
    blank = quietly(slices)
    assert blank.hidden == () and {n for n, w in blank.named_weights.items() if w} == set(USUAL)


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
    monkeypatch.setattr(arbitration, "shares", lambda pieces, size, device: [pieces])
    together = quietly(slices, positions)
    np.testing.assert_allclose(together.weights, alone.weights, atol=1e-5)
    np.testing.assert_allclose(together.error_model, alone.error_model, atol=1e-6)
    assert [hidden.plane for hidden in together.hidden] == [hidden.plane for hidden in alone.hidden]
    for a, b in zip(together.hidden, alone.hidden, strict=True):
        assert a.psnr == pytest.approx(b.psnr, abs=1e-3)


def test_candidates_are_mixed_by_weight() -> None:
    predictions = torch.rand(len(INTERPOLATIONS), 2, 12, 14, generator=torch.Generator().manual_seed(0))
    weights = np.zeros(len(INTERPOLATIONS))
    weights[[1, 4]] = 0.25, 0.75
    result = Arbitration(weights, (0.1, 0.5), ())
    mixture, error = result.mixture(predictions), result.expected_error(predictions)
    torch.testing.assert_close(mixture, 0.25 * predictions[1] + 0.75 * predictions[4])
    torch.testing.assert_close(error, 0.1 + 0.5 * disagreement(predictions))
    assert mixture.dtype == torch.float32 and error.shape == (2, 12, 14)


def test_disagreement_is_the_spread_of_the_candidates() -> None:
    predictions = torch.zeros(3, 1, 20, 20)
    predictions[1], predictions[2] = 0.25, -0.5
    torch.testing.assert_close(disagreement(predictions), torch.full((1, 20, 20), 0.75))
    predictions[:] = 0.3
    assert not disagreement(predictions).any()


def test_the_expected_error_is_about_right(textured: Callable[..., np.ndarray]) -> None:
    """On slices that arbitration never saw, the mean expected error is within a factor of 2 of the mean error."""
    volume = textured((17, 32, 36), (1.2, -0.9), noise=0.02, count=80)
    kept, positions = volume[::2], np.arange(0, 17, 2.0)
    result = quietly(kept, positions)
    found, trusted = correspond(kept).on(torch.device("cpu")), torch.from_numpy(kept)
    errors, expected = [], []
    for gap in range(8):
        around = Neighbours.around(np.array([gap]), len(kept))
        predictions = candidates(trusted, positions, found, around, np.array([0.5]))[:, 0, 0]
        errors.append(np.abs(result.mixture(predictions).numpy() - volume[2 * gap + 1]).mean())
        expected.append(float(result.expected_error(predictions).mean()))
    assert 0.5 < np.mean(expected) / np.mean(errors) < 2.0


def test_the_tick_tells_how_far_and_may_stop(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((7, 32, 36))
    told: list[float] = []
    arbitrate(slices, np.arange(7.0), told.append)
    assert told == sorted(told) and told[0] >= 0 and told[-1] <= 1 and max(told) > 0.6

    def stop(done: float) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        arbitrate(slices, np.arange(7.0), stop)
