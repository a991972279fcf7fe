"""The slice that is shown while the rest is under way is one of the result, or what is expected there."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid, array_axis
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.pipeline.reconstruction import Memory, Reconstruction, reconstruct
from TriplaneGaussianReconLib.rendering.preview import Preview

SHAPE = (13, 22, 24)
Textured = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def volume(textured: Textured) -> np.ndarray:
    return (100 + 1000 * textured(SHAPE, (0.5, -0.3))).astype(np.int16)


def previewed(array: np.ndarray, axis: Axis, output: Grid | None = None, memory: Memory | None = None
              ) -> tuple[Reconstruction, list[Preview]]:
    """Reconstruct from every third slice of `array` along `axis`."""
    grid, shown = Grid(array.shape), list[Preview]()
    observations = Observations.from_volume(Image(array, grid), {axis: Selection.every(grid.count(axis), 3)})
    result = reconstruct(observations, output or grid, device="cpu", preview=shown.append, memory=memory)
    return result, shown


@pytest.mark.parametrize("axis", AXES)
def test_a_slice_in_the_middle_is_shown_as_expected_and_then_as_it_is(volume: np.ndarray, axis: Axis) -> None:
    dimension = array_axis(axis)
    array = np.ascontiguousarray(np.moveaxis(volume, 0, dimension))
    result, (expected, final) = previewed(array, axis)
    assert not expected.is_final and final.is_final
    assert expected.axis == final.axis == axis and expected.index == final.index and final.index in (4, 5, 7, 8)
    drawn = result.volume.array.take(final.index, dimension)
    assert final.image.dtype == expected.image.dtype == np.float32
    np.testing.assert_array_equal(final.image, drawn)
    # The model comes close to what was expected, much closer than the next slice does.
    assert np.abs(expected.image - drawn).mean() < 0.3 * np.abs(
        expected.image - result.volume.array.take(final.index + 2, dimension)).mean()


def test_previews_change_no_bit(volume: np.ndarray) -> None:
    with_previews, _ = previewed(volume, "k")
    grid = Grid(SHAPE)
    without = reconstruct(Observations.from_volume(Image(volume, grid), {"k": Selection.every(13, 3)}), grid,
                          device="cpu")
    np.testing.assert_array_equal(with_previews.volume.array, without.volume.array)
    np.testing.assert_array_equal(with_previews.confidence.array, without.confidence.array)


def test_finer_slices_are_shown_at_their_own_places(volume: np.ndarray) -> None:
    finer = Grid(SHAPE).resampled("k", 0.5)
    result, (expected, final) = previewed(volume, "k", finer)
    assert expected.index == final.index and abs(final.index * 0.5 - 7.5) < 0.3
    np.testing.assert_array_equal(final.image, result.volume.array[final.index])


def test_an_output_with_other_pixels_is_shown_once_drawn(volume: np.ndarray) -> None:
    coarser = replace(Grid(SHAPE).resampled("i", 2.0), origin=(0.5, 0.0, 0.0))
    result, (final,) = previewed(volume, "k", coarser)
    assert final.is_final
    np.testing.assert_array_equal(final.image, result.volume.array[final.index])


def test_work_in_slabs_shows_the_slice_once(volume: np.ndarray) -> None:
    result, shown = previewed(volume, "k", memory=Memory(budget=1))
    assert result.report.slabs > 1 and [preview.is_final for preview in shown] == [False, True]


def test_without_memory_for_it_nothing_is_shown(volume: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("TriplaneGaussianReconLib.rendering.preview.predict", lack)
    _, (final,) = previewed(volume, "k")
    assert final.is_final
