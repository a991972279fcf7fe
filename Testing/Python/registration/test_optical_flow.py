"""Displacement between slices and its confidence."""
from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.config.registration import FlowConfig
from TriplaneGaussianReconLib.registration.optical_flow import Correspondence, correspond, warp

FLOW = FlowConfig()
INNER = np.s_[10:-10, 10:-10]

pytestmark = pytest.mark.usefixtures("keep_thread_counts")


def gated(found: Correspondence, gap: int) -> np.ndarray:
    return found.on(torch.device("cpu")).gated(FLOW)[gap].numpy()


def displaced(slices: np.ndarray) -> Correspondence:
    return correspond(slices, FLOW)


@pytest.mark.parametrize("motion", [(2.3, -1.6), (-0.7, 0.5), (3.0, 2.0), (0.0, 4.0)])
def test_a_shift_is_found(textured: Callable[..., np.ndarray], motion: tuple[float, float]) -> None:
    found = displaced(textured((3, 48, 56), motion, seed=1, count=120, noise=0.003))
    assert found.displacement.shape == (2, 48, 56, 2) and found.confidence.shape == (2, 48, 56)
    assert found.displacement.dtype == found.confidence.dtype == np.float32
    for gap in range(2):
        error = np.linalg.norm(found.displacement[gap][INNER] - motion, axis=-1)
        assert error.max() < 0.3
        assert found.confidence[gap][INNER].mean() > 0.85
        shortened = np.linalg.norm(gated(found, gap)[INNER] - motion, axis=-1)
        assert shortened.mean() < 0.15 * np.linalg.norm(motion)


def test_a_shear_is_found(textured: Callable[..., np.ndarray]) -> None:
    """Rows move along x by up to 2 pixels, in proportion to their distance from the middle row."""
    first = textured((1, 56, 56), seed=2, count=140)[0]
    y, x = np.meshgrid(np.arange(56, dtype=np.float32), np.arange(56, dtype=np.float32), indexing="ij")
    shear = (y - 27.5) * np.float32(2 / 27.5)
    second = cv2.remap(first, x - shear, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    found = displaced(np.stack([first, second]))
    error = found.displacement[0] - np.stack([shear, np.zeros_like(shear)], axis=-1)
    assert np.quantile(np.linalg.norm(error[INNER], axis=-1), 0.95) < 0.3
    assert found.confidence[0][INNER].mean() > 0.8


def test_displacement_runs_through_the_middle_of_the_gap(textured: Callable[..., np.ndarray]) -> None:
    """What lies at x half-way lies at x - d/2 on the slice before and at x + d/2 on the slice after."""
    volume = textured((3, 48, 56), (1.4, -0.9), seed=4, count=120)
    displacement = displaced(volume[[0, 2]]).displacement[0]
    for sign, end in ((-0.5, volume[0]), (0.5, volume[2])):
        assert np.abs(warp(end, displacement, sign) - volume[1])[INNER].max() < 0.01
    assert np.abs(warp(volume[0], displacement, 0.5) - volume[1])[INNER].max() > 0.1  # the wrong sign


def test_unrelated_slices_are_not_believed() -> None:
    noise = np.random.default_rng(0).random((4, 48, 56)).astype(np.float32)
    found = displaced(noise)
    assert found.confidence.min() >= 0 and found.confidence.max() <= 1
    assert found.confidence.mean() < 0.4
    for gap in range(3):
        shortened, full = (np.linalg.norm(d, axis=-1).mean() for d in (gated(found, gap), found.displacement[gap]))
        assert shortened < 0.4 and shortened < 0.5 * full


def test_slices_that_do_not_differ(textured: Callable[..., np.ndarray]) -> None:
    still = np.repeat(textured((1, 40, 40), seed=1), 2, axis=0)
    found = displaced(still)
    assert np.abs(found.displacement).max() < 0.05
    blank = displaced(np.zeros((2, 40, 40), np.float32))
    assert np.isfinite(blank.displacement).all() and np.isfinite(blank.confidence).all()
    assert np.abs(blank.displacement).max() < 0.05


@pytest.mark.parametrize("shape", [(FLOW.smallest_side - 1, 60), (60, FLOW.smallest_side - 1), (3, 3), (1, 1)])
def test_tiny_slices_do_not_move(shape: tuple[int, int]) -> None:
    found = displaced(np.random.default_rng(0).random((3, *shape)).astype(np.float32))
    assert found.displacement.shape == (2, *shape, 2) and found.confidence.shape == (2, *shape)
    assert not found.displacement.any() and not found.confidence.any()
    assert not gated(found, 1).any()


def test_the_smallest_slices_that_move(textured: Callable[..., np.ndarray]) -> None:
    found = displaced(textured((2, FLOW.smallest_side, FLOW.smallest_side), (1.0, 0.0), seed=1, count=80))
    assert np.isfinite(found.displacement).all()
    assert abs(found.displacement[0, 8:-8, 8:-8, 0].mean() - 1.0) < 0.3


def test_the_thread_count_does_not_matter(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((4, 64, 72), (1.3, 0.7), noise=0.02, count=140)
    results = []
    for threads in (1, 2, 4):
        cv2.setNumThreads(threads)
        results.append(displaced(slices))
        assert cv2.getNumThreads() == threads  # put back
    for other in results[1:]:
        np.testing.assert_array_equal(other.displacement, results[0].displacement)
        np.testing.assert_array_equal(other.confidence, results[0].confidence)


def test_gaps_do_not_influence_each_other(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((4, 40, 44), (1.3, 0.7), noise=0.02)
    together = displaced(slices)
    np.testing.assert_array_equal(displaced(slices[1:3]).displacement[0], together.displacement[1])


def test_swapped_slices_move_backwards(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((2, 48, 56), (2.0, -1.0), noise=0.01)
    forwards, backwards = displaced(slices), displaced(slices[::-1])
    np.testing.assert_allclose(backwards.displacement, -forwards.displacement, atol=1e-5)
    np.testing.assert_allclose(backwards.confidence, forwards.confidence, atol=1e-4)


def test_gating_shortens_by_the_smoothed_confidence() -> None:
    displacement = np.full((1, 30, 30, 2), 2.0, np.float32)
    confidence = np.zeros((1, 30, 30), np.float32)
    confidence[:, :, 15:] = 1.0
    shortened = gated(Correspondence(displacement, confidence), 0)
    np.testing.assert_allclose(shortened[:, 22:], 2.0, atol=1e-4)
    np.testing.assert_allclose(shortened[:, :8], 0.0, atol=1e-4)
    assert (np.diff(shortened[10, :, 0]) >= 0).all() and 0.5 < shortened[10, 15, 1] < 1.5


def test_warp_samples_along_the_displacement() -> None:
    x = np.arange(20, dtype=np.float32)
    image = np.broadcast_to(3.0 * x + 5.0 * x[:, None], (20, 20)).astype(np.float32).copy()
    displacement = np.broadcast_to(np.float32([1.0, -2.0]), (20, 20, 2))
    for interpolation, tolerance in ((cv2.INTER_CUBIC, 0.2), (cv2.INTER_LINEAR, 1e-4)):
        moved = warp(image, displacement, 0.75, interpolation)
        np.testing.assert_allclose(moved[5:-5, 5:-5], (image + 3.0 * 0.75 - 5.0 * 1.5)[5:-5, 5:-5], atol=tolerance)
    assert warp(image, displacement, 3.0)[0, 19] == image[0, 19]  # the border is repeated


def test_the_flow_is_as_smooth_as_configured(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((2, 48, 56), (2.0, -1.0), noise=0.05)
    rough, smooth = (np.abs(np.diff(correspond(slices, FlowConfig(smoothness=s)).displacement[0], axis=1)).mean()
                     for s in (5.0, 200.0))
    assert smooth < 0.8 * rough
