"""Drawing a model that is in parts."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.model.model import Model
from TriplaneGaussianReconLib.model.shards import Shard, by_labels
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction, reconstruct
from TriplaneGaussianReconLib.rendering import rendering
from TriplaneGaussianReconLib.rendering.rendering import VolumeRenderer, draw, draw_grid

SHAPE = (17, 40, 42)


@pytest.fixture(scope="module")
def result(textured: Callable[..., np.ndarray]) -> Reconstruction:
    """With a label that only touches one side."""
    volume, grid = 1000 * textured(SHAPE), Grid(SHAPE, spacing=(1.0, 1.0, 1.5))
    layers = np.zeros((1, *SHAPE), np.uint8)
    layers[0, :, :16, :16] = 5
    observations = Observations.from_volume(Image(volume, grid), {"k": Selection.every(17, 2)},
                                            Segmentation(layers, (Segment("five", 5),), grid))
    return reconstruct(observations, grid, device="cpu")


def cut(model: Model, count: int) -> Model:
    """The model in `count` parts by depth, each again in two: without and with labels."""
    parameters = model.parameters
    depths = parameters.centres[:, 2]
    edges = [-np.inf, *np.linspace(0.0, 24.0, count + 1)[1:-1] - 0.1, np.inf]
    clouds = [parameters.subset((depths >= low) & (depths < high)) for low, high in pairwise(edges)]
    return replace(model, parts=tuple(Shard.of(one, model.cutoff) for cloud in clouds for one in by_labels(cloud)))


def oblique(rotation: tuple) -> Grid:
    """A grid whose planes each cross the whole model."""
    tilted = Grid((12, 16, 18), spacing=(1.1, 1.1, 1.1), direction=rotation)
    return replace(tilted, origin=np.array([17.0, 16.0, 12.0]) - tilted.index_to_physical(np.array([8.5, 7.5, 5.5])))


@pytest.mark.parametrize("mode", ["normalised", "additive"])
@pytest.mark.parametrize("at_a_time", ["all", "few"])
@pytest.mark.parametrize("place", ["along", "oblique", "across"])
def test_parts_draw_what_the_whole_draws(result: Reconstruction, rotation: tuple, monkeypatch: pytest.MonkeyPatch,
                                         place: str, at_a_time: str, mode: str) -> None:
    grid = {"along": result.volume.grid, "oblique": oblique(rotation),
            "across": Grid((3, 14, 20), (0.0, 12.0, 0.0), direction=((1, 0, 0), (0, 0, 1), (0, -1, 0)))}[place]
    whole = replace(result.model, mode=mode)
    parts = cut(whole, 5)
    assert len(parts.parts) == 10 and parts.count == whole.count
    if at_a_time == "few":
        monkeypatch.setattr(rendering, "CLOUD_BYTES", int(1.2 * max(part.size for part in parts.parts)))
        monkeypatch.setattr(rendering, "CHUNK_BYTES", 40_000)
    ours, theirs = draw_grid(parts, grid, "cpu"), draw_grid(whole, grid, "cpu")
    np.testing.assert_allclose(ours.image, theirs.image, atol=2e-3)
    assert np.ptp(theirs.image) > 200
    assert ours.layers is not None and theirs.layers is not None
    assert (ours.layers == theirs.layers).mean() > 0.9999 and (theirs.layers == 5).any()


def test_only_parts_that_reach_a_plane_are_loaded(result: Reconstruction) -> None:
    loaded = []
    model = cut(result.model, 8)

    def noted(number: int) -> GaussianParameters:
        loaded.append(number)
        return model.parts[number].load()

    watched = replace(model, parts=tuple(replace(part, load=lambda n=n: noted(n))
                                         for n, part in enumerate(model.parts)))
    plane = result.volume.grid.planes("k", np.array([1.0]))
    np.testing.assert_allclose(draw(watched, plane, "cpu").image, draw(result.model, plane, "cpu").image, atol=1e-3)
    assert loaded and max(loaded) < 4


def test_a_plane_that_nothing_reaches_is_background(result: Reconstruction) -> None:
    drawn = draw(result.model, Grid((2, 3, 4), origin=(0, 0, 500)).planes("k", np.arange(2)), "cpu")
    scale = result.model.intensity
    np.testing.assert_allclose(drawn.image, scale.to_input(np.float32(scale.background)))
    assert drawn.layers is not None and not drawn.layers.any()


def test_a_canvas_waits_for_what_it_needs(result: Reconstruction) -> None:
    """Planes are drawn in the order in which the Gaussians come, with the same result."""
    model, grid = cut(result.model, 8), result.volume.grid
    volume_renderer = VolumeRenderer(model, grid, np.dtype(np.float32))
    assert volume_renderer.needs == 0.0
    volume_renderer.advance(model.parts[:4], 2.0, "cpu", torch.device("cpu"))
    assert volume_renderer.needs == 3.0  # planes at 0 and 1.5 mm are done
    np.testing.assert_allclose(volume_renderer.volume[:2], result.volume.array[:2], atol=2e-3)
    volume_renderer.advance(model.parts, np.inf, "cpu", torch.device("cpu"))
    assert volume_renderer.needs == np.inf
    np.testing.assert_allclose(volume_renderer.volume, result.volume.array, atol=2e-3)


def test_too_little_memory_draws_less_at_a_time(result: Reconstruction, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the rasterizer that has room for two planes at most."""
    sizes = []

    def small(gaussians: object, planes: rendering.PlaneStack, **options: object) -> object:
        sizes.append(len(planes))
        if len(planes) > 2:
            raise MemoryError
        return rasterize(gaussians, planes, **options)

    from TriplaneGaussianReconLib.fitting import training

    rasterize = training.rasterize
    monkeypatch.setattr(training, "rasterize", small)
    drawn = draw_grid(result.model, result.volume.grid, "cpu")
    assert max(sizes) == 17 and sizes[-1] <= 2
    np.testing.assert_allclose(drawn.image, result.volume.array, atol=1e-3)
    monkeypatch.setattr(training, "rasterize", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draw_grid(result.model, result.volume.grid, "cpu")
