"""Drawing a model that is in shards on planes."""
from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rendered_grid import draw_grid
from repository import ROOT
from sharded_model import in_shards

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.model.model import Model
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction
from TriplaneGaussianReconLib.rendering.planes import draw
from TriplaneGaussianReconLib.runtime import memory


def oblique(rotation: tuple) -> Grid:
    """A grid whose planes each cross the whole model."""
    tilted = Grid((12, 16, 18), spacing=(1.1, 1.1, 1.1), direction=rotation)
    return replace(tilted, origin=np.array([17.0, 16.0, 12.0]) - tilted.index_to_physical(np.array([8.5, 7.5, 5.5])))


@pytest.mark.parametrize("mode", ["normalised", "additive"])
@pytest.mark.parametrize("at_a_time", ["all", "few"])
@pytest.mark.parametrize("place", ["along", "oblique", "across"])
def test_shards_draw_what_the_whole_draws(result: Reconstruction, rotation: tuple, monkeypatch: pytest.MonkeyPatch,
                                          place: str, at_a_time: str, mode: str) -> None:
    grid = {"along": result.volume.grid, "oblique": oblique(rotation),
            "across": Grid((3, 14, 20), (0.0, 12.0, 0.0), direction=((1, 0, 0), (0, 0, 1), (0, -1, 0)))}[place]
    whole = replace(result.model, mode=mode)
    cut = in_shards(whole, 4.7, 9.5, 14.3, 19.1)
    assert len(cut.shards) == 10 and cut.count == whole.count
    if at_a_time == "few":
        monkeypatch.setattr(memory, "CLOUD_BYTES", int(1.2 * max(shard.size for shard in cut.shards)))
        monkeypatch.setattr(memory, "RASTER_BYTES", 40_000)
    ours, theirs = draw_grid(cut, grid, "cpu"), draw_grid(whole, grid, "cpu")
    np.testing.assert_allclose(ours.image, theirs.image, atol=2e-3)
    assert np.ptp(theirs.image) > 200
    assert ours.layers is not None and theirs.layers is not None
    assert (ours.layers == theirs.layers).mean() > 0.9999 and (theirs.layers == 5).any()


def test_only_shards_whose_support_touches_a_plane_are_loaded(result: Reconstruction, model: Model) -> None:
    loaded = []
    cut = in_shards(model, 2.9, 5.9, 8.9, 11.9, 14.9, 17.9, 20.9)

    def noted(number: int) -> GaussianParameters:
        loaded.append(number)
        return cut.shards[number].load()

    watched = replace(cut, shards=tuple(replace(shard, load=lambda n=n: noted(n))
                                        for n, shard in enumerate(cut.shards)))
    plane = result.volume.grid.planes("k", np.array([1.0]))
    np.testing.assert_allclose(draw(watched, plane, "cpu").image, draw(model, plane, "cpu").image, atol=1e-3)
    assert loaded and max(loaded) < 4


def test_a_plane_that_nothing_reaches_is_background(model: Model) -> None:
    drawn = draw(model, Grid((2, 3, 4), origin=(0, 0, 500)).planes("k", np.arange(2)), "cpu")
    scale = model.intensity
    np.testing.assert_allclose(drawn.image, scale.to_input(np.float32(scale.background)))
    assert drawn.layers is not None and not drawn.layers.any()


def test_drawing_loads_nothing_that_trains() -> None:
    """No optimisers, losses, networks or presets."""
    code = "import sys, TriplaneGaussianReconLib.rendering.planes; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                            cwd=ROOT).stdout.split()
    library = "TriplaneGaussianReconLib."
    assert library + "model.model" in loaded
    unwanted = [name for name in loaded
                if name.startswith((library + "fitting", library + "self_supervised", library + "config.presets"))]
    assert not unwanted
