"""What the members of the ensemble predict between two observed slices."""
from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline, PchipInterpolator

from TriplaneGaussianReconLib.config.prediction import EnsembleConfig
from TriplaneGaussianReconLib.config.registration import FlowConfig
from TriplaneGaussianReconLib.prediction.interpolators import INTERPOLATORS, MEMBERS, member_predictions
from TriplaneGaussianReconLib.registration.optical_flow import Correspondence, correspond
from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext

CPU = torch.device("cpu")
FLOW, SMOOTHING = FlowConfig(), EnsembleConfig().smoothing

UNEVEN = np.array([0.0, 2.0, 3.0, 7.0, 8.5])
EVEN = np.arange(5) * 2.0
INNER = np.s_[..., 8:-8, 8:-8]


def still(planes: int, shape: tuple[int, int] = (12, 14), confidence: float = 0.0) -> Correspondence:
    return Correspondence(np.zeros((planes - 1, *shape, 2), np.float32),
                          np.full((planes - 1, *shape), confidence, np.float32))


def polynomial(positions: np.ndarray, degree: int, seed: int = 0) -> np.ndarray:
    """[plane, row, column] values whose pixels are polynomials of the position."""
    generator = np.random.default_rng(seed)
    factors = generator.uniform(-1, 1, (degree + 1, 12, 14)) / 8.0 ** np.arange(degree + 1)[:, None, None]
    powers = np.asarray(positions)[:, None] ** np.arange(degree + 1)
    return np.tensordot(powers, factors, 1).astype(np.float32)


def predicted(slices: np.ndarray, positions: np.ndarray, found: Correspondence, gap: int,
              fractions: list[float] | np.ndarray) -> np.ndarray:
    context = SliceContext.around(np.array([gap]), positions, np.array(fractions), 4)
    result = member_predictions(torch.from_numpy(slices), found.on(CPU), context, SMOOTHING)
    assert result.shape == (len(INTERPOLATORS), 1, len(fractions), *slices.shape[1:]) and result.dtype == torch.float32
    return result[:, 0].numpy()


def named(predictions: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(INTERPOLATORS, predictions, strict=True))


@pytest.mark.parametrize("gap", range(4))
@pytest.mark.parametrize("positions", [EVEN, UNEVEN])
def test_linear_data_are_reproduced(positions: np.ndarray, gap: int) -> None:
    fractions = [0.25, 0.5, 0.8]
    where = positions[gap] + np.array(fractions) * (positions[gap + 1] - positions[gap])
    by_name = named(predicted(polynomial(positions, 1), positions, still(5), gap, fractions))
    for name in ("linear", "pchip", "cubic", "flow", "flow_cubic", "gated", "gated_cubic"):
        np.testing.assert_allclose(by_name[name], polynomial(where, 1), atol=1e-5, err_msg=name)


@pytest.mark.parametrize("positions", [EVEN, UNEVEN])
def test_cubic_reproduces_cubics(positions: np.ndarray) -> None:
    for gap in (1, 2):  # where four slices are at hand
        where = positions[gap] + 0.3 * (positions[gap + 1] - positions[gap])
        by_name = named(predicted(polynomial(positions, 3), positions, still(5), gap, [0.3]))
        np.testing.assert_allclose(by_name["cubic"][0], polynomial([where], 3)[0], atol=1e-5)
        assert np.abs(by_name["linear"][0] - polynomial([where], 3)[0]).max() > 1e-3


@pytest.mark.parametrize(("planes", "gap"), [(3, 0), (3, 1), (4, 0), (4, 1), (4, 2)])
def test_splines_are_scipys(planes: int, gap: int) -> None:
    """Every pattern of rising, falling and flat, steep and slight, one a pixel, also at the ends of the stack."""
    positions, rises = UNEVEN[:planes], [-1.0, -0.1, 0.0, 0.02, 0.3]
    patterns = np.stack(np.meshgrid(*[rises] * (planes - 1), indexing="ij")).reshape(planes - 1, -1, 5)
    slices = np.concatenate([np.zeros_like(patterns[:1]), np.cumsum(patterns, axis=0)]).astype(np.float32)
    fractions, window = np.array([0.1, 0.5, 0.75]), slice(max(gap - 1, 0), min(gap + 3, planes))
    where = positions[gap] + fractions * (positions[gap + 1] - positions[gap])
    by_name = named(predicted(slices, positions, still(planes, slices.shape[1:]), gap, fractions))
    for name, spline in (("pchip", PchipInterpolator), ("cubic", CubicSpline)):
        expected = spline(positions[window], slices[window].astype(np.float64), axis=0)(where)
        np.testing.assert_allclose(by_name[name], expected, atol=2e-6, err_msg=name)


def test_many_gaps_at_a_time_are_what_each_is_alone(textured: Callable[..., np.ndarray]) -> None:
    """Ends and inner gaps, of unequal widths, each at its own fractions, in any order."""
    slices, gaps = textured((5, 40, 44), (1.5, -1.0), noise=0.05), np.array([2, 0, 3, 1])
    found, fractions = correspond(slices, FLOW), np.random.default_rng(0).uniform(0.1, 0.9, (4, 3))
    context = SliceContext.around(gaps, UNEVEN, fractions, 4)
    together = member_predictions(torch.from_numpy(slices), found.on(CPU), context, SMOOTHING)
    for n, gap in enumerate(gaps):
        np.testing.assert_array_equal(together[:, n], predicted(slices, UNEVEN, found, gap, fractions[n]))


def test_pchip_does_not_overshoot() -> None:
    slices = np.zeros((4, 12, 14), np.float32)
    slices[2:] = 1.0
    by_name = named(predicted(slices, EVEN[:4], still(4), 2, [0.5]))
    np.testing.assert_allclose(by_name["pchip"], 1.0)
    assert by_name["cubic"].max() > 1.05


def test_only_four_slices_are_looked_at() -> None:
    slices = np.random.default_rng(0).random((6, 12, 14)).astype(np.float32)
    changed = slices.copy()
    changed[[0, 5]] = np.nan
    positions = np.arange(6.0)
    np.testing.assert_array_equal(predicted(slices, positions, still(6), 2, [0.5]),
                                  predicted(changed, positions, still(6), 2, [0.5]))


@pytest.mark.parametrize("gap", range(4))
def test_a_moving_pattern_is_followed(textured: Callable[..., np.ndarray], gap: int) -> None:
    """Also at the ends of the stack; every other slice is kept."""
    volume = textured((9, 40, 44), (2.0, -1.5), count=120)
    kept = volume[::2]
    by_name = named(predicted(kept, EVEN, correspond(kept, FLOW), gap, [0.5]))
    error = {name: float(np.sqrt(((p[0] - volume[2 * gap + 1])[INNER] ** 2).mean())) for name, p in by_name.items()}
    for name in ("flow", "flow_cubic", "gated", "gated_cubic"):
        assert error[name] < 0.1 * error["linear"], name
    assert error["gated_smooth"] < 0.3 * error["linear"]


def test_a_moving_pattern_at_uneven_positions(textured: Callable[..., np.ndarray]) -> None:
    """Slices 0, 3, 5, 9 are kept; what lies between them is asked for at its own fraction of the gap."""
    volume, kept = textured((10, 40, 44), (1.0, -0.8), count=120), np.array([0, 3, 5, 9])
    found = correspond(volume[kept], FLOW)
    for gap, (low, high) in enumerate(zip(kept[:-1], kept[1:], strict=True)):
        between = np.arange(low + 1, high)
        by_name = named(predicted(volume[kept], kept * 2.0, found, gap, (between - low) / (high - low)))
        for name in ("flow", "flow_cubic"):
            wrong, linear = (np.abs(by_name[n] - volume[between])[INNER].mean() for n in (name, "linear"))
            assert wrong < 0.25 * linear


def test_intensities_that_change_along_the_motion(textured: Callable[..., np.ndarray]) -> None:
    """A quadratic change along the displacement, which only four slices can tell."""
    volume = textured((9, 40, 44), (1.0, -0.5), count=120)
    volume = volume * (0.4 + 0.6 * ((np.arange(9) - 4) / 4) ** 2).astype(np.float32)[:, None, None]
    kept = volume[::2]
    found = correspond(textured((9, 40, 44), (1.0, -0.5), count=120)[::2], FLOW)
    for gap in (1, 2):
        by_name = named(predicted(kept, EVEN, found, gap, [0.5]))
        error = {n: np.abs(p[0] - volume[2 * gap + 1])[INNER].mean() for n, p in by_name.items()}
        assert error["flow_cubic"] < 0.25 * error["flow"]


@pytest.mark.parametrize("moving", [False, True])
def test_two_slices_only(textured: Callable[..., np.ndarray], moving: bool) -> None:
    slices = textured((2, 40, 44), (1.5, 0.0) if moving else (0.0, 0.0), noise=0.05)
    found = correspond(slices, FLOW) if moving else still(2, (40, 44))
    by_name = named(predicted(slices, np.array([1.0, 4.0]), found, 0, [0.25, 0.5]))
    expected = np.stack([0.75 * slices[0] + 0.25 * slices[1], 0.5 * slices[0] + 0.5 * slices[1]])
    for name in ("linear", "pchip", "cubic"):
        np.testing.assert_allclose(by_name[name], expected, atol=1e-6)
    if not moving:
        np.testing.assert_allclose(by_name["flow"], expected, atol=1e-6)
    np.testing.assert_allclose(by_name["flow_cubic"], by_name["flow"], atol=1e-6)


@pytest.mark.parametrize("confidence", [0.0, 0.25, 1.0])
def test_confidence_gates_the_displacement(textured: Callable[..., np.ndarray], confidence: float) -> None:
    volume = textured((4, 40, 44), (1.5, -1.0))
    found = correspond(volume, FLOW)
    gated = Correspondence(found.displacement, np.full_like(found.confidence, confidence))
    by_name = named(predicted(volume, EVEN[:4], gated, 1, [0.4]))
    np.testing.assert_allclose(by_name["gated"], confidence * by_name["flow"] + (1 - confidence) * by_name["linear"],
                               atol=1e-6)
    np.testing.assert_allclose(by_name["gated_cubic"],
                               confidence * by_name["flow_cubic"] + (1 - confidence) * by_name["pchip"], atol=1e-6)
    assert np.abs(by_name["flow"] - by_name["linear"]).max() > 0.01


def test_smoothed_interpolators(textured: Callable[..., np.ndarray]) -> None:
    volume = textured((4, 40, 44), (1.5, -1.0), noise=0.1)
    by_name = named(predicted(volume, EVEN[:4], correspond(volume, FLOW), 1, [0.4]))
    for name, smooth in (("linear", "straight_smooth"), ("gated", "gated_smooth")):
        expected = cv2.GaussianBlur(by_name[name][0], (0, 0), SMOOTHING, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(by_name[smooth][0], expected, atol=1e-6)


def test_the_super_resolution_comes_last(textured: Callable[..., np.ndarray]) -> None:
    """And leaves the others as they are."""
    slices, gaps, fractions = torch.from_numpy(textured((5, 40, 44))), np.array([0, 2]), np.array([0.25, 0.5, 0.8])
    found, context = correspond(slices.numpy(), FLOW).on(CPU), SliceContext.around(gaps, UNEVEN, fractions, 4)
    super_resolved = torch.rand(2, 3, 40, 44, generator=torch.Generator().manual_seed(0))
    without = member_predictions(slices, found, context, SMOOTHING)
    result = member_predictions(slices, found, context, SMOOTHING, super_resolved)
    assert result.shape == (len(MEMBERS), 2, 3, 40, 44) and (*INTERPOLATORS, "super_resolution") == MEMBERS
    assert torch.equal(result[:-1], without) and torch.equal(result[-1], super_resolved)
