"""What can be known before the work is told before it, as what it is."""
from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from posix_case import POSIX
from program import QUICK, Ended, Program, contents, unharmed

from TriplaneGaussianReconLib.command_line.arguments import build_parser
from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.io.writers import write_image

RECONSTRUCT = ("reconstruct", "scan.nrrd", *QUICK, "--output")
LONG = 300 * "x"


def in_process(arguments: Sequence[object]) -> int:
    """Run the program in this process; returns its exit code."""
    try:
        return main([str(part) for part in arguments])
    except SystemExit as end:  # argparse
        return int(end.code or 0)


@pytest.fixture
def odd(folder: Path) -> Path:
    """The inputs, and what is no file."""
    (folder / "loop").symlink_to("loop")
    (folder / "file").write_text("text")
    os.mkfifo(folder / "pipe")
    os.makedirs(os.fsencode(folder) + b"/not\xfftext")
    shutil.copy(folder / "scan.nrrd", os.fsencode(folder) + b"/not\xfftext/scan.nrrd")
    return folder


@POSIX
def test_unusable_places_are_told_before_the_work(program: Program, odd: Path, monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(odd)
    model = ("model.safetensors", "--axis", "k", "--output")
    for *arguments, code in [
            (*RECONSTRUCT, "", 2), (*RECONSTRUCT, " ", 2), (*RECONSTRUCT, "o.nrrd", "--report", "", 2),
            (*RECONSTRUCT, "o.nrrd", "--labels", "", 2), (*RECONSTRUCT, "o.nrrd", "--save-model", "", 2),
            ("reconstruct", "", "--output", "o.nrrd", 2), ("render", "", "--axis", "k", "--output", "o.png", 2),
            ("info", "", 2), (*RECONSTRUCT, f"{LONG}.nrrd", 4), (*RECONSTRUCT, f"{LONG}/o.nrrd", 4),
            (*RECONSTRUCT, "o.nrrd", "--report", f"{LONG}.json", 4), (*RECONSTRUCT, "loop", 2),
            (*RECONSTRUCT, "loop/o.nrrd", 4), (*RECONSTRUCT, "file/o.nrrd", 4), (*RECONSTRUCT, "no/../o.nrrd", 4),
            (*RECONSTRUCT, b"not\xfftext/o.nrrd", 4), (*RECONSTRUCT, b"o.\xff.nii.gz", 4),
            ("reconstruct", b"not\xfftext/scan.nrrd", "--output", "o.nrrd", 2),
            ("reconstruct", f"{LONG}.nrrd", "--output", "o.nrrd", 2), ("reconstruct", "loop", "--output", "o.nrrd", 2),
            ("reconstruct", "file/scan.nrrd", "--output", "o.nrrd", 2),
            (*RECONSTRUCT, "o.nrrd", "--labels", f"{LONG}.nrrd", 2), (*RECONSTRUCT, "o.nrrd", "--labels", "loop", 2),
            ("info", LONG, 2), ("info", "loop", 2), ("info", "file/m.safetensors", 2), ("info", "file", 2),
            ("info", "pipe", 2), ("info", ".", 2), ("render", LONG, "--axis", "k", "--output", "o.png", 2),
            ("render", *model, f"{LONG}.png", 4), ("render", *model, "file/o.png", 4), ("export", LONG, "o.ply", 2)]:
        before = contents(odd)
        if any(isinstance(part, bytes) for part in arguments):  # what ended the process
            ended = program(*arguments)
        else:
            ended = Ended(in_process(arguments), "", capsys.readouterr().err)
        assert (ended.code, "Traceback" in ended.err, "stage" in ended.err) == (code, False, False), (arguments, ended)
        assert contents(odd) == before and ended.err.count("error: ") == 1


@POSIX
def test_names_that_are_no_text_do_where_they_can(program: Program, odd: Path) -> None:
    with unharmed(odd, "not\udcfftext/o.npz"):
        assert program(*RECONSTRUCT, b"not\xfftext/o.npz").code == 0


@pytest.mark.parametrize("options", [
    "--seed -1", "--seed 1e3", "--seed ²", "--seed 99999999999999999999999", "--slices 0-99999999999",
    "--slices 99999999999999999999", "--slices 5-1", "--slices ,,", "--slices 1e3", "--keep-every 0",
    "--keep-every 1e400", "--keep-every 99999999999999999999", "--hide-every 1", "--keep-percent nan",
    "--keep-percent inf", "--keep-percent 0", "--keep-percent -1", "--keep-percent 1e9", "--output-spacing nan",
    "--output-spacing 0", "--output-spacing -1", "--output-spacing 1e-12", "--output-spacing inf",
    "--output-spacing 1e300", "--trust k:every:4 --trust k:every:2", "--trust x:all", "--trust k", "--trust k:",
    "--trust :", "--trust k:every:0", "--trust k:every:1e400", "--exclude 0-99999999999", "--exclude 0-7",
    "--device cuda:-1", "--device tpu", "--device cuda:²", "--preset \x1b[2J", "--axis \0", "--slices segmented",
    "--output \0.nrrd", "--report a\0b"])
def test_unusable_options_are_told_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch, options: str,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    with unharmed(folder):
        code = in_process(["reconstruct", "scan.nrrd", "--output", "o.nrrd", "--device", "cpu", *options.split(" ")])
    told = capsys.readouterr().err
    assert code == 2 and "Traceback" not in told and "stage" not in told and "\x1b" not in told and len(told) < 2500


@pytest.mark.parametrize("options", [
    "--axis k --position nan", "--axis k --position 1e300", "--axis k --size 1e300", "--axis k --size nan",
    "--axis k --spacing 1e-300", "--axis k --spacing 1e300", "--axis k --spacing 0", "--point 1,2 --normal 0,0,1",
    "--point nan,0,0 --normal 0,0,1", "--point 0,0,0 --normal 0,0,0", "--point 0,0,0 --normal 1e-300,0,0"])
def test_planes_that_cannot_be_drawn(folder: Path, monkeypatch: pytest.MonkeyPatch, options: str,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    with unharmed(folder):
        code = in_process(["render", "model.safetensors", "--output", "o.npz", *options.split(" ")])
    told = capsys.readouterr().err
    assert code == 2 and "Traceback" not in told and "warning" not in told and len(told) < 2500


def test_every_path_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """No option that takes a path takes an empty one."""
    parser = build_parser()
    for arguments in (["evaluate", "v", "--keep-every", "2", "--json", ""], ["evaluate", "v", "--keep-every", "2",
                      "--figure", ""], ["export", "m", ""], ["render", "m", "--output", "o", "--output-labels", ""],
                      ["reconstruct", "v", "--output", "o", "--output-confidence", ""]):
        with pytest.raises(SystemExit):
            parser.parse_args(arguments)
        assert "'' is no path" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------- scans instead of labels


@pytest.mark.parametrize("kind", ["int16", "uint8", "probabilities", "stripes"])
def test_what_is_no_segmentation_is_refused_as_that(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    grid, random = Grid((8, 24, 20), spacing=(1, 1, 3)), np.random.default_rng(0)
    arrays = {"int16": random.normal(40, 300, grid.shape).astype(np.int16), "probabilities": random.random(grid.shape),
              "uint8": random.integers(0, 256, grid.shape).astype(np.uint8),
              "stripes": np.broadcast_to(np.arange(20, dtype=np.uint8), grid.shape)}
    wanted = {"probabilities": "must be whole numbers", "stripes": ""}.get(kind, "a scan rather than a segmentation")
    write_image(folder / "given.nrrd", Image(arrays[kind], grid))
    with unharmed(folder, *(["o.npz"] if kind == "stripes" else [])):
        code = main(["reconstruct", "scan.nrrd", *QUICK, "--labels", "given.nrrd", "--output", "o.npz"])
    told = capsys.readouterr().err
    assert (code == 2 and wanted in told and "stage" not in told) or (kind == "stripes" and code == 0)


# --------------------------------------------------------------------------------------------------------------- disks


@POSIX
def test_results_that_cannot_fit_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    """A stand-in for a disk that is nearly full."""
    from types import SimpleNamespace

    monkeypatch.chdir(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5000))
    with unharmed(folder):
        assert main(["reconstruct", "scan.nrrd", *QUICK, "--output", "o.nii"]) == 4
    assert "5 kB free, and the results need 7.68 kB" in capsys.readouterr().err
    with unharmed(folder, "o.nii.gz"):
        assert main(["reconstruct", "scan.nrrd", *QUICK, "--output", "o.nii.gz"]) == 0
    assert "if they cannot be compressed" in capsys.readouterr().err


@POSIX
def test_what_is_written_before_a_disk_is_full_is_told(program: Program, folder: Path) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # the model has more

    (folder / "m.safetensors").write_text("an older model")
    with unharmed(folder, "o.npz"):
        ended = program(*RECONSTRUCT, "o.npz", "--save-model", "m.safetensors", before=limit)
    assert ended.code == 4 and "'m.safetensors' was not written" in ended.err and "Written before: o.npz." in ended.err
    assert "Traceback" not in ended.err
