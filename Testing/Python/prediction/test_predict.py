"""What is expected between the observed slices."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.config.prediction import CrossingConfig, EnsembleConfig
from TriplaneGaussianReconLib.config.registration import FlowConfig
from TriplaneGaussianReconLib.config.self_supervised import SuperResolutionConfig
from TriplaneGaussianReconLib.data.geometry import Grid, PlaneStack
from TriplaneGaussianReconLib.data.model_space import ModelSpaceStack
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.prediction import predict as prediction
from TriplaneGaussianReconLib.prediction.ensemble import EnsembleWeights
from TriplaneGaussianReconLib.prediction.error_model import ErrorModel
from TriplaneGaussianReconLib.prediction.interpolators import INTERPOLATORS, MEMBERS, member_predictions
from TriplaneGaussianReconLib.prediction.predict import Prediction, corrected, predict
from TriplaneGaussianReconLib.registration.optical_flow import correspond
from TriplaneGaussianReconLib.self_supervised.networks import ResidualNetwork
from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext
from TriplaneGaussianReconLib.self_supervised.super_resolution import SuperResolution

FLOW, ENSEMBLE, CROSSING = FlowConfig(), EnsembleConfig(), CrossingConfig()
WEIGHTS = np.array([ENSEMBLE.usual.get(name, 0.0) for name in INTERPOLATORS])
MODEL = ErrorModel(0.01, (0.5, 0.2, 0.3), ENSEMBLE.neighbourhood)
USUALLY = EnsembleWeights(WEIGHTS, MODEL, 1.0, ())
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("keep_thread_counts")


def stack(offsets: np.ndarray, rows: int, columns: int, pixel: float = 1.0) -> PlaneStack:
    origins = np.stack([np.zeros_like(offsets), np.zeros_like(offsets), offsets], axis=1)
    return PlaneStack(origins, [0, pixel, 0], [pixel, 0, 0], rows, columns)


def wide_or_narrow(offsets: np.ndarray, pixel: float = 1.0) -> np.ndarray:
    """Three planes in gaps of more than two pixels, otherwise one."""
    return np.where(np.diff(offsets) > 2 * pixel, 3, 1)


def predicted(slices: np.ndarray, offsets: np.ndarray, pixel: float = 1.0) -> list[Prediction]:
    planes = stack(offsets, *slices.shape[1:], pixel)
    return predict(planes, slices, wide_or_narrow(offsets, pixel), correspond(slices, FLOW), USUALLY, lambda done: None)


def test_gaps_have_as_many_images_as_wanted(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((5, 32, 36))
    offsets, counts = np.array([0.0, 2.0, 6.0, 7.0, 12.0]), np.array([1, 3, 2, 3])
    result = predict(stack(offsets, 32, 36), slices, counts, correspond(slices, FLOW), USUALLY, lambda done: None)
    assert [p.images.shape for p in result] == [(n, 32, 36) for n in counts]
    np.testing.assert_allclose(result[0].planes.offsets, [1.0])
    np.testing.assert_allclose(result[1].planes.offsets, [3.0, 4.0, 5.0])
    np.testing.assert_allclose(result[2].planes.offsets, [6 + 1 / 3, 6 + 2 / 3])
    np.testing.assert_allclose(result[3].planes.offsets, [8.25, 9.5, 10.75])
    assert all(p.expected_error.shape == (32, 36) for p in result)


def test_images_and_errors_are_the_ensembles(textured: Callable[..., np.ndarray]) -> None:
    slices, offsets = textured((4, 32, 36)), np.array([0.0, 4.0, 8.0, 12.0])
    result = predicted(slices, offsets)
    for gap in range(3):
        context = SliceContext.around(np.array([gap]), offsets, np.array([0.25, 0.5, 0.75]), 4)
        found = correspond(slices, FLOW).on(CPU)
        by_member = member_predictions(torch.from_numpy(slices), found, context, ENSEMBLE.smoothing)[:, 0]
        apart = torch.from_numpy(slices[gap + 1] - slices[gap])
        assert torch.equal(result[gap].images, USUALLY.mixture(by_member))
        expected = USUALLY.expected_error(by_member[:, 1], apart, found.confidence[gap])
        assert torch.equal(result[gap].expected_error, expected)


def test_how_many_gaps_are_worked_on_at_a_time_does_not_matter(textured: Callable[..., np.ndarray],
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are alike, as on a GPU, or one, as on the CPU."""
    slices, offsets = textured((6, 32, 36), (1.0, -1.5), noise=0.05), np.array([0.0, 2.0, 6.0, 7.0, 12.0, 15.0])
    alone = predicted(slices, offsets)
    monkeypatch.setattr(prediction, "shares", lambda pieces, size, device: [pieces])
    for a, b in zip(predicted(slices, offsets), alone, strict=True):
        np.testing.assert_array_equal(a.planes.origins, b.planes.origins)
        assert torch.equal(a.images, b.images) and torch.equal(a.expected_error, b.expected_error)


def test_planes_run_obliquely_where_the_stack_does(textured: Callable[..., np.ndarray]) -> None:
    planes = PlaneStack([[0, 0, 0], [1, 2, 4]], [0, 1, 0], [1, 0, 0], 32, 36)
    slices = textured((2, 32, 36))
    result, = predict(planes, slices, np.array([3]), correspond(slices, FLOW), USUALLY, lambda done: None)
    np.testing.assert_allclose(result.planes.origins, [[0.25, 0.5, 1], [0.5, 1, 2], [0.75, 1.5, 3]])


def test_the_thread_count_does_not_matter(textured: Callable[..., np.ndarray]) -> None:
    slices, results = textured((4, 190, 200), (1.0, -1.5), noise=0.05), []  # torch splits work of this size
    for threads in (1, 2, 4):
        cv2.setNumThreads(threads)
        torch.set_num_threads(threads)
        results.append(predicted(slices, np.arange(4) * 4.0))
        assert torch.get_num_threads() == threads  # put back
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert torch.equal(a.images, b.images) and torch.equal(a.expected_error, b.expected_error)


def test_the_tick_tells_how_far_and_may_stop(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((5, 32, 36))
    planes, counts, told = stack(np.arange(5) * 4.0, 32, 36), np.full(4, 3), []
    predict(planes, slices, counts, correspond(slices, FLOW), USUALLY, told.append)
    assert told == [0.0, 0.25, 0.5, 0.75]

    def stop(done: float) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        predict(planes, slices, counts, correspond(slices, FLOW), USUALLY, stop)


def network_of(planes: int, widths: tuple[float, float], size: int = 4) -> SuperResolution:
    """One with some answer, that was not trained."""
    generator = torch.Generator().manual_seed(planes)
    network = ResidualNetwork(size, planes, 4, 1, (1, 5), generator, size + planes)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    config = SuperResolutionConfig(4, 1, steps=1, batch=1, rate=0.0, augmentations=2)
    return SuperResolution(network=network, config=config, size=size, widths=widths)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("counts", [(), (1,), (3,), (1, 3)])
def test_some_gaps_are_bridged_by_a_network(textured: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch,
                                            counts: tuple[int, ...], together: bool) -> None:
    """Those with as many planes as one was trained for, if it bridges their width; the others without it."""
    if together:  # all that are alike, as on a GPU
        monkeypatch.setattr(prediction, "shares", lambda pieces, size, device: [pieces])
    slices, offsets = textured((8, 32, 36), noise=0.02), np.array([0.0, 1.0, 3.0, 7.0, 12.0, 18.0, 20.0, 24.0])
    weights = np.zeros(len(MEMBERS))
    weights[[0, -1]] = 0.25, 0.75
    ensemble = EnsembleWeights(weights, MODEL, 1.0, ())
    every = {1: network_of(1, (1.5, 39.0), size=6), 3: network_of(3, (1.5, 5.0))}
    planes, found = stack(offsets, 32, 36), correspond(slices, FLOW)
    result = predict(planes, slices, wide_or_narrow(offsets), found, ensemble, lambda done: None,
                     super_resolutions={count: every[count] for count in counts})
    assert [len(each.images) for each in result] == [1, 1, 3, 3, 3, 1, 3]
    bridged = {gap for gap, planes_in in ((1, 1), (5, 1), (2, 3), (3, 3), (6, 3)) if planes_in in counts}
    for gap, each in enumerate(result):
        count, number = len(each.images), np.array([gap])
        fractions = np.arange(1, count + 1) / (count + 1)
        context = SliceContext.around(number, offsets, fractions, 4)
        by_member = member_predictions(torch.from_numpy(slices), found.on(CPU), context, ENSEMBLE.smoothing)
        if gap in bridged:
            network = every[count]
            lines = SliceContext.around(number, offsets, fractions, network.size)
            by_member = torch.cat([by_member, network.predict(torch.from_numpy(slices), lines)[None]])
        torch.testing.assert_close(each.images, ensemble.mixture(by_member)[0], atol=1e-5, rtol=0.0)
        expected = ensemble.expected_error(by_member[:, 0, count // 2], torch.from_numpy(slices[gap + 1] - slices[gap]),
                                           found.on(CPU).confidence[gap])
        torch.testing.assert_close(each.expected_error, expected, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("keep", [2, 4])
@pytest.mark.parametrize("axis", ["i", "j"])
def test_crossing_slices_replace_what_they_cross(textured: Callable[..., np.ndarray], keep: int, axis: str) -> None:
    """The truth on crossed pixels, exactly; nearer to it beside them; unchanged far from them."""
    volume = textured((9, 32, 36), (2.0, -1.5), noise=0.02)
    grid, number = Grid(volume.shape), 12
    plain = predicted(volume[::keep], np.arange(0.0, 9, keep))
    planes = grid.planes(axis, np.array([number]))  # type: ignore[arg-type]
    pixels = np.take(volume, [number], 2 if axis == "i" else 1)
    pixels = np.moveaxis(pixels, 2 if axis == "i" else 1, 0)
    result = corrected(plain, [ModelSpaceStack(planes, pixels, None)], CROSSING)
    across = (lambda image, n: image[:, n]) if axis == "i" else (lambda image, n: image[n])
    for before, after in zip(plain, result, strict=True):
        assert after.planes is before.planes
        for offset, image, old in zip(after.planes.offsets, after.images.numpy(), before.images.numpy(), strict=True):
            truth = volume[round(offset)]
            np.testing.assert_array_equal(across(image, number), across(truth, number))
            assert np.abs(across(old, number) - across(truth, number)).max() > 1e-3
            np.testing.assert_array_equal(across(image, number - 9), across(old, number - 9))
            np.testing.assert_array_equal(across(image, number + 9), across(old, number + 9))
            assert not np.array_equal(across(image, number + 1), across(old, number + 1))


def test_a_residual_fades_around_the_crossing() -> None:
    """A constant error of 1 is taken away fully where it was seen and less and less beside it."""
    planes = stack(np.array([2.0]), 20, 30)
    plain = Prediction(planes, torch.zeros(1, 20, 30), torch.zeros(20, 30))
    crossing = replace(Grid((5, 20, 30)).planes("i", np.array([15])))
    ones = ModelSpaceStack(crossing, np.ones((1, 5, 20), np.float32), None)
    image = corrected([plain], [ones], CROSSING)[0].images[0].numpy()
    np.testing.assert_array_equal(image[:, 15], 1.0)
    right, left = image[10, 15:], image[10, 15::-1]
    np.testing.assert_allclose(right[:10], left[:10], atol=1e-5)
    assert (np.diff(right) <= 1e-7).all() and 0.3 < right[1] < 1.0 and right[8] < 1e-3


def test_crossing_slices_of_two_axes() -> None:
    volume = np.random.default_rng(0).random((5, 20, 30)).astype(np.float32)
    planes = stack(np.array([2.0]), 20, 30)
    plain = Prediction(planes, torch.zeros(1, 20, 30), torch.zeros(20, 30))
    grid = Grid(volume.shape)
    crossing = [ModelSpaceStack(grid.planes("i", np.array([4, 20])), np.moveaxis(volume[:, :, [4, 20]], 2, 0), None),
                ModelSpaceStack(grid.planes("j", np.array([7])), np.moveaxis(volume[:, [7]], 1, 0), None)]
    image = corrected([plain], crossing, CROSSING)[0].images[0].numpy()
    np.testing.assert_array_equal(image[:, [4, 20]], volume[2][:, [4, 20]])
    np.testing.assert_array_equal(image[7], volume[2, 7])
    np.testing.assert_array_equal(plain.images, 0)  # the input is left alone


def test_crossing_slices_elsewhere_change_nothing() -> None:
    planes = stack(np.array([2.0]), 20, 30)
    plain = Prediction(planes, torch.full((1, 20, 30), 0.5), torch.zeros(20, 30))
    far = Grid((5, 20, 30), origin=(100, 0, 0)).planes("i", np.array([4]))
    image = corrected([plain], [ModelSpaceStack(far, np.ones((1, 5, 20), np.float32), None)], CROSSING)[0].images
    np.testing.assert_array_equal(image, plain.images)
