"""`reconstruct` with several volumes: up to the solver, for which a stand-in stands, and once with the real one."""
from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_case import pattern, write_slices
from documented_report import undocumented
from stack_case import GRID, blobs, image_of, rigid, thick_stack, voxels_off
from stand_in_solver import FOUND_GAIN, FOUND_SHIFT, StandInSolver

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.io.motion_files import read_motion, write_motion
from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation
from TriplaneGaussianReconLib.io.writers import write_image

Run = Callable[..., int]


@pytest.fixture
def solver(monkeypatch: pytest.MonkeyPatch) -> StandInSolver:
    return StandInSolver.in_place(monkeypatch)


@pytest.fixture
def across(tmp_path: Path, volume: Image) -> Path:
    """A volume about where the other one lies, with thick slices along i."""
    grid = replace(volume.grid, shape=(33, 30, 11), spacing=(2.7, 0.9, 0.9))
    path = tmp_path / "across.nii.gz"
    write_image(path, Image(np.resize(volume.array, grid.shape), grid))
    return path


def test_three_files_become_the_body_that_they_saw(run: Run, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    """With the real solver: the second volume's header is wrong, and it is brighter."""
    body, motion = blobs(), rigid((3.0, -2.0, 1.0), (2.0, 1.0, -1.5))
    for name, stack in (("k", thick_stack(body, "k")), ("j", thick_stack(body, "j", motion, gain=1.2)),
                        ("i", thick_stack(body, "i"))):
        write_image(tmp_path / f"{name}.nrrd", image_of(stack))
    write_image(tmp_path / "truth.nrrd", Image(body, GRID))
    assert run("reconstruct", "k.nrrd", "j.nrrd", "i.nrrd", "--output-grid", "truth.nrrd", "--output", "o.nrrd",
               "--output-motion", "m.json", "--report", "r.json", "--device", "cpu") == 0
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["expected_error"]["median"] > 0 and not undocumented(report)
    inner = (slice(6, -6),) * 3
    errors = (read_image(tmp_path / "o.nrrd").array - body)[inner]
    assert np.sqrt(np.mean(errors ** 2)) < 0.05 * np.ptp(body)
    found = read_motion(tmp_path / "m.json", str(tmp_path / "j.nrrd"))
    assert voxels_off(found, motion) < 0.3 and found.gain == pytest.approx(1.2, rel=0.03)
    said = capsys.readouterr()
    assert re.search(r"Gaussians from 3\d slices", said.out)
    assert re.search(r"^About \d+ (s|min) and [\d.]+ GB on this computer \(\d+ threads?\)\.$", said.err, re.MULTILINE)
    assert re.search(r"Self check: 10% of the pixels, hidden and found again, missed by [\d.]+ grey values", said.out)
    assert re.search(r"Smoothness weight [\d.]+; .*restoration .*, chosen by hidden pixels", said.out)


def test_two_volumes_become_one_result(run: Run, solver: StandInSolver, across: Path, volume: Image, tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct", "volume.nrrd", "--labels", "labels.seg.nrrd", across, "--exclude", "2,3", "--thickness",
               4, "--profile", "box", "--output", "o.nrrd", "--output-labels", "o.seg.nrrd", "--output-confidence",
               "e.nrrd", "--output-motion", "m.json", "--report", "r.json", "--seed", 5, "--device", "cpu") == 0
    assert solver.observations is not None and solver.options["motion"] == "stack" and solver.options["seed"] == 5
    first, second = solver.observations.stacks
    assert len(first.planes) == 11 and (first.thickness, first.profile) == (pytest.approx(2.7), "gaussian")
    assert sorted(second.numbers or ()) == [0, 1, *range(4, 11)]
    assert (second.thickness, second.profile, second.layers) == (4.0, "box", None)
    dense = read_image(tmp_path / "o.nrrd")
    assert dense.array.dtype == volume.array.dtype and dense.grid.spacing == pytest.approx((0.9,) * 3)
    assert {s.name for s in read_segmentation(tmp_path / "o.seg.nrrd").segments} == {"Tumour", "Oedema"}
    found = read_motion(tmp_path / "m.json", str(across))
    assert found.gain == FOUND_GAIN and found.matrix[:3, 3].tolist() == list(FOUND_SHIFT)
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [entry["input"] for entry in report["volumes"]] == [report["input"], str(across)]
    assert report["volumes"][1]["trusted"] == [0, 1, *range(4, 11)]
    said = capsys.readouterr()
    assert "motion:" in said.out and f"volume 2: {across}" in said.err


def test_each_volume_has_its_own_mask(run: Run, solver: StandInSolver, across: Path, volume: Image, tmp_path: Path
                                      ) -> None:
    """That of the second lies on the voxels of the first, and the third volume has none."""
    inside = np.zeros(volume.grid.shape, np.uint8)
    inside[2:9, 8:20, 8:24] = 1
    write_image(tmp_path / "inside.nii.gz", Image(inside, volume.grid))
    assert run("reconstruct", "volume.nrrd", "--mask", "inside.nii.gz", across, "--mask", "inside.nii.gz",
               "volume.nrrd", "--output", "o.nrrd", "--report", "r.json", "--device", "cpu") == 0
    assert solver.observations is not None
    first, second, third = solver.observations.stacks
    assert first.weights is not None and first.weights.sum() == inside.sum() and len(first.planes) == 7
    assert second.weights is not None and third.weights is None
    index = np.round(volume.grid.physical_to_index(second.planes.points()[second.weights > 0])).astype(int)
    assert (index >= (7, 7, 1)).all() and (index <= (24, 20, 9)).all()
    assert solver.observations.dtype == volume.array.dtype
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [each["input_mask"] for each in report["volumes"]] == ["inside.nii.gz", "inside.nii.gz", None]
    assert report["input_mask"] == "inside.nii.gz"
    assert any(note.startswith("Volume 2: The mask's voxels") for note in report["notes"])


@pytest.mark.parametrize("name", ["known.tfm", "known.json"])
def test_a_known_motion_is_taken(run: Run, solver: StandInSolver, across: Path, tmp_path: Path, name: str) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = 5.0, 0.0, 0.0
    gain = 2.0 if name.endswith(".json") else 1.0  # for which a .tfm has no place
    write_motion(tmp_path / name, StackMotion(matrix, gain))
    assert run("reconstruct", "volume.nrrd", across, "--to-first", name, "--motion", "none", "--output-motion",
               "m.json", "--device", "cpu") == 0
    assert solver.observations is not None and solver.options["motion"] == "none"
    planes, given = solver.observations.stacks[1].planes, read_image(across).grid
    back = given.physical_to_index(planes.points() - (5.0, 0.0, 0.0))
    np.testing.assert_allclose(back, np.round(back), atol=1e-4)
    i, j, k = np.round(back).astype(int).transpose(3, 0, 1, 2)
    np.testing.assert_allclose(gain * solver.observations.stacks[1].pixels, read_image(across).array[k, j, i])
    told = read_motion(tmp_path / "m.json", "across.nii.gz")
    np.testing.assert_allclose(told.matrix, matrix, atol=1e-9)
    assert told.gain == gain


@pytest.mark.parametrize(("options", "spacing", "shape"), [
    (["--output-grid", "first"], (0.9, 0.9, 0.9), (31, 30, 34)),
    (["--output-grid", "first", "--output-spacing", "input"], (0.9, 0.9, 2.7), (11, 30, 34)),
    (["--output-grid", "volume.nrrd"], (0.9, 0.9, 2.7), (11, 30, 34)),
    (["--output-spacing", "3"], (3.0, 3.0, 3.0), None),
    (["--output-grid", "union", "--output-spacing", "isotropic"], (0.9, 0.9, 0.9), None)])
def test_the_voxels_of_the_result_can_be_chosen(run: Run, solver: StandInSolver, across: Path, options: list[str],
                                                spacing: tuple[float, ...], shape: tuple[int, ...] | None) -> None:
    assert run("reconstruct", "volume.nrrd", across, *options, "--output", "o.nrrd", "--device", "cpu") == 0
    assert solver.output is not None and solver.output.spacing == pytest.approx(spacing)
    assert shape is None or solver.output.shape == shape


def test_folders_of_dicom_are_volumes(run: Run, solver: StandInSolver, across: Path, tmp_path: Path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    write_slices(folder, pattern())
    assert run("reconstruct", folder, across, "--output", "dense/", "--device", "cpu") == 0
    assert solver.observations is not None
    np.testing.assert_array_equal(len(solver.observations.stacks[0].planes), len(list(folder.iterdir())))
    assert len(list((tmp_path / "dense").iterdir())) == (solver.output or Grid((1, 1, 1))).shape[0]


@pytest.mark.parametrize(("argv", "what"), [
    (["volume.nrrd", "--thickness", "3", "--cover-voxels"], "--cover-voxels does not go with several volumes, or with"),
    (["volume.nrrd", "--thickness", "3", "--texture", "even"], "--texture even does not go with several volumes"),
    (["volume.nrrd", "--motion", "none"], "--motion is for several volumes"),
    (["volume.nrrd", "--output-grid", "first"], "--output-grid is for several volumes"),
    (["volume.nrrd", "volume.nrrd", "--trust", "k:all"], "--trust does not go with several volumes"),
    (["volume.nrrd", "volume.nrrd", "--cover-voxels"], "--cover-voxels does not go with several volumes"),
    (["volume.nrrd", "nowhere.nrrd"], "Volume 2: 'nowhere.nrrd' does not exist"),
    (["volume.nrrd", "volume.nrrd", "--slices", "20"], "Volume 2: Slice 20 does not exist"),
    (["volume.nrrd", "volume.nrrd", "--slices", "segmented"], "Volume 2: Slices with labels are asked for"),
    (["volume.nrrd", "volume.nrrd", "--to-first", "nowhere.tfm"], "Volume 2: 'nowhere.tfm' cannot be used: it does"),
    (["volume.nrrd", "--to-first", "t.tfm", "volume.nrrd"], "The first volume lies where it lies"),
    (["volume.nrrd", "volume.nrrd", "--output-spacing", "input"], "--output-spacing: Several volumes have no common"),
    (["volume.nrrd", "volume.nrrd", "--output-spacing", "500"], "--output-spacing: Voxels of 500 mm leave only one"),
    (["volume.nrrd", "volume.nrrd", "--output-spacing", "2", "--output-grid", "volume.nrrd"],
     "--output-grid and --output-spacing: The spacing of the result is that of the volume"),
    (["volume.nrrd", "volume.nrrd", "--slices", "3"], "Volume 2 has one slice alone"),
    (["volume.nrrd", "volume.nrrd", "--mask", "nowhere.nrrd"], "Volume 2: 'nowhere.nrrd' does not exist"),
    (["volume.nrrd", "volume.nrrd", "--mask", "far.nrrd"], "Volume 2: The mask lies outside the volume"),
    (["volume.nrrd", "volume.nrrd", "--mask", "far.nrrd", "--report", "far.nrrd"], "overwrite the input 'far.nrrd'"),
    (["volume.nrrd", "volume.nrrd", "--output-labels", "l.nrrd"], "--output-labels needs --labels"),
    (["volume.nrrd", "volume.nrrd", "--output-motion", "m.tfm"], "extension"),
    (["volume.nrrd", "volume.nrrd", "--report", "t.tfm", "--to-first", "t.tfm"], "overwrite the input 't.tfm'")])
def test_what_cannot_be_done_is_told(run: Run, argv: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = np.eye(4)
    matrix[0, 3] = 1.0
    write_motion("t.tfm", StackMotion(matrix))
    write_image("far.nrrd", Image(np.ones((2, 2, 2), np.uint8), Grid((2, 2, 2), (900.0, 0.0, 0.0))))
    assert run("reconstruct", *argv, "--output", "o.nrrd", "--device", "cpu") == 2
    assert what in capsys.readouterr().err and not Path("o.nrrd").exists()


def test_notes_of_a_volume_name_it(run: Run, solver: StandInSolver, across: Path, tmp_path: Path) -> None:
    shutil.copy(across, tmp_path / "far.nii.gz")
    far = read_image(across)
    write_image(tmp_path / "far.nii.gz", Image(far.array, replace(far.grid, origin=(900.0, 0.0, 0.0))))
    assert run("reconstruct", "volume.nrrd", across, "far.nii.gz", "--output-grid", "first", "--report", "r.json",
               "--device", "cpu") == 0
    notes = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["notes"]
    assert [note[:9] for note in notes] == ["Volume 3 "] and "mm away" in notes[0]


def test_one_volume_whose_slices_average_is_solved_for_like_several(run: Run, solver: StandInSolver, across: Path
                                                                    ) -> None:
    image = read_image(across)
    write_image("mask.nrrd", Image((image.array > 0).astype(np.uint8), image.grid))
    assert run("reconstruct", across, "--thickness", 4.0, "--slices", "every:2", "--mask", "mask.nrrd", "--output",
               "o.nrrd") == 0
    assert solver.observations is not None
    (stack,) = solver.observations.stacks
    assert stack.weights is not None and 0 < stack.weights.sum() == (image.array[..., ::2] > 0).sum()
    assert (stack.thickness, stack.profile, len(stack.planes)) == (4.0, "gaussian", 6)


@pytest.mark.parametrize("options", [("--motion", "none"), ("--output-motion", "m.json"), ("--to-first", "m.tfm")])
def test_one_volume_has_no_motion(run: Run, across: Path, options: tuple[str, ...],
                                  capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct", across, "--thickness", 4.0, "--output", "o.nrrd", *options) != 0
    assert f"{options[0]} is for several volumes" in capsys.readouterr().err
