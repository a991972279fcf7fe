"""Model files keep every bit and refuse what is none."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from posix_case import POSIX, SHORTFALLS, room_for
from rendered_grid import draw_grid
from safetensors import safe_open
from safetensors.torch import save_file
from sharded_model import in_shards

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError, OutputError
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.model.model_file import load_model, save_model
from TriplaneGaussianReconLib.model.shards import Shard
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction, reconstruct
from TriplaneGaussianReconLib.rendering.volume import expected_error_on_grid

SHAPE = (9, 20, 24)


@pytest.fixture(scope="module")
def result(textured: Any, rotation: Any) -> Reconstruction:
    """A labelled reconstruction on an oblique grid, of overlapping segments."""
    volume = textured(SHAPE)
    grid = Grid(SHAPE, (12.5, -40.0, 7.0), (0.8, 0.8, 2.5), rotation)
    layers = np.stack([volume > 0.6, volume > 0.5]).astype(np.uint8)
    segments = (Segment("Tumour β", 1, 0, "a", (1.0, 0.25, 0.1)), Segment("halo", 1, 1))
    observations = Observations.from_volume(Image((1000 * volume).astype(np.int16), grid),
                                            {"k": Selection.every(9, 2)}, Segmentation(layers, segments, grid))
    return reconstruct(observations, grid)


@pytest.fixture
def saved(result: Reconstruction, tmp_path: Path) -> Path:
    save_model(tmp_path / "model.safetensors", result.model)
    return tmp_path / "model.safetensors"


def test_a_loaded_model_draws_the_same_bits(result: Reconstruction, saved: Path) -> None:
    loaded, grid = load_model(saved), result.volume.grid
    finer = grid.resampled("k", 0.9)
    for there in (grid, finer):
        ours, theirs = draw_grid(loaded, there, "cpu"), draw_grid(result.model, there, "cpu")
        assert ours.image.tobytes() == theirs.image.tobytes()
        assert ours.layers is not None and theirs.layers is not None
        assert ours.layers.tobytes() == theirs.layers.tobytes()
        error = expected_error_on_grid(loaded, there)
        assert error.tobytes() == expected_error_on_grid(result.model, there).tobytes()


def test_the_rendered_file_is_the_output(result: Reconstruction, saved: Path) -> None:
    drawn = draw_grid(load_model(saved), result.volume.grid, "cpu")
    np.testing.assert_array_equal(np.rint(drawn.image), result.volume.array)


def test_everything_else_survives(result: Reconstruction, saved: Path) -> None:
    loaded, model = load_model(saved), result.model
    assert loaded.segments == model.segments
    assert loaded.intensity == model.intensity
    assert loaded.provenance == json.loads(json.dumps(model.provenance))
    assert (loaded.mode, loaded.cutoff) == (model.mode, model.cutoff)
    assert loaded.expected_error.at_observed == model.expected_error.at_observed
    np.testing.assert_array_equal(loaded.frame, model.frame)
    for name, tensor in model.parameters.tensors().items():
        assert getattr(loaded.parameters, name).dtype == tensor.dtype


def test_gaussians_that_were_read_do_not_depend_on_the_file(saved: Path) -> None:
    read = load_model(saved).parameters
    before = read.centres.clone()
    saved.write_bytes(bytes(saved.stat().st_size))
    assert torch.equal(read.centres, before)


def test_gaussians_of_a_file_that_changed_are_refused(saved: Path) -> None:
    loaded = load_model(saved)
    saved.write_bytes(bytes(saved.stat().st_size))
    with pytest.raises(InputError, match="is no model file, or is damaged"):
        draw_grid(loaded, Grid((1, 4, 4)), "cpu")


def test_shards_survive(result: Reconstruction, tmp_path: Path) -> None:
    model = in_shards(result.model, 4.0, 9.0)
    save_model(tmp_path / "m.safetensors", model)
    loaded = load_model(tmp_path / "m.safetensors")
    assert len(loaded.shards) == 3
    for ours, theirs in zip(loaded.shards, model.shards, strict=True):
        assert replace(ours, load=theirs.load) == theirs
        for name, tensor in theirs.load().tensors().items():
            assert torch.equal(getattr(ours.load(), name), tensor), name


def test_any_program_can_read_the_tensors(result: Reconstruction, saved: Path) -> None:
    with safe_open(saved, framework="np") as file:
        assert set(file.keys()) >= {"frame", "parts.0.centres", "parts.0.channels", "expected_error.middle"}
        np.testing.assert_array_equal(file.get_tensor("parts.0.slopes"), result.model.parameters.slopes.numpy())
        np.testing.assert_array_equal(file.get_tensor("frame"), result.model.frame)


def test_the_former_format_is_read(result: Reconstruction, saved: Path) -> None:
    """Format 1 had all Gaussians under one name, and said nothing about shards."""
    tensors = {f"gaussians.{name}": tensor for name, tensor in result.model.parameters.tensors().items()}
    former = load_model(rewritten(saved, {"version": 1}, "parts", tensors))
    assert former.shards[0].support == result.model.shards[0].support and len(former.shards) == 1
    ours, theirs = (draw_grid(model, result.volume.grid, "cpu") for model in (former, result.model))
    assert ours.image.tobytes() == theirs.image.tobytes()


def test_a_file_of_the_former_program_is_read() -> None:
    """It was written before files had checksums; what it shows is beside it."""
    model = load_model(Path(__file__).with_name("former_model.safetensors"))
    assert model.segments == (Segment("Tumour β", 1, 0, "a", (1.0, 0.25, 0.1)),)
    drawn = draw_grid(model, Grid((5, 8, 8), spacing=(1, 1, 3)), "cpu")
    assert np.abs(drawn.image - np.load(Path(__file__).with_name("former_model.npy"))).max() < 1


def test_a_model_without_labels_survives(result: Reconstruction, tmp_path: Path) -> None:
    model = replace(result.model, shards=(Shard.of(result.model.parameters.image_only(), 12.0),), segments=())
    save_model(tmp_path / "m.safetensors", model)
    assert load_model(tmp_path / "m.safetensors").segments == ()


# ---------------------------------------------------------------------------------------------------- what is refused


def rewritten(path: Path, change: dict[str, Any], drop: str = "",
              tensors: dict[str, torch.Tensor] | None = None) -> Path:
    """Write the model file `path` again with some of its description or tensors changed."""
    with safe_open(path, framework="pt") as file:
        content = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        description = {**json.loads(file.metadata()["model"]), **change}
    description.pop(drop, None)
    if description["version"] == 1:
        content = {name: tensor for name, tensor in content.items() if not name.startswith("parts.")}
    content.update(tensors or {})
    content.pop(drop, None)
    other = path.with_name("other.safetensors")
    save_file(content, other, {"model": json.dumps(description)})
    return other


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(InputError, match="does not exist or is a folder.*--save-model"):
            load_model(path)


@pytest.mark.parametrize("content", [b"", b"no model at all, but some text", bytes(1000)])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="is no model file, or is damaged"):
        load_model(tmp_path / "m.safetensors")


def test_a_file_cut_short_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        load_model(saved)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"model": "no JSON"}, {"model": "[]"}, {"model": "{}"}])
def test_foreign_safetensors_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "net.safetensors", metadata)
    with pytest.raises(InputError, match="no model of this program"):
        load_model(tmp_path / "net.safetensors")


def test_a_newer_format_asks_for_an_update(saved: Path) -> None:
    with pytest.raises(InputError, match="format 4;.*Update the program"):
        load_model(rewritten(saved, {"version": 4}))


@pytest.mark.parametrize("drop", ["frame", "parts.0.tilts", "expected_error.step", "intensity", "segments", "cutoff",
                                  "parts"])
def test_a_missing_part_is_named(saved: Path, drop: str) -> None:
    with pytest.raises(InputError, match=f"damaged or incomplete.*{drop}"):
        load_model(rewritten(saved, {}, drop))


@pytest.mark.parametrize(("change", "tensors"), [
    ({"mode": "magic"}, {}), ({}, {"frame": torch.eye(3)}), ({}, {"parts.0.centres": torch.zeros(2, 3)}),
    ({}, {"expected_error.offsets": torch.zeros(2)}), ({"version": "one"}, {}), ({"segments": [{"color": None}]}, {})])
def test_parts_that_do_not_fit_are_refused(saved: Path, change: dict[str, Any],
                                            tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(InputError, match="damaged|no model of this program"):
        load_model(rewritten(saved, change, tensors=tensors))


def test_a_failed_write_leaves_the_old_file(result: Reconstruction, saved: Path) -> None:
    before = saved.read_bytes()

    def fail() -> GaussianParameters:
        raise OSError(28, "No space left on device")

    lost = replace(result.model, shards=(*result.model.shards, replace(result.model.shards[0], load=fail)))
    with pytest.raises(OutputError, match="was not written: No space left on device"):
        save_model(saved, lost)
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


@POSIX
def test_a_full_disk_leaves_the_old_file(result: Reconstruction, saved: Path) -> None:
    before = saved.read_bytes()
    for shortfall in SHORTFALLS:
        with room_for(len(before) - shortfall), pytest.raises(OutputError, match="was not written: File too large"):
            save_model(saved, result.model)
        assert saved.read_bytes() == before and len(list(saved.parent.iterdir())) == 1


@pytest.mark.parametrize(("name", "error"), [("m.nrrd", InputError), ("missing/m.safetensors", OutputError)])
def test_unusable_model_names_are_refused(result: Reconstruction, tmp_path: Path, name: str,
                                          error: type[Exception]) -> None:
    with pytest.raises(error):
        save_model(tmp_path / name, result.model)
