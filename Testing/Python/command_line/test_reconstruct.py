"""`reconstruct`: files in, files out, and what is said about input that is no good."""
from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from documented_report import undocumented

from TriplaneGaussianReconLib.command_line import reconstruct as command
from TriplaneGaussianReconLib.command_line.arguments import build_parser
from TriplaneGaussianReconLib.command_line.expectation import LONG, fewer_steps
from TriplaneGaussianReconLib.command_line.messages import Messages
from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.config.stages import stages_of
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.io.nrrd_files import read_nrrd
from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation
from TriplaneGaussianReconLib.io.writers import write_image, write_segmentation
from TriplaneGaussianReconLib.pipeline import completion
from TriplaneGaussianReconLib.runtime.devices import choose

Run = Callable[..., int]


def test_each_option_reaches_what_is_asked_for() -> None:
    words = ["reconstruct", "a.nrrd", "--output", "b.nrrd", "--texture", "even", "--labels-on", "all"]
    request = command.request_of(build_parser().parse_args(words))
    assert request.texture == "even" and request.labels_on == "all" and request.memory is None


def test_volume_keeps_geometry_type_and_range(finished: Path, volume: Image) -> None:
    dense = read_image(finished / "dense.nii.gz")
    assert dense.grid.matches(volume.grid)
    assert dense.array.dtype == np.int16
    observed = volume.array[::2]
    assert observed.min() <= dense.array.min() and dense.array.max() <= observed.max()
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
    assert report["output_spacing_mm"] == pytest.approx((0.9, 0.9, 2.7))
    assert report["pasted_trusted_slices"] is False
    assert report["preset"] == "fast" and report["residual_on_trusted_slices"] and report["self_check"]
    check = report["self_check"]
    assert check["psnr"] > 10 and check["psnr_best_classical"] >= check["psnr_linear"] and check["best_classical"]
    assert report["expected_error"]["median"] > 0 and not undocumented(report)


def test_outside_of_a_mask_a_volume_of_thin_slices_holds_no_data(run: Run, volume: Image, tmp_path: Path) -> None:
    inside = np.zeros(volume.grid.shape, np.uint8)
    inside[:, 4:26, 6:30] = 1
    write_image(tmp_path / "mask.nii.gz", Image(inside, volume.grid))
    assert run("reconstruct", "volume.nrrd", "--mask", "mask.nii.gz", "--output", "o.nrrd", "--report", "r.json") == 0
    dense = read_image(tmp_path / "o.nrrd").array
    np.testing.assert_array_equal(np.isfinite(dense), np.broadcast_to(inside[:1] > 0, dense.shape))
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["input_mask"] == "mask.nii.gz" and "hold no data (NaN or infinite)" in report["notes"][0]


def test_summary_goes_to_stdout_and_stages_to_stderr(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct", "volume.nrrd", "--slices", "0-4", "--output", "o.npz", "--seed", 3) == 0
    printed = capsys.readouterr()
    assert re.search(r"dense volume: +o\.npz", printed.out)
    assert re.search(r"\d+ Gaussians from 5 slices in [\d.]+ s", printed.out)
    assert re.search(r"Self check: .* linear between slices.*; PSNR [\d.]+ dB\.", printed.out)
    assert "Expected error" not in printed.out  # no slice lies between used ones
    assert "Research software, not a medical device." in printed.out
    device, warning, expected, *lines = printed.err.splitlines()
    assert device == choose("auto").note and re.match("About .* on this computer", expected)
    assert "There (5-10) they are repeated" in warning and "--slices 0-4,10)" in warning
    stages = stages_of(PRESETS["fast"], has_labels=False)
    assert [re.sub(", about .* left$", "", line.partition("  stage ")[2]) for line in lines] == [
        f"{number} of {len(stages)}: {stage.sentence}" for number, stage in enumerate(stages, start=1)]


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
    observed = report["trusted"]["k"]
    assert report["pasted_trusted_slices"] is True
    assert np.array_equal(read_image("o.npz").array[observed], volume.array[observed])
    assert np.array_equal(read_segmentation("l.seg.nrrd").layers[:, observed], segmentation.layers[:, observed])
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


def test_an_even_texture_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct", "volume.nrrd", "--slices", "0-4,10", "--texture", "even", "--output", "o.npz", "--report",
               "r.json") == 0
    assert "Even texture: " in capsys.readouterr().out
    assert json.loads(Path("r.json").read_text(encoding="utf-8"))["texture"]["kind"] == "even"


def test_paper_preset_is_passed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    paper = PRESETS["paper"]  # a few steps and Gaussians will do
    monkeypatch.setitem(PRESETS, "paper", replace(paper, blind=replace(paper.blind, size=6),
                                                  training=replace(paper.training, steps=2)))
    assert run("reconstruct", "volume.nrrd", "--preset", "paper", "--device", "cpu", "--keep-every", 5, "--output",
               "o.npz", "--report", "r.json") == 0
    assert json.loads(Path("r.json").read_text(encoding="utf-8"))["preset"] == "paper"


def test_steps_are_made_as_asked(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    paper = PRESETS["paper"]
    monkeypatch.setitem(PRESETS, "paper", replace(paper, blind=replace(paper.blind, size=4)))
    assert run("reconstruct", "volume.nrrd", "--preset", "paper", "--steps", 1, "--device", "cpu", "--output",
               "o.npz") == 0
    assert run("reconstruct", "volume.nrrd", "--steps", 3, "--output", "p.npz") == 2
    assert "'fast' trains no Gaussians step by step" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("reconstruct", "volume.nrrd", "--preset", "paper", "--steps", 0, "--output", "p.npz")
    assert "'0' is no whole number from 1 to 9999999" in capsys.readouterr().err


def test_who_has_to_wait_for_hours_is_offered_fewer_steps() -> None:
    assert fewer_steps(2 * LONG, 1000) == ("With --steps 500 it would take about 30 min, and be less exact on the used "
                                           "slices.")
    assert fewer_steps(1e9, 10) == "With --steps 1 it would take about 2.8e+04 h, and be less exact on the used slices."
    assert fewer_steps(0.9 * LONG, 1000) is None and fewer_steps(2 * LONG, 0) is None


def test_existing_results_are_replaced(run: Run) -> None:
    Path("o.npz").write_text("old")
    assert run("reconstruct", "volume.nrrd", "--slices", "0-3", "--output", "o.npz") == 0
    read_image("o.npz")
    assert os.listdir() == ["o.npz"]


# ------------------------------------------------------------------------------------------- which slices, which output


def case(files: Path, *options: object) -> command.Case:
    argv = ["reconstruct", f"{files}/volume.nrrd", "--output", "o.nrrd", *map(str, options)]
    return command.read_case(build_parser().parse_args(argv))


@pytest.mark.parametrize(("options", "axis", "indices"), [
    (["--keep-every", 4], "k", [0, 4, 8]), (["--keep-percent", 25], "k", [0, 5, 10]),
    (["--slices", "0,4,8-10"], "k", [0, 4, 8, 9, 10]), (["--hide-every", 5], "k", [0, 1, 2, 3, 5, 6, 7, 8, 10]),
    (["--exclude", "1,3-9"], "k", [0, 2, 10]), (["--keep-every", 2, "--exclude", "2,3"], "k", [0, 4, 6, 8, 10]),
    (["--axis", "j", "--keep-every", 10], "j", [0, 10, 20]), (["--axis", "sagittal", "--slices", "0,33"], "i", [0, 33]),
    (["--axis", "axial", "--trust", "k:45%"], "k", [0, 2, 5, 8, 10]), (["--trust", "coronal:every:15"], "j", [0, 15])])
def test_slices_that_options_choose(files: Path, options: list[object], axis: str, indices: list[int]) -> None:
    chosen = case(files, *options)
    assert {axis: tuple(indices)} == {name: selection.indices for name, selection in chosen.plan.selections.items()}
    assert chosen.plan.output is chosen.image.grid  # with a subset the result has the voxels of the input


@pytest.mark.parametrize(("options", "spacing", "count", "first"), [
    ([], 0.9, 31, 0), (["--output-spacing", "isotropic", "--keep-every", 2], 0.9, 31, 0),
    (["--output-spacing", "2"], 2.0, 14, 0), (["--output-spacing", "1.35", "--slices", "2-5"], 1.35, 7, 2),
    (["--cover-voxels"], 0.9, 33, -1 / 3)])
def test_output_spacing(files: Path, options: list[object], spacing: float, count: int, first: float) -> None:
    chosen = case(files, *options)
    assert chosen.plan.output.spacing == pytest.approx((0.9, 0.9, spacing))
    assert chosen.plan.output.shape == (count, 30, 34)
    assert chosen.plan.output.origin == pytest.approx(chosen.image.grid.index_to_physical([0, 0, first]))


def test_a_region_alone_is_reconstructed(run: Run, volume: Image) -> None:
    assert run("reconstruct", "volume.nrrd", "--keep-every", 2, "--region", "5-24,3-18,3-8", "--output", "o.nrrd",
               "--report", "r.json") == 0
    found, report = read_image("o.nrrd"), json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert found.grid.matches(volume.grid.cropped("i", 5, 24).cropped("j", 3, 18).cropped("k", 3, 8))
    assert np.abs(found.array[1::2] - volume.array[4:9:2, 3:19, 5:25].astype(float)).mean() < 3
    assert report["trusted"] == {"k": [0, 2, 4, 6, 8, 10]} and report["region"] == "5-24,3-18,3-8"
    assert not undocumented(report)


@pytest.mark.parametrize(("options", "reason"), [
    (["--region", "5-24,3-18,3-80"], "reaches beyond the volume"), (["--region", "5,3,3"], "Cannot read the region"),
    (["--region", "5-24,3-18,3-3"], "The region is too thin")])
def test_what_is_no_part_of_the_volume_is_refused(files: Path, options: list[object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        case(files, *options)


@pytest.mark.parametrize(("options", "texts"), [
    (["--output-spacing", "input"], ["nothing is gained"]),
    (["--axis", "i"], ["0.9 mm apart, no more than the pixels", "nothing is gained"]),  # as fine as the other axes
    (["--keep-every", 2], [])])
def test_nothing_to_gain_is_said(files: Path, capsys: pytest.CaptureFixture[str], options: list[object],
                                 texts: list[str]) -> None:
    argv = ["reconstruct", f"{files}/volume.nrrd", "--output", "o.nrrd", *map(str, options)]
    arguments = build_parser().parse_args(argv)
    chosen = command.read_case(arguments)
    assert chosen.plan.output is chosen.image.grid
    with Messages().shown():
        command._warn(chosen, arguments)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == len(texts)
    assert all(text in warning for text, warning in zip(texts, warnings, strict=True))


def test_slices_that_carry_labels_can_be_asked_for(files: Path, segmentation: Segmentation, tmp_path: Path) -> None:
    layers = segmentation.layers.copy()
    layers[:, [0, 1, 3, 5, 6, 7]] = 0
    write_segmentation(tmp_path / "some.seg.nrrd", replace(segmentation, layers=layers))
    chosen = case(files, "--labels", tmp_path / "some.seg.nrrd", "--slices", "segmented")
    assert chosen.plan.selections["k"].indices == tuple(np.flatnonzero(layers.any(axis=(0, 2, 3))).tolist())
    with pytest.raises(InputError, match="there is no segmentation"):
        case(files, "--slices", "segmented")


def test_what_the_user_may_not_have_meant_is_said(run: Run, segmentation: Segmentation,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    """Labels on some of the observed slices only, labels that nobody keeps, several axes."""
    layers = segmentation.layers.copy()
    layers[:, 1::2] = 0
    write_segmentation("some.seg.nrrd", replace(segmentation, layers=layers))
    assert run("reconstruct", "volume.nrrd", "--labels", "some.seg.nrrd", "--trust", "k:all", "--trust", "i:8",
               "--labels-on", "all", "--output", "o.npz") == 0
    said = capsys.readouterr().err
    assert "used slices between labelled ones carry no label" in said
    assert "the dense labels are not kept" in said
    assert "come from the slices along k" in said


# ------------------------------------------------------------------------------------------ labels on some slices alone


@pytest.fixture
def some(segmentation: Segmentation, monkeypatch: pytest.MonkeyPatch) -> Segmentation:
    """A file `some.seg.nrrd` with labels on slices 0, 4 and 8 alone, which few steps fill."""
    fast = PRESETS["fast"]
    monkeypatch.setitem(PRESETS, "fast", replace(fast, label_completion=replace(fast.label_completion, steps=20)))
    layers = segmentation.layers.copy()
    layers[:, [n for n in range(11) if n not in (0, 4, 8)]] = 0
    some = replace(segmentation, layers=layers)
    write_segmentation("some.seg.nrrd", some)
    return some


def test_labels_are_filled_and_the_image_stays_as_it_is(run: Run, volume: Image, some: Segmentation,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    """By default, though the voxels could be made isotropic."""
    assert run("reconstruct", "volume.nrrd", "--labels", "some.seg.nrrd", "--output", "o.nrrd", "--output-labels",
               "l.seg.nrrd", "--output-confidence", "e.npz", "--output-certainty", "c.npz", "--report", "r.json") == 0
    dense, labels, certainty = read_image("o.nrrd"), read_segmentation("l.seg.nrrd"), read_image("c.npz")
    assert dense.array.tobytes() == volume.array.tobytes() and not read_image("e.npz").array.any()
    np.testing.assert_array_equal(labels.layers[:, :9:4], some.layers[:, :9:4])
    assert labels.layers.any(axis=(0, 2, 3)).all() and labels.metadata["Segment0_Tags"] == "TerminologyEntry:tumour|"
    assert certainty.array.dtype == np.float32 and 0 < certainty.array.min() < certainty.array.max() == 1
    report = json.loads(Path("r.json").read_text(encoding="utf-8"))
    found = report["label_completion"]
    assert found["drawn_slices"] == [0, 4, 8] and found["filled_slices"] == [1, 2, 3, 5, 6, 7, 9, 10]
    assert found["empty_slices"] == [] and set(found["next_slices"]) <= {1, 2, 3, 5, 6, 7, 9, 10}
    assert report["gaussians"] == 0 and report["pasted_trusted_slices"] is True and not undocumented(report)
    printed = capsys.readouterr()
    assert "warning: Labels are taken from 3 slices: 0,4,8; the labels of 8 are filled." in printed.err
    assert f"Labels of 8 slices filled; to draw next: slice {found['next_slices'][0]}." in printed.out
    assert "The image is that of the input." in printed.out and "nothing is gained" not in printed.err
    assert [line.split(":")[0] for line in printed.out.splitlines()[:5]] == [
        "dense volume", "dense labels", "expected error", "label certainty", "report"]


@pytest.mark.parametrize("name", ["p.seg.nrrd", "p.nii.gz"])
def test_the_probability_of_each_segment_can_be_written(run: Run, some: Segmentation, name: str,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct", "volume.nrrd", "--labels", "some.seg.nrrd", "--output-probabilities", name,
               "--output-labels", "l.seg.nrrd") == 0
    printed, labels = capsys.readouterr(), read_segmentation("l.seg.nrrd")
    assert f"probabilities:   {name}" in printed.out and "are not kept" not in printed.err
    if name.endswith(".seg.nrrd"):
        percent, _, header = read_nrrd(Path(name), None)
        assert header["Segment0_Tags"] == "TerminologyEntry:tumour|" and header["Segment1_Name"] == "Oedema"
    else:
        percent = np.stack([read_image(name, volume_number=number).array for number in (1, 2)], axis=-1)
    here = np.moveaxis(labels.layers != 0, 0, -1)
    np.testing.assert_array_equal(percent[:9:4], 100 * here[:9:4])
    clear = percent != 50
    np.testing.assert_array_equal((percent > 50)[clear], here[clear])
    assert sorted(os.listdir()) == ["l.seg.nrrd", name, "some.seg.nrrd"]


def test_probabilities_without_room_are_refused_before_the_work(run: Run, some: Segmentation,
                                                                monkeypatch: pytest.MonkeyPatch,
                                                                capsys: pytest.CaptureFixture[str]) -> None:
    """Stand-ins for a disk and for memory that are nearly full."""
    options = ("reconstruct", "volume.nrrd", "--labels", "some.seg.nrrd", "--output-probabilities", "p.nii")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=22_000))
        assert run(*options) == 4 and "the results need 22.4 kB" in capsys.readouterr().err
    monkeypatch.setattr(completion, "free_memory", lambda: 40_000)
    assert run(*options) == 5 and "need 4.49e-05 GB of memory" in capsys.readouterr().err
    assert os.listdir() == ["some.seg.nrrd"]


def test_what_was_learnt_is_kept_and_used_again(run: Run, volume: Image, some: Segmentation,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    command = ("reconstruct", "volume.nrrd", "--labels", "some.seg.nrrd", "--output-labels", "l.seg.nrrd",
               "--label-network", "n.safetensors")
    assert run(*command) == 0
    first = capsys.readouterr()
    assert re.search(r"label network: +n\.safetensors", first.out)
    assert run(*command) == 0
    second = capsys.readouterr()
    assert "learnt anew" not in second.err
    write_image("other.nrrd", replace(volume, array=volume.array[::-1].copy()))
    assert run("reconstruct", "other.nrrd", *command[2:]) == 0
    assert "learnt anew" in capsys.readouterr().err


def test_the_labels_alone_can_be_written(run: Run, some: Segmentation) -> None:
    assert run("reconstruct", "volume.nrrd", "--labels", "some.seg.nrrd", "--output-labels", "l.seg.nrrd") == 0
    assert sorted(os.listdir()) == ["l.seg.nrrd", "some.seg.nrrd"]


@pytest.mark.parametrize(("labels_on", "drawn", "empty"), [
    ("drawn,10", [0, 4, 8], [10]), ("every:5", [0], [5, 10]), ("0,4", [0, 4], [])])
def test_which_slices_carry_labels_can_be_said(run: Run, some: Segmentation, labels_on: str, drawn: list[int],
                                               empty: list[int]) -> None:
    assert run("reconstruct", "volume.nrrd", "--labels", "some.seg.nrrd", "--labels-on", labels_on, "--report",
               "r.json") == 0
    found = json.loads(Path("r.json").read_text(encoding="utf-8"))["label_completion"]
    assert (found["drawn_slices"], found["empty_slices"]) == (drawn, empty)


@pytest.mark.parametrize(("options", "message"), [
    (["--output-labels", "l.nrrd", "--labels-on", "each"], "Which slices carry labels: Cannot read the slices 'each'"),
    (["--output-labels", "l.nrrd", "--labels-on", ""], "Which slices carry labels: Write the numbers of slices"),
    (["--output-labels", "l.nrrd", "--labels-on", "1"], "empty on every used slice that carries labels"),
    (["--output-certainty", "c.nrrd", "--labels-on", "all"], "all of these carry labels. Leave it out, or say"),
    (["--output-probabilities", "p.nrrd", "--labels-on", "all"], "--output-probabilities tells about labels that are"),
    (["--output-probabilities", "p.mha"], "'p.mha' cannot hold a probability of each segment. Use .seg.nrrd"),
    (["--output-probabilities", "p.nrrd", "--output-certainty", "p.nrrd"], "would overwrite what --output-certainty"),
    ([], "Nothing would be written. Give at least one of --output, --output-labels, ")])
def test_labels_that_cannot_be_filled_are_explained(run: Run, some: Segmentation, capsys: pytest.CaptureFixture[str],
                                                    options: list[object], message: str) -> None:
    assert run("reconstruct", "volume.nrrd", "--labels", "some.seg.nrrd", *options) == 2
    assert message in capsys.readouterr().err and os.listdir() == ["some.seg.nrrd"]


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(("options", "message"), [
    (["--keep-every", 0], "needs a whole number of at least 1"), (["--keep-every", -3], "at least 1"),
    (["--keep-every", 11], "at least two are needed"), (["--hide-every", 1], "at least 2"),
    (["--keep-percent", 0], "between 0 and 100"), (["--keep-percent", 101], "between 0 and 100"),
    (["--keep-percent", "nan"], "between 0 and 100"), (["--slices", "4"], "at least two are needed"),
    (["--slices", "0,11"], "Slice 11 does not exist: this axis has slices 0 to 10"),
    (["--slices", "a-b"], "Cannot read the slices 'a-b'"), (["--slices", ""], "Write the numbers of slices"),
    (["--slices", "0-4", "--exclude", "0-10"], "No slice is left to use"), (["--exclude", "99"], "Slice 99 does not"),
    (["--exclude", "one"], "Cannot read the excluded slices 'one'"),
    (["--trust", "every:4"], "Unknown slice axis 'every'"),
    (["--trust", "0-4"], "Write AXIS:SPEC"), (["--trust", "k:"], "Write the numbers of slices"),
    (["--trust", "k:all", "--trust", "axial:0,1"], "along axis k twice"),
    (["--trust", "j:all", "--exclude", "3"], "slices of the slice axis, k"),
    (["--output-spacing", 0], "must be a positive number"), (["--output-spacing", -1], "must be a positive number"),
    (["--output-spacing", "nan"], "must be a positive number"), (["--output-spacing", "1e-12"], "more than"),
    (["--output-spacing", "1e-320"], "more than"), (["--paste-trusted"], "needs a result with the voxels of the input"),
    (["--output-labels", "l.nrrd"], "--output-labels needs --labels"),
    (["--output-certainty", "c.nrrd"], "--output-certainty needs --labels"),
    (["--output-probabilities", "p.nrrd"], "--output-probabilities needs --labels"),
    (["--label-network", "n.safetensors"], "--label-network needs --labels"),
    (["--labels-on", "0,4"], "there is no segmentation"),
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
    return {"nothing": (np.full_like(array, np.nan), "None of the slices to use along k holds data"),
            "beyond float32": (array.astype(np.float64) * 1e300, "single precision"),
            "one with data": (np.where(np.arange(11)[:, None, None] == 4, array, np.nan), "At least two slices"),
            "constant": (np.full_like(array, 3.0), "All used voxels have the same value (3)"),
            "one slice": (array[:1], "at least two are needed"),
            "colour": (np.stack([array] * 3, axis=-1), "3 values per voxel"),
            "complex": (array.astype(np.complex64), "complex")}


@pytest.mark.parametrize("kind", ["nothing", "beyond float32", "one with data", "constant", "one slice", "colour",
                                  "complex"])
def test_bad_volumes_are_explained(run: Run, volume: Image, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    import SimpleITK as sitk

    array, message = bad_volumes(volume)[kind]
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing(volume.grid.spacing)
    sitk.WriteImage(image, "bad.nrrd")
    assert run("reconstruct", "bad.nrrd", "--output", "o.nrrd") == 2
    assert message in capsys.readouterr().err
    assert os.listdir() == ["bad.nrrd"]


def test_a_damaged_slice_can_be_excluded(run: Run, volume: Image) -> None:
    damaged = volume.array.astype(np.float32)
    damaged[4, 3, 2] = np.nan
    write_image("bad.npz", Image(damaged, volume.grid))
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
    assert "a folder of volumes" in capsys.readouterr().err


def test_two_slices_are_enough(run: Run, volume: Image) -> None:
    write_image("two.npz", Image(volume.array[:2], Grid((2, 30, 34), spacing=volume.grid.spacing)))
    assert run("reconstruct", "two.npz", "--output", "o.npz") == 0
    assert read_image("o.npz").grid.shape == (4, 30, 34)


@pytest.mark.parametrize(("kind", "message"), [
    ("empty", "The segmentation is empty"), ("elsewhere", "lies outside"),
    ("fractions", "whole numbers"), ("hidden", "empty on every slice that is used")])
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
        there = replace(there, origin=tuple(there.index_to_physical(np.array((100, 0, 0)))))
    write_image("bad.nrrd", Image(labels, there))
    assert run("reconstruct", "volume.nrrd", "--labels", "bad.nrrd", "--keep-every", 2, "--output", "o.nrrd") == 2
    assert message in capsys.readouterr().err
