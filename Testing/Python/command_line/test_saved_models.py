"""`info`, `export` and `render`: what can be done with models that were saved."""
from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from TriplaneGaussianReconLib.command_line.info import describe
from TriplaneGaussianReconLib.command_line.saved_model import box_of
from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation
from TriplaneGaussianReconLib.model.model_file import load_model

Run = Callable[..., int]


def test_info_for_people_and_programs(run: Run, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", finished / "model.safetensors") == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("gaussians", "Tumour", "Oedema", "fast", "not a medical device"))
    assert run("info", finished / "model.safetensors", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["size_mm"] == pytest.approx([33 * 0.9, 29 * 0.9, 10 * 2.7], abs=1e-3)
    assert facts["pixel_mm"] == pytest.approx([0.9, 0.9], abs=1e-3)
    assert facts["labels"] == ["Tumour", "Oedema"]
    assert run("info", finished / "report.json") == 2
    assert "is no model file" in capsys.readouterr().err


def test_the_mean_expected_error_is_that_of_what_was_seen(finished: Path) -> None:
    """Elsewhere the whole range of intensities stands."""
    model = load_model(finished / "model.safetensors")
    whole, middle = model.intensity.highest - model.intensity.lowest, model.expected_error.middle.copy()
    middle[0], middle[1:] = whole, 5.0
    for errors, mean in ((middle, 5.0), (np.full_like(middle, whole), whole)):
        changed = replace(model, expected_error=replace(model.expected_error, middle=errors))
        assert describe(changed)["mean_expected_error_between_slices"] == pytest.approx(mean)


def test_export(run: Run, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", finished / "model.safetensors", "m.ply") == 0
    assert Path("m.ply").read_bytes().startswith(b"ply\n")
    assert run("export", finished / "model.safetensors", "m.obj") == 2
    assert "Use .ply" in capsys.readouterr().err


def test_a_plane_across_k_is_a_slice_of_the_result(run: Run, finished: Path) -> None:
    dense, labels = read_image(finished / "dense.nii.gz"), read_segmentation(finished / "dense.seg.nrrd")
    assert run("render", finished / "model.safetensors", "--axis", "k", "--position", 3 * 2.7, "--output", "p.nrrd",
               "--output-labels", "p.seg.nrrd") == 0
    plane = read_image("p.nrrd")
    assert plane.grid.shape == (1, 30, 34)
    np.testing.assert_allclose(plane.grid.origin, dense.grid.index_to_physical(np.array([0, 0, 3])), atol=1e-3)
    np.testing.assert_allclose(plane.grid.direction, dense.grid.direction, atol=1e-5)
    np.testing.assert_allclose(plane.array[0], dense.array[3], atol=1.0)
    drawn = read_segmentation("p.seg.nrrd")
    assert [segment.name for segment in drawn.segments] == ["Tumour", "Oedema"]
    assert (drawn.layers[:, 0] == labels.layers[:, 3]).mean() > 0.999


@pytest.mark.parametrize(("axis", "shape"), [("i", (1, 31, 30)), ("j", (1, 31, 34))])
def test_planes_across_rows_and_columns(run: Run, finished: Path, axis: str, shape: tuple[int, int, int]) -> None:
    dense = read_image(finished / "dense.nii.gz").array
    assert run("render", finished / "model.safetensors", "--axis", axis, "--position", 10 * 0.9, "--output",
               "p.nrrd") == 0
    plane = read_image("p.nrrd")
    assert plane.grid.shape == shape
    there = dense[:, :, 10] if axis == "i" else dense[:, 10]
    np.testing.assert_allclose(plane.array[0, ::3], there, atol=1.0)


@pytest.mark.parametrize(("normal", "axis", "columns", "rows"), [
    ("0,0,-2", "axial", (1, 0, 0), (0, 1, 0)), ("0,1,0", "coronal", (1, 0, 0), (0, 0, -1)),
    ("1,0,0", "sagittal", (0, 1, 0), (0, 0, -1))])
def test_a_point_and_normal_are_the_plane_across_an_axis(run: Run, finished: Path, normal: str, axis: str,
                                                         columns: tuple[int, ...], rows: tuple[int, ...]) -> None:
    model = finished / "model.safetensors"
    assert run("render", model, "--point=25,-30,20", f"--normal={normal}", "--output", "a.nrrd") == 0
    position = (25, -30, 20)[("sagittal", "coronal", "axial").index(axis)]
    assert run("render", model, "--axis", axis, "--position", position, "--output", "b.nrrd") == 0
    one, other = read_image("a.nrrd"), read_image("b.nrrd")
    assert one.grid.matches(other.grid)
    np.testing.assert_array_equal(one.array, other.array)
    np.testing.assert_allclose(np.asarray(one.grid.direction)[:, :2].T, [columns, rows], atol=1e-9)
    assert np.linalg.det(one.grid.direction) == pytest.approx(1.0)
    assert np.ptp(one.array) > 300


def test_an_oblique_plane_of_chosen_size(run: Run, finished: Path) -> None:
    assert run("render", finished / "model.safetensors", "--point=25,-30,20", "--normal=1,2,-0.5", "--size", 12,
               "--spacing", 0.5, "--output", "p.nii.gz") == 0
    plane = read_image("p.nii.gz")
    assert plane.grid.shape == (1, 24, 24)
    middle = plane.grid.index_to_physical(np.array([11.5, 11.5, 0.0]))
    np.testing.assert_allclose(middle, (25, -30, 20), atol=1e-3)
    normal = np.asarray(plane.grid.direction)[:, 2]
    assert abs(normal @ [1, 2, -0.5]) == pytest.approx(np.linalg.norm([1, 2, -0.5]), abs=1e-5)


def test_coordinates_may_begin_with_a_minus(run: Run, finished: Path) -> None:
    model = finished / "model.safetensors"
    assert run("render", model, "--point", "-9.5,-30,20", "--normal", "-.5,2,1", "--size", 60, "--output",
               "a.nrrd") == 0
    assert run("render", model, "--point=-9.5,-30,20", "--normal=-.5,2,1", "--size", 60, "--output", "b.nrrd") == 0
    np.testing.assert_array_equal(read_image("a.nrrd").array, read_image("b.nrrd").array)


def test_outside_of_the_model_is_the_lowest_value(run: Run, finished: Path) -> None:
    """And not the background, which is what the border of the slices mostly shows."""
    path, model = finished / "model.safetensors", load_model(finished / "model.safetensors")
    assert run("render", path, "--point=25,-30,20", "--normal=1,2,-0.5", "--size", 150, "--output", "p.nrrd",
               "--output-labels", "p.seg.nrrd") == 0
    plane, labels = read_image("p.nrrd"), read_segmentation("p.seg.nrrd")
    points = plane.grid.planes("k", np.zeros(1)).points().reshape(-1, 3) - model.frame[:3, 3]
    local = (points @ model.frame[:3, :3]).reshape(*plane.array.shape, 3)
    lowest, highest = box_of(model)
    outside = ((local < lowest - 0.46) | (local > highest + 0.46)).any(axis=-1)
    assert 0.5 < outside.mean() < 1
    assert (plane.array[outside] == model.intensity.lowest).all() and (labels.layers[:, outside] == 0).all()
    inside = ((local > lowest + 0.5) & (local < highest - 0.5)).all(axis=-1)
    assert np.median(plane.array[inside]) > model.intensity.lowest + 50


def test_a_window_says_what_is_black_and_white(run: Run, finished: Path) -> None:
    model = finished / "model.safetensors"
    assert run("render", model, "--axis", "k", "--output", "p.nrrd") == 0
    assert run("render", model, "--axis", "k", "--window", "400,200", "--output", "p.png") == 0
    values = read_image("p.nrrd").array[0]
    wanted = np.rint(255 * np.clip((values - 300) / 200, 0, 1))
    assert np.abs(cv2.imread("p.png", cv2.IMREAD_UNCHANGED) - wanted).max() <= 1


def test_zoom_draws_finer_pixels(run: Run, finished: Path) -> None:
    model = finished / "model.safetensors"
    assert run("render", model, "--axis", "k", "--output", "a.nrrd") == 0
    assert run("render", model, "--axis", "k", "--zoom", 3, "--output", "b.nrrd") == 0
    one, other = read_image("a.nrrd"), read_image("b.nrrd")
    assert other.grid.spacing[0] == pytest.approx(one.grid.spacing[0] / 3, rel=1e-5)
    np.testing.assert_allclose(other.array[0, ::3, ::3], one.array[0], atol=0.01)


def test_a_model_takes_no_more_than_was_told_even_where_it_has_gaps_that_the_result_needs_none_of(
        run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct", "volume.nrrd", "--exclude", 3, "--save-model", "m.safetensors") == 0
    found = re.search(r"The model will take up to ([\d.]+) ([kM])B", capsys.readouterr().err)
    assert found is not None
    told = float(found[1]) * {"k": 1e3, "M": 1e6}[found[2]]
    assert 0.5 * told < Path("m.safetensors").stat().st_size < 1.05 * told


def test_a_compact_model_is_written_told_of_and_used(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct", "volume.nrrd", "--keep-every", 2, "--save-model", "m.safetensors",
               "--compact-model") == 0
    printed = capsys.readouterr()
    assert "The model will take up to" in printed.err and re.search(r"model, [\d.]+ kB: +m.safetensors", printed.out)
    assert run("info", "m.safetensors") == 0
    told = capsys.readouterr().out
    assert "compact" in told and str(Path("m.safetensors").stat().st_size) in told
    assert run("export", "m.safetensors", "m.ply") == 0
    assert run("render", "m.safetensors", "--axis", "k", "--output", "p.png") == 0


def test_a_compact_model_has_to_be_saved(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd", "--compact-model") == 2
    assert "Add --save-model" in capsys.readouterr().err


def test_a_picture_is_windowed(run: Run, finished: Path) -> None:
    assert run("render", finished / "model.safetensors", "--axis", "k", "--output", "p.png") == 0
    picture = cv2.imread("p.png", cv2.IMREAD_UNCHANGED)
    assert picture.shape == (30, 34) and picture.dtype == np.uint8
    assert picture.min() < 60 and picture.max() > 180


@pytest.mark.parametrize(("options", "message"), [
    ([], "either both --point and --normal, or --axis"), (["--point", "0,0,0"], "either both"),
    (["--axis", "k", "--normal", "0,0,1"], "either both"), (["--axis", "k", "--position", 900], "misses the model"),
    (["--axis", "k", "--position", "nan"], "--position needs a number"),
    (["--point", "0,0,0", "--normal", "0,0,0"], "normal needs a length"),
    (["--axis", "k", "--spacing", 0], "pixel spacing must be"), (["--axis", "k", "--size", -1], "size must be"),
    (["--axis", "k", "--spacing", "1e-9"], "too large"),
    (["--axis", "k", "--output-labels", "p.nrrd"], "must be different files"),
    (["--axis", "k", "--window", "40,400"], "--window goes with a .png")])
def test_planes_that_cannot_be_drawn(run: Run, finished: Path, capsys: pytest.CaptureFixture[str],
                                     options: list[object], message: str) -> None:
    assert run("render", finished / "model.safetensors", *options, "--output", "p.nrrd") == 2
    assert message in capsys.readouterr().err
    assert os.listdir() == []
