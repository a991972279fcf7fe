"""The program as a person meets it: files in, files out, messages, progress, exit codes."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from TriplaneGaussianReconLib.command_line import arguments, main
from TriplaneGaussianReconLib.command_line import reconstruct as command
from TriplaneGaussianReconLib.command_line.arguments import build_parser
from TriplaneGaussianReconLib.devices import DEVICES, choose
from TriplaneGaussianReconLib.errors import Cancelled, InputError
from TriplaneGaussianReconLib.geometry import Grid
from TriplaneGaussianReconLib.image_files import read_image, read_segmentation, write_image, write_segmentation
from TriplaneGaussianReconLib.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.presets import PRESETS

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (11, 30, 34)
SPACING = (0.9, 0.9, 2.7)
Run = Callable[..., int]


@pytest.fixture(scope="module")
def grid(rotation: Any) -> Grid:
    return Grid(SHAPE, (12.5, -40.0, 7.0), SPACING, rotation)


@pytest.fixture(scope="module")
def volume(textured: Any, grid: Grid) -> Image:
    return Image((-500 + 1500 * textured(SHAPE, noise=0.01)).astype(np.int16), grid)


@pytest.fixture(scope="module")
def segmentation(volume: Image) -> Segmentation:
    """Two overlapping segments with names, colours and terminology, as 3D Slicer keeps them."""
    layers = np.stack([7 * (volume.array > 350), volume.array > 250]).astype(np.uint8)
    segments = (Segment("Tumour", 7, 0, "first", (0.9, 0.25, 0.1)), Segment("Oedema", 1, 1, "second", (0.1, 0.5, 0.75)))
    metadata = {"Segment0_ID": "first", "Segment0_Tags": "TerminologyEntry:tumour|"}
    return Segmentation(layers, segments, volume.grid, metadata)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, volume: Image, segmentation: Segmentation) -> Path:
    """A folder with the inputs."""
    folder = tmp_path_factory.mktemp("inputs")
    write_image(folder / "volume.nrrd", volume)
    write_image(folder / "labels.nii.gz", Image(segmentation.layers[0], volume.grid))
    write_segmentation(folder / "labels.seg.nrrd", segmentation)
    return folder


@pytest.fixture
def run(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program in `tmp_path`; arguments that name an input file are completed."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: object) -> int:
        return main([str(files / str(part)) if (files / str(part)).is_file() else str(part) for part in argv])

    return call


@pytest.fixture(scope="module")
def finished(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all results of one run."""
    folder = tmp_path_factory.mktemp("results")
    assert main(["reconstruct", f"{files}/volume.nrrd", "--labels", f"{files}/labels.seg.nrrd", "--keep-every", "2",
                 "--output", f"{folder}/dense.nii.gz", "--output-labels", f"{folder}/dense.seg.nrrd",
                 "--output-confidence", f"{folder}/error.mha", "--save-model", f"{folder}/model.safetensors",
                 "--report", f"{folder}/report.json"]) == 0
    return folder


# --------------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("argv", [[], ["reconstruct"], ["evaluate"], ["render"], ["info"], ["export"]])
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    code = ("import sys\nfrom TriplaneGaussianReconLib.__main__ import main\n"
            f"try:\n    main({[*argv, '--help']!r})\nexcept SystemExit as end:\n    assert end.code == 0\n"
            "print([name for name in ('torch', 'numba', 'cv2', 'SimpleITK', 'scipy', 'rich') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "exit codes:" in done.stdout


def test_names_in_the_help_are_those_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(arguments.PRESETS) == list(PRESETS)
    assert arguments.DEVICES == DEVICES
    for name in arguments.AXES:
        Grid((2, 2, 2)).named_axis(name)
    with pytest.raises(SystemExit):
        main(["reconstruct", "--help"])
    printed = capsys.readouterr().out
    assert all(f"  {int(code)} " in printed for code in arguments.ExitCode)
    assert all(name in printed for name in (*PRESETS, *arguments.AXES, "--keep-every", "examples:"))


@pytest.mark.parametrize("argv", [[], ["paint"], ["reconstruct", "v.nrrd"], ["reconstruct", "--output", "o.nrrd"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--preset", "worst"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--seed", "-1"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--output-spacing", "thin"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--keep-every", "x"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--keep-every", "2", "--slices", "1"],
                                  ["reconstruct", "v.nrrd", "--output", "o.nrrd", "--trust", "k:all", "--slices", "1"],
                                  ["render", "m.safetensors", "--point", "1,2", "--output", "o.png"],
                                  ["render", "m.safetensors", "--point", "1,2,nan", "--output", "o.png"],
                                  ["evaluate", "v.nrrd"],
                                  ["evaluate", "v.nrrd", "--keep-every", "2", "--hide-every", "3"]])
def test_wrong_usage_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_what_the_user_may_not_have_meant_is_said(run: Run, segmentation: Segmentation,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    """Labels on some of the trusted slices only, labels that nobody keeps, several axes."""
    layers = segmentation.layers.copy()
    layers[:, 1::2] = 0
    write_segmentation("some.seg.nrrd", replace(segmentation, layers=layers))
    assert run("reconstruct", "volume.nrrd", "--labels", "some.seg.nrrd", "--trust", "k:all", "--trust", "i:8",
               "--output", "o.npz") == 0
    said = capsys.readouterr().err
    assert "trusted slices between labelled ones carry no label" in said and "--slices " in said
    assert "the dense labels are not kept" in said
    assert "come from the slices along k" in said


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


# ------------------------------------------------------------------------------------------------------------ results


def test_volume_keeps_geometry_type_and_range(finished: Path, volume: Image) -> None:
    dense = read_image(finished / "dense.nii.gz")
    assert dense.grid.matches(volume.grid)
    assert dense.array.dtype == np.int16
    trusted = volume.array[::2]
    assert trusted.min() <= dense.array.min() and dense.array.max() <= trusted.max()
    error = np.abs(dense.array - volume.array.astype(float))
    assert error[::2].mean() < 3 < error[1::2].mean() < 30
    expected = read_image(finished / "error.mha")
    assert expected.array.dtype == np.float32
    assert expected.array[1::2].mean() > 2 * expected.array[::2].mean()


def test_names_colours_and_terminology_survive(finished: Path, segmentation: Segmentation) -> None:
    dense = read_segmentation(finished / "dense.seg.nrrd")
    for one, other in zip(dense.segments, segmentation.segments, strict=True):
        assert replace(one, color=None) == replace(other, color=None)
        assert one.color == pytest.approx(other.color, abs=1e-5)
    assert dense.metadata["Segment0_Tags"] == "TerminologyEntry:tumour|"
    assert (dense.layers == segmentation.layers).mean() > 0.95


def test_report_tells_what_was_done(finished: Path, files: Path) -> None:
    report = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    assert report["trusted"] == {"k": [0, 2, 4, 6, 8, 10]}
    assert report["axis"] == "k"
    assert report["input"] == f"{files}/volume.nrrd"
    assert report["output_spacing_mm"] == pytest.approx(SPACING)
    assert report["pasted_trusted_slices"] is False
    assert report["preset"] == "fast" and report["residual_on_trusted_slices"] and report["self_check"]


def test_summary_goes_to_stdout_and_stages_to_stderr(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct", "volume.nrrd", "--slices", "0-4", "--output", "o.npz", "--seed", 3) == 0
    printed = capsys.readouterr()
    assert re.search(r"dense volume: +o\.npz", printed.out)
    assert re.search(r"\d+ Gaussians from 5 trusted slices in [\d.]+ s", printed.out)
    assert re.search(r"Self check: .* dB PSNR", printed.out)
    assert "Research software, not a medical device." in printed.out
    device, warning, *lines = printed.err.splitlines()
    assert device == choose("auto").note
    assert "6 slices lie beyond the outermost trusted ones along k (slices 0 and 4)" in warning
    stages = [line.split(": ")[1] for line in lines]
    assert stages == ["correspondence", "learning", "arbitration", "prediction", "initialization", "training",
                      "refinement", "rendering"]


def test_unsigned_bytes_and_a_label_map_made_isotropic(run: Run, files: Path, volume: Image, tmp_path: Path) -> None:
    array = np.clip((volume.array + 500) / 6, 0, 255).astype(np.uint8)
    write_image(tmp_path / "bytes.nii.gz", Image(array, volume.grid))
    assert run("reconstruct", "bytes.nii.gz", "--labels", "labels.nii.gz", "--output", "o.nii.gz", "--output-labels",
               "l.nii.gz") == 0
    dense, labels = read_image("o.nii.gz"), read_image("l.nii.gz")
    assert dense.array.dtype == np.uint8
    assert dense.grid.spacing == pytest.approx((0.9, 0.9, 0.9))
    assert dense.grid.shape == (31, 30, 34)
    assert labels.grid.matches(dense.grid)
    assert set(np.unique(labels.array)) == {0, 7}
    assert np.abs(dense.array[::3].astype(float) - array).mean() < 3


def test_label_values_of_any_size_and_sign_survive(run: Run, segmentation: Segmentation) -> None:
    labels = np.array([0, 200, -5], np.int16)[segmentation.layers.astype(int).clip(0, 1).sum(axis=0)]
    write_image("labels.mha", Image(labels, segmentation.grid))
    assert run("reconstruct", "volume.nrrd", "--labels", "labels.mha", "--slices", "0-4", "--output", "o.npz",
               "--output-labels", "l.mha") == 0
    assert set(np.unique(read_image("l.mha").array)) == {-5, 0, 200}


def test_slices_of_three_axes_together(run: Run) -> None:
    assert run("reconstruct", "volume.nrrd", "--trust", "k:every:5", "--trust", "j:hide:2", "--trust", "i:0,10-12,33",
               "--exclude", "5", "--output", "o.npz", "--report", "r.json") == 0
    report = json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert report["trusted"]["k"] == [0, 10]
    assert report["trusted"]["j"] == [*range(0, 30, 2), 29]
    assert report["trusted"]["i"] == [0, 10, 11, 12, 33]
    assert len(report["residual_on_trusted_slices"]) == 3


def test_pasted_slices_are_those_of_the_input(run: Run, volume: Image, segmentation: Segmentation) -> None:
    assert run("reconstruct", "volume.nrrd", "--labels", "labels.seg.nrrd", "--hide-every", 3, "--paste-trusted",
               "--output", "o.npz", "--output-labels", "l.seg.nrrd", "--report", "r.json") == 0
    report = json.loads(Path("r.json").read_text(encoding="utf-8"))
    trusted = report["trusted"]["k"]
    assert report["pasted_trusted_slices"] is True
    assert np.array_equal(read_image("o.npz").array[trusted], volume.array[trusted])
    assert np.array_equal(read_segmentation("l.seg.nrrd").layers[:, trusted], segmentation.layers[:, trusted])
    assert not np.array_equal(read_image("o.npz").array, volume.array)


def test_hidden_slices_and_labels_do_not_matter(run: Run, volume: Image, segmentation: Segmentation) -> None:
    """Same bits, whatever they hold; both volumes in one format, as formats round the directions differently."""
    random = np.random.default_rng(0)
    array, layers = volume.array.astype(np.float64), segmentation.layers.copy()
    array[1::2] = random.choice([np.nan, 9000.0], array[1::2].shape)
    layers[:, 1::2] = random.integers(0, 8, layers[:, 1::2].shape)
    write_image("clean.npz", Image(volume.array.astype(np.float64), volume.grid))
    write_image("noisy.npz", Image(array, volume.grid))
    write_segmentation("clean.seg.nrrd", segmentation)
    write_segmentation("noisy.seg.nrrd", replace(segmentation, layers=layers))
    for name in ("clean", "noisy"):
        assert run("reconstruct", f"{name}.npz", "--labels", f"{name}.seg.nrrd", "--keep-every", "2", "--output",
                   f"{name}_o.npz", "--output-labels", f"{name}_o.seg.nrrd") == 0
    assert np.array_equal(read_image("noisy_o.npz").array, read_image("clean_o.npz").array)
    assert np.array_equal(read_segmentation("noisy_o.seg.nrrd").layers, read_segmentation("clean_o.seg.nrrd").layers)


def test_paper_preset_is_passed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    paper = PRESETS["paper"]  # a few steps and Gaussians will do
    monkeypatch.setitem(PRESETS, "paper", replace(paper, grid_size=6, training=replace(paper.training, steps=2)))
    assert run("reconstruct", "volume.nrrd", "--preset", "paper", "--device", "cpu", "--keep-every", 5, "--output",
               "o.npz", "--report", "r.json") == 0
    assert json.loads(Path("r.json").read_text(encoding="utf-8"))["preset"] == "paper"


def test_existing_results_are_replaced(run: Run) -> None:
    Path("o.npz").write_text("old")
    assert run("reconstruct", "volume.nrrd", "--slices", "0-3", "--output", "o.npz") == 0
    read_image("o.npz")
    assert os.listdir() == ["o.npz"]


# ----------------------------------------------------------------------------------------- which slices, which output


def case(files: Path, *options: object) -> command.Case:
    argv = ["reconstruct", f"{files}/volume.nrrd", "--output", "o.nrrd", *map(str, options)]
    return command.read_case(build_parser().parse_args(argv))


@pytest.mark.parametrize("options, axis, indices", [
    (["--keep-every", 4], "k", [0, 4, 8]), (["--keep-percent", 25], "k", [0, 5, 10]),
    (["--slices", "0,4,8-10"], "k", [0, 4, 8, 9, 10]), (["--hide-every", 5], "k", [0, 1, 2, 3, 5, 6, 7, 8, 10]),
    (["--exclude", "1,3-9"], "k", [0, 2, 10]), (["--keep-every", 2, "--exclude", "2,3"], "k", [0, 4, 6, 8, 10]),
    (["--axis", "j", "--keep-every", 10], "j", [0, 10, 20]), (["--axis", "sagittal", "--slices", "0,33"], "i", [0, 33]),
    (["--axis", "axial", "--trust", "k:45%"], "k", [0, 2, 5, 8, 10]), (["--trust", "coronal:every:15"], "j", [0, 15])])
def test_slices_that_options_choose(files: Path, options: list[object], axis: str, indices: list[int]) -> None:
    chosen = case(files, *options)
    assert {axis: tuple(indices)} == {name: selection.indices for name, selection in chosen.trusted.items()}
    assert chosen.output is chosen.image.grid  # with a subset the result has the voxels of the input


@pytest.mark.parametrize("options, spacing, count", [
    ([], 0.9, 31), (["--output-spacing", "isotropic", "--keep-every", 2], 0.9, 31),
    (["--output-spacing", "2"], 2.0, 14), (["--output-spacing", "1.35", "--slices", "2-5"], 1.35, 21)])
def test_output_spacing(files: Path, options: list[object], spacing: float, count: int) -> None:
    chosen = case(files, *options)
    assert chosen.output.spacing == pytest.approx((0.9, 0.9, spacing))
    assert chosen.output.shape == (count, 30, 34)
    assert chosen.output.origin == chosen.image.grid.origin


def test_nothing_to_gain_is_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = case(files, "--output-spacing", "input")
    assert chosen.output is chosen.image.grid
    assert "nothing is gained" in capsys.readouterr().err
    chosen = case(files, "--axis", "i")  # as fine as the other axes already
    assert chosen.output is chosen.image.grid
    printed = capsys.readouterr().err
    assert "no more than the 0.9 mm" in printed and "nothing is gained" in printed
    case(files, "--keep-every", 2)
    assert not capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("options, message", [
    (["--keep-every", 0], "needs a whole number of at least 1"), (["--keep-every", -3], "at least 1"),
    (["--keep-every", 11], "At least two trusted slices"), (["--hide-every", 1], "at least 2"),
    (["--keep-percent", 0], "between 0 and 100"), (["--keep-percent", 101], "between 0 and 100"),
    (["--keep-percent", "nan"], "between 0 and 100"), (["--slices", "4"], "At least two trusted slices"),
    (["--slices", "0,11"], "Slice 11 does not exist: this axis has slices 0 to 10"),
    (["--slices", "a-b"], "Cannot read the slices 'a-b'"), (["--slices", ""], "Cannot read the slices"),
    (["--slices", "0-4", "--exclude", "0-10"], "No slice is left to trust"), (["--exclude", "99"], "Slice 99 does not"),
    (["--exclude", "one"], "Cannot read the slices 'one'"), (["--trust", "every:4"], "Unknown slice axis 'every'"),
    (["--trust", "0-4"], "Write AXIS:SPEC"), (["--trust", "k:"], "Cannot read the slices ''"),
    (["--trust", "k:all", "--trust", "axial:0,1"], "names axis k twice"),
    (["--trust", "j:all", "--exclude", "3"], "--exclude is about slices of the slice axis, k"),
    (["--output-spacing", 0], "must be a positive number"), (["--output-spacing", -1], "must be a positive number"),
    (["--output-spacing", "nan"], "must be a positive number"), (["--output-spacing", "1e-12"], "more than"),
    (["--output-spacing", "1e-320"], "more than"), (["--paste-trusted"], "needs a result with the voxels of the input"),
    (["--output-labels", "l.nrrd"], "--output-labels needs --labels"),
    (["--labels", "missing.nrrd"], "'missing.nrrd' does not exist"),
    (["--output-confidence", "o.nrrd"], "would overwrite what --output writes"),
    (["--output-confidence", "c.jpg"], "no extension that can be written"),
    (["--save-model", "m.nrrd"], "Use .safetensors"),
])
def test_absurd_options_are_explained(run: Run, capsys: pytest.CaptureFixture[str], options: list[object],
                                      message: str) -> None:
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd", *options) == 2
    printed = capsys.readouterr().err
    assert printed.splitlines()[-1].startswith("error: ") and message in printed
    assert "Traceback" not in printed
    assert os.listdir() == []


def test_inputs_are_not_overwritten(run: Run, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (files / "volume.nrrd").read_bytes()
    assert run("reconstruct", "volume.nrrd", "--output", f"{files}/../{files.name}/volume.nrrd") == 2
    assert "--output would overwrite the input" in capsys.readouterr().err
    assert run("reconstruct", "volume.nrrd", "--labels", "labels.nii.gz", "--output", "o.nrrd", "--output-labels",
               "labels.nii.gz") == 2
    assert "--output-labels would overwrite the input" in capsys.readouterr().err
    assert (files / "volume.nrrd").read_bytes() == before


def bad_volumes(volume: Image) -> dict[str, tuple[np.ndarray, str]]:
    """Voxels [k, j, i, ...] of each kind of bad volume, and what the message says."""
    array = volume.array.astype(np.float32)
    damaged = array.copy()
    damaged[4, 3, 2] = np.nan
    return {"nan": (damaged, "holds NaN or infinite voxels. Exclude that slice"),
            "infinite": (np.where(np.isnan(damaged), np.inf, damaged), "holds NaN or infinite"),
            "constant": (np.full_like(array, 3.0), "All trusted voxels have the same value (3)"),
            "one slice": (array[:1], "At least two trusted slices"),
            "colour": (np.stack([array] * 3, axis=-1), "3 values per voxel"),
            "complex": (array.astype(np.complex64), "complex")}


@pytest.mark.parametrize("kind", ["nan", "infinite", "constant", "one slice", "colour", "complex"])
def test_bad_volumes_are_explained(run: Run, volume: Image, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    import SimpleITK as sitk

    array, message = bad_volumes(volume)[kind]
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing(SPACING)
    sitk.WriteImage(image, "bad.nrrd")
    assert run("reconstruct", "bad.nrrd", "--output", "o.nrrd") == 2
    assert message in capsys.readouterr().err
    assert os.listdir() == ["bad.nrrd"]


def test_a_damaged_slice_can_be_excluded(run: Run, volume: Image) -> None:
    write_image("bad.npz", Image(bad_volumes(volume)["nan"][0], volume.grid))
    assert run("reconstruct", "bad.npz", "--exclude", "4", "--output", "o.npz") == 0
    assert np.isfinite(read_image("o.npz").array).all()


def test_series_of_volumes_and_missing_files_are_explained(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(sitk.JoinSeries([sitk.Image(8, 8, 8, sitk.sitkInt16)] * 3), "series.nii.gz")
    assert run("reconstruct", "series.nii.gz", "--output", "o.nrrd") == 2
    assert "4 dimensions" in capsys.readouterr().err
    assert run("reconstruct", "none.nii.gz", "--output", "o.nrrd") == 2
    assert "'none.nii.gz' does not exist" in capsys.readouterr().err
    Path("text.nrrd").write_text("text")
    assert run("reconstruct", "text.nrrd", "--output", "o.nrrd") == 2
    assert run("reconstruct", ".", "--output", "o.nrrd") == 2
    assert "holds no DICOM slices" in capsys.readouterr().err


def test_two_slices_are_enough(run: Run, volume: Image) -> None:
    write_image("two.npz", Image(volume.array[:2], Grid((2, 30, 34), spacing=SPACING)))
    assert run("reconstruct", "two.npz", "--output", "o.npz") == 0
    assert read_image("o.npz").grid.shape == (4, 30, 34)


@pytest.mark.parametrize("kind, message", [
    ("empty", "The segmentation is empty"), ("shifted", "do not coincide"), ("elsewhere", "lies outside"),
    ("fractions", "whole numbers"), ("hidden", "empty on every trusted slice")])
def test_bad_segmentations_are_explained(run: Run, volume: Image, capsys: pytest.CaptureFixture[str], kind: str,
                                         message: str) -> None:
    labels, there = (volume.array > 400).astype(np.float32), volume.grid
    if kind == "empty":
        labels[:] = 0
    elif kind == "fractions":
        labels *= 0.5
    elif kind == "hidden":
        labels[::2] = 0
    else:
        index = (0.4, 0, 0) if kind == "shifted" else (100, 0, 0)
        there = replace(there, origin=tuple(there.index_to_physical(np.array(index))))
    write_image("bad.nrrd", Image(labels, there))
    assert run("reconstruct", "volume.nrrd", "--labels", "bad.nrrd", "--keep-every", 2, "--output", "o.nrrd") == 2
    assert message in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------- exit codes


def test_missing_devices_and_packages_end_with_3(run: Run, capsys: pytest.CaptureFixture[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    from TriplaneGaussianReconLib import devices
    from TriplaneGaussianReconLib.errors import BackendUnavailableError

    def unavailable(index: int, computer: devices.Computer) -> None:
        raise BackendUnavailableError("There is no such device.")

    monkeypatch.setattr(devices, "_gpu", unavailable)
    assert run("reconstruct", "volume.nrrd", "--device", "cuda", "--output", "o.nrrd") == 3
    assert capsys.readouterr().err.startswith("error: CUDA cannot be used: There is no such device.")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd") == 3
    assert "pip install SimpleITK" in capsys.readouterr().err


def test_unwritable_places_end_with_4_before_the_work(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for option, name in [("--output-confidence", "missing/c.nrrd"), ("--report", "missing/r.json"),
                         ("--save-model", "missing/m.safetensors")]:
        assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd", option, name) == 4
        printed = capsys.readouterr().err
        assert "The folder 'missing' does not exist" in printed and "stage" not in printed


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("error, code, message", [
    (MemoryError(), 5, "not enough memory.*--output-spacing"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 5, "not enough memory"),
    (OSError(28, "No space left on device"), 4, "disk is full"),
    (KeyboardInterrupt(), 130, "Stopped; nothing was written"),
    (Cancelled("Stopped on request; nothing was written."), 130, "nothing was written"),
    (ZeroDivisionError("a bug"), 1, "Traceback.*ZeroDivisionError: a bug.*Please report it")])
def test_failures_have_their_exit_codes(run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                        error: BaseException, code: int, message: str) -> None:
    monkeypatch.setattr(command, "reconstruct", failing(error))
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd") == code
    printed = capsys.readouterr().err
    assert re.search(message, printed, re.DOTALL)
    assert ("Traceback" in printed) == (code == 1)
    assert os.listdir() == []


def test_a_stop_while_writing_tells_what_is_there(run: Run, capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "save_model", failing(KeyboardInterrupt()))
    assert run("reconstruct", "volume.nrrd", "--slices", "0-3", "--output", "o.npz", "--save-model",
               "m.safetensors") == 130
    assert "Stopped while writing. Written before: o.npz." in capsys.readouterr().err
    assert os.listdir() == ["o.npz"]


def test_warnings_are_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    import warnings

    def warn(*_: object, **__: object) -> Any:
        warnings.warn("Mind the gap.", stacklevel=1)
        raise InputError("And the step.")

    monkeypatch.setattr(command, "reconstruct", warn)
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd") == 2
    assert capsys.readouterr().err == f"{choose('auto').note}\nwarning: Mind the gap.\nerror: And the step.\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send Ctrl-C to one process")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_stops_cleanly(files: Path, tmp_path: Path, presses: int) -> None:
    # The paper's preset runs for minutes, so that the signal arrives during training.
    process = subprocess.Popen(
        [sys.executable, "-m", "TriplaneGaussianReconLib", "reconstruct", str(files / "volume.nrrd"), "--preset",
         "paper", "--output", str(tmp_path / "o.nrrd")],
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        printed = ""
        while "training" not in printed:
            line = process.stderr.readline()
            assert line, printed
            printed += line
        process.send_signal(signal.SIGINT)
        if presses == 2:
            assert "Press Ctrl-C again" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "nothing was written." in rest
    assert "Traceback" not in rest
    assert not list(tmp_path.iterdir())


def test_the_progress_bar_shows_stage_step_and_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from TriplaneGaussianReconLib.command_line.console import shown_progress
    from TriplaneGaussianReconLib.reconstruction import STAGES, Progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with shown_progress(STAGES) as show:
        show(Progress("training", 0.5, 150, 300, 0.012, 0.48))
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    last = [line for line in re.split(r"[\r\n]", printed) if "training" in line][-1]
    assert "step 150/300, loss 0.012" in last and "48%" in last and "left" in last


# -------------------------------------------------------------------------------------------- models that were saved


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


def test_export(run: Run, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gsplat.exporter")
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


@pytest.mark.parametrize("axis, shape", [("i", (1, 31, 30)), ("j", (1, 31, 34))])
def test_planes_across_rows_and_columns(run: Run, finished: Path, axis: str, shape: tuple[int, int, int]) -> None:
    dense = read_image(finished / "dense.nii.gz").array
    assert run("render", finished / "model.safetensors", "--axis", axis, "--position", 10 * 0.9, "--output",
               "p.nrrd") == 0
    plane = read_image("p.nrrd")
    assert plane.grid.shape == shape
    there = dense[:, :, 10] if axis == "i" else dense[:, 10]
    np.testing.assert_allclose(plane.array[0, ::3], there, atol=1.0)


@pytest.mark.parametrize("normal, axis, columns, rows", [
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


def test_a_picture_is_windowed(run: Run, finished: Path) -> None:
    images = pytest.importorskip("cv2")
    assert run("render", finished / "model.safetensors", "--axis", "k", "--output", "p.png") == 0
    picture = images.imread("p.png", images.IMREAD_UNCHANGED)
    assert picture.shape == (30, 34) and picture.dtype == np.uint8
    assert picture.min() < 60 and picture.max() > 180


@pytest.mark.parametrize("options, message", [
    ([], "either both --point and --normal, or --axis"), (["--point", "0,0,0"], "either both"),
    (["--axis", "k", "--normal", "0,0,1"], "either both"), (["--axis", "k", "--position", 900], "misses the model"),
    (["--axis", "k", "--position", "nan"], "--position needs a number"),
    (["--point", "0,0,0", "--normal", "0,0,0"], "normal needs a length"),
    (["--axis", "k", "--spacing", 0], "pixel spacing must be"), (["--axis", "k", "--size", -1], "size must be"),
    (["--axis", "k", "--spacing", "1e-9"], "too large"),
    (["--axis", "k", "--output-labels", "p.nrrd"], "must be different files")])
def test_planes_that_cannot_be_drawn(run: Run, finished: Path, capsys: pytest.CaptureFixture[str],
                                     options: list[object], message: str) -> None:
    assert run("render", finished / "model.safetensors", *options, "--output", "p.nrrd") == 2
    assert message in capsys.readouterr().err
    assert os.listdir() == []


# ----------------------------------------------------------------------------------------------------------- evaluate


def test_evaluate_prints_a_table_and_writes_scores(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("matplotlib")
    assert run("evaluate", "volume.nrrd", "--labels", "labels.seg.nrrd", "--keep-every", 2, "--methods", "linear, fast",
               "--json", "scores.json", "--figure", "figure.png") == 0
    printed = capsys.readouterr()
    assert "5 of 11 slices along k were hidden" in printed.out and "fast" in printed.out
    assert printed.err.splitlines() == [choose("auto").note, "1 of 2: linear", "2 of 2: fast"]
    rows = {row["name"]: row for row in json.loads(Path("scores.json").read_text(encoding="utf-8"))["rows"]}
    assert rows["fast"]["failure"] is None
    assert rows["fast"]["image"]["psnr"] > rows["linear"]["image"]["psnr"]
    assert rows["fast"]["dice"] > 0.8 and rows["fast"]["seconds"] > 0
    assert 0 < rows["fast"]["band_68"] <= 1 and -1 <= rows["fast"]["rank_correlation"] <= 1
    assert Path("figure.png").stat().st_size > 10_000


@pytest.mark.parametrize("options, code, message", [
    (["--methods", "linear,magic"], 2, "Unknown method 'magic'. Choose from nearest, linear, .*fast, .*paper, "
                                       "innergs-style, eclare"),
    (["--methods", "eclare"], 3, "environment of its own.*--eclare-python"),
    (["--eclare-python", "nowhere/python"], 3, "no Python 'nowhere/python'"),
    (["--keep-every", 1], 2, "No slice is hidden"), (["--keep-every", 0], 2, "at least 1"),
    (["--json", "missing/s.json"], 4, "does not exist"), (["--figure", "f.txt"], 2, r"Use \.png, \.pdf, \.svg"),
    (["--methods", "label-shape"], 2, "fills labels only")])
def test_evaluations_that_cannot_be_made(run: Run, capsys: pytest.CaptureFixture[str], options: list[object], code: int,
                                         message: str) -> None:
    assert run("evaluate", "volume.nrrd", "--keep-every", 2, *options) == code
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("step, code, message", [(1, 2, "at least 2"), (-20, 2, "at least 2"),
                                                 (500, 2, "No slice is hidden")])
def test_slices_that_cannot_be_hidden(run: Run, capsys: pytest.CaptureFixture[str], step: int, code: int,
                                      message: str) -> None:
    assert run("evaluate", "volume.nrrd", f"--hide-every={step}", "--methods", "linear") == code
    assert message in capsys.readouterr().err


def test_evaluate_with_few_slices_hidden_and_no_simpleitk(run: Run, volume: Image, segmentation: Segmentation,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage")
    for name, array in (("v", volume.array), ("v_seg", segmentation.layers[0])):
        np.savez(f"{name}.npz", array=array, origin=volume.grid.origin, spacing=SPACING,
                 direction=np.asarray(volume.grid.direction))
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    assert run("evaluate", "v.npz", "--labels", "v_seg.npz", "--hide-every", 5, "--methods", "linear,label-nearest",
               "--json", "s.json") == 0
    scores = json.loads(Path("s.json").read_text(encoding="utf-8"))
    assert scores["held_out"] == [4, 9]
    assert [row["failure"] for row in scores["rows"]] == [None, None]
    assert scores["rows"][1]["segments"][0]["surface"]["mean"] >= 0


def test_innergs_style_is_paper_from_a_grid_without_the_field() -> None:
    from TriplaneGaussianReconLib.peer_presets import INNERGS_STYLE

    paper = PRESETS["paper"]
    assert (INNERGS_STYLE.initialization, INNERGS_STYLE.mode, INNERGS_STYLE.predicted_weight) == ("grid", paper.mode, 0)
    assert "field" in paper.training.learning_rates and "field" not in INNERGS_STYLE.training.learning_rates
    assert INNERGS_STYLE.training.image_loss == paper.training.image_loss


def test_default_methods_are_the_classical_ones_fast_and_eclare_where_it_is(
        run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from TriplaneGaussianReconLib import evaluation

    asked = []
    monkeypatch.setattr(evaluation, "run", lambda *_: evaluation.Outcome(failure="not tried"))
    monkeypatch.setattr("TriplaneGaussianReconLib.command_line.evaluate.note", asked.append)
    assert run("evaluate", "volume.nrrd", "--keep-every", 2) == 1  # as all of them failed
    assert [text.split(": ")[1] for text in asked[1:]] == [*evaluation.default_methods(False), "fast"]
    monkeypatch.setattr("TriplaneGaussianReconLib.command_line.evaluate.Eclare.prepare", lambda self: None)
    assert run("evaluate", "volume.nrrd", "--keep-every", 3, "--eclare-python", "python") == 1
    assert asked[-1].endswith(": eclare")
