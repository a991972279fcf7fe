"""Drawing a model on a grid, plane by plane, and its expected error there."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from rendered_grid import draw_grid
from sharded_model import in_shards

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.gaussians.cloud import Gaussians
from TriplaneGaussianReconLib.model.model import Model
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction
from TriplaneGaussianReconLib.rendering import renderer
from TriplaneGaussianReconLib.rendering.volume import VolumeRenderer, expected_error_on_grid
from TriplaneGaussianReconLib.runtime import memory


def test_planes_are_drawn_as_soon_as_all_that_touches_them_is_known(result: Reconstruction) -> None:
    """In the order in which the Gaussians come, with the same result."""
    cut, grid = in_shards(result.model, 2.9, 5.9, 8.9, 11.9, 14.9, 17.9, 20.9), result.volume.grid
    volume_renderer = VolumeRenderer(cut, grid, np.dtype(np.float32))
    assert volume_renderer.needs == 0.0 and volume_renderer.plane(0) is None
    volume_renderer.advance(cut.shards[:4], 2.0, "cpu", torch.device("cpu"))
    assert volume_renderer.needs == 3.0  # planes at 0 and 1.5 mm are done
    np.testing.assert_allclose(volume_renderer.volume[:2], result.volume.array[:2], atol=2e-3)
    volume_renderer.advance(cut.shards, np.inf, "cpu", torch.device("cpu"))
    assert volume_renderer.needs == np.inf
    np.testing.assert_allclose(volume_renderer.volume, result.volume.array, atol=2e-3)


def test_too_little_memory_draws_less_at_a_time(result: Reconstruction, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the rasterizer that has room for two planes at most."""
    sizes, rasterize = [], renderer.rasterize

    def small(gaussians: Gaussians, planes: PlaneStack, **options: Any) -> object:
        sizes.append(len(planes))
        if len(planes) > 2:
            raise MemoryError
        return rasterize(gaussians, planes, **options)

    monkeypatch.setattr(renderer, "rasterize", small)
    drawn = draw_grid(result.model, result.volume.grid, "cpu")
    assert max(sizes) == 17 and sizes[-1] <= 2
    np.testing.assert_allclose(drawn.image, result.volume.array, atol=1e-3)


@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError()])
def test_what_less_at_a_time_does_not_help_is_an_error(result: Reconstruction, monkeypatch: pytest.MonkeyPatch,
                                                       error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(renderer, "rasterize", fail)
    with pytest.raises(type(error)):
        draw_grid(result.model, result.volume.grid, "cpu")


def test_the_expected_error_does_not_depend_on_how_many_planes_are_looked_up_at_a_time(
        result: Reconstruction, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "RASTER_BYTES", 1)
    np.testing.assert_array_equal(expected_error_on_grid(model, result.volume.grid), result.confidence.array)
