"""A model in little room shows what the whole one shows."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rendered_grid import draw_grid
from safetensors.numpy import load_file, save_file
from sharded_model import in_shards

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError, TooLargeError
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.model import tensor_file
from TriplaneGaussianReconLib.model.compact import Coded
from TriplaneGaussianReconLib.model.model import Model
from TriplaneGaussianReconLib.model.model_file import load_model, open_model, save_model
from TriplaneGaussianReconLib.model.shards import Shard
from TriplaneGaussianReconLib.pipeline.reconstruction import reconstruct

GRID = Grid((13, 48, 48), (12.5, -40.0, 7.0), (0.8, 0.8, 2.4))


def made(textured: Any, preset: str) -> Model:
    volume = textured(GRID.shape)
    labels = Segmentation((volume > 0.6)[None].astype(np.uint8), (Segment("part", 1),), GRID)
    observations = Observations.from_volume(Image((1000 * volume).astype(np.int16), GRID),
                                            {"k": Selection.every(13, 4)}, labels)
    return reconstruct(observations, GRID, preset=preset).model


@pytest.fixture(scope="module")
def model(textured: Any) -> Model:
    return made(textured, "fast")


@pytest.mark.parametrize(("preset", "times"), [("fast", 10), ("paper-displaced", 4)])
def test_a_compact_model_shows_what_the_full_one_shows(textured: Any, tmp_path: Path, preset: str, times: int) -> None:
    """`paper-displaced` blends its Gaussians in their order, and moves each of them."""
    model = made(textured, preset)
    full, small = tmp_path / "full.safetensors", tmp_path / "small.safetensors"
    save_model(full, model)
    save_model(small, model, compact=True)
    assert times * small.stat().st_size < full.stat().st_size
    for axis in ("k", "i"):
        across = GRID if axis == "k" else GRID.resampled("k", 0.7)
        one, other = (draw_grid(load_model(path), across, "cpu") for path in (full, small))
        squared = np.mean(((one.image - other.image) / model.intensity.scale) ** 2)
        assert -10 * np.log10(squared) > 60
        assert one.layers is not None and other.layers is not None
        assert (one.layers == other.layers).mean() > 0.999


def test_shards_of_a_compact_model_are_read_one_by_one(model: Model, tmp_path: Path) -> None:
    cut = in_shards(model, 12.0, 19.0)
    save_model(tmp_path / "m.safetensors", cut, compact=True)
    loaded = load_model(tmp_path / "m.safetensors")
    for ours, theirs in zip(loaded.shards, cut.shards, strict=True):
        assert replace(ours, load=theirs.load) == theirs
        near, exact = ours.load(), theirs.load()
        assert torch.equal(near.channels, exact.channels)
        assert float((near.values - exact.values).abs().max()) <= 2.0 ** -12


def test_the_form_of_a_file_is_known(model: Model, tmp_path: Path) -> None:
    for compact, form in ((False, "full"), (True, "compact")):
        save_model(tmp_path / "m.safetensors", model, compact=compact)
        file = open_model(tmp_path / "m.safetensors")
        assert (file.form, file.size) == (form, (tmp_path / "m.safetensors").stat().st_size)


def test_a_compact_model_saved_again_is_the_same(model: Model, tmp_path: Path) -> None:
    save_model(tmp_path / "a.safetensors", model, compact=True)
    save_model(tmp_path / "b.safetensors", load_model(tmp_path / "a.safetensors"), compact=True)
    grid = GRID.resampled("k", 0.7)
    one, other = (draw_grid(load_model(tmp_path / f"{name}.safetensors"), grid, "cpu").image for name in "ab")
    np.testing.assert_allclose(one, other, atol=1e-3 * model.intensity.scale)


def cloud(count: int = 100) -> GaussianParameters:
    """Gaussians with nothing in common."""
    random = torch.Generator().manual_seed(0)
    shapes = {"centres": (3,), "tilts": (2,), "in_plane": (3,), "log_depths": (), "raw_weights": (), "values": (2,),
              "slopes": (2, 3)}
    return GaussianParameters(**{name: torch.randn(count, *shape, generator=random) for name, shape in shapes.items()},
                              channels=torch.randint(0, 70000, (count, 2), generator=random, dtype=torch.int32))


@pytest.mark.parametrize("count", [1, 2, 100])
def test_gaussians_with_nothing_in_common_survive(count: int) -> None:
    given = cloud(count)
    read = Coded.of(given).gaussians(count, 2)
    assert torch.equal(read.channels, given.channels)
    for name, tensor in given.tensors().items():
        assert getattr(read, name).dtype == tensor.dtype
        assert float((getattr(read, name) - tensor).abs().max()) < 0.01, name


def test_what_few_gaussians_differ_in_is_kept_exactly() -> None:
    given = replace(cloud(), values=torch.tensor([0.1, 0.7]).repeat(100, 1), log_depths=torch.full((100,), 0.123))
    read = Coded.of(given).gaussians(100, 2)
    assert torch.equal(read.values, given.values) and torch.equal(read.log_depths, given.log_depths)


def test_enormous_numbers_keep_their_digits() -> None:
    given = replace(cloud(), slopes=torch.full((100, 2, 3), 1e30).mul(cloud().slopes))
    read = Coded.of(given).gaussians(100, 2)
    np.testing.assert_allclose(read.slopes, given.slopes, atol=1e-6 * float(given.slopes.abs().max()))


@pytest.mark.parametrize("harm", [
    lambda coded: replace(coded, codes=coded.codes[:-8]), lambda coded: replace(coded, tables=coded.tables[1:]),
    lambda coded: replace(coded, codes=np.zeros_like(coded.codes)),
    lambda coded: replace(coded, columns=-coded.columns), lambda coded: replace(coded, columns=coded.columns * [1, 0])])
def test_what_is_no_gaussian_is_refused(harm: Any) -> None:
    with pytest.raises(ValueError, match="fit|damaged"):
        harm(Coded.of(cloud())).gaussians(100, 2)


def test_places_outside_of_their_table_are_refused() -> None:
    given = replace(cloud(), log_depths=torch.arange(100.0) // 20)
    coded = Coded.of(given)
    shorter = coded.columns.copy()
    column = 3 + 2 + 3  # log_depths
    shorter[column, 0] -= 1
    before = int(np.maximum(coded.columns[:column, 0], 1).sum())
    with pytest.raises(ValueError, match="outside of its table"):
        Coded(shorter, np.delete(coded.tables, before), coded.codes).gaussians(100, 2)


def test_a_code_that_unpacks_to_more_than_it_says_is_refused() -> None:
    with pytest.raises(ValueError, match="fit"):
        Coded.of(cloud()).gaussians(99, 2)


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    save_model(tmp_path / "m.safetensors", model, compact=True)
    return tmp_path / "m.safetensors"


def test_damage_is_told_of_the_file(saved: Path) -> None:
    from safetensors import safe_open

    with safe_open(saved, framework="np") as file:
        metadata = file.metadata()
    tensors = load_file(saved)
    for name in ("columns", "tables", "codes"):
        changed = {**tensors, f"parts.0.{name}": tensors[f"parts.0.{name}"] + 1}
        for texts in (metadata, {"model": metadata["model"]}):  # as checksums tell, and without them
            save_file(changed, saved, texts)
            with pytest.raises(InputError, match=r"m\.safetensors' is damaged or incomplete"):
                load_model(saved).shards[0].load()


def test_a_compact_model_for_which_there_is_no_memory_is_not_unpacked(saved: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a computer with little memory: enough for the file, too little for the Gaussians."""
    size = load_model(saved).shards[0].size
    monkeypatch.setattr(tensor_file, "free_memory", lambda: size)
    monkeypatch.setattr(tensor_file, "_ALWAYS_FREE", 0)
    with pytest.raises(TooLargeError, match="not enough memory for the model"):
        load_model(saved).parameters  # noqa: B018


def test_an_empty_corner_of_the_file_is_no_tensor(model: Model, tmp_path: Path) -> None:
    """Room that was kept for a longer header is filled with blanks, which any reader skips."""
    for compact in (False, True):
        single = replace(model, shards=(Shard.of(model.parameters.subset(torch.arange(3)), model.cutoff),))
        save_model(tmp_path / "m.safetensors", single, compact=compact)
        assert "frame" in load_file(tmp_path / "m.safetensors")
