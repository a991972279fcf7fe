"""How the program ends when it cannot go on: exit codes, messages, and what is left behind."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from posix_case import POSIX
from repository import ROOT

from TriplaneGaussianReconLib.command_line import outputs
from TriplaneGaussianReconLib.command_line import reconstruct as command
from TriplaneGaussianReconLib.errors import Cancelled

Run = Callable[..., int]


def test_missing_devices_and_packages_end_with_3(run: Run, capsys: pytest.CaptureFixture[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    from TriplaneGaussianReconLib.errors import BackendUnavailableError
    from TriplaneGaussianReconLib.runtime import devices

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


@POSIX
def test_outputs_that_are_no_files_end_with_4_before_the_work(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    reconstruct = ("reconstruct", "volume.nrrd", "--labels", "labels.seg.nrrd", "--output")
    evaluate, render = ("evaluate", "volume.nrrd", "--keep-every", "2"), ("render", "no.model", "--axis", "k")
    for *options, name in [
            (*reconstruct, "p.nrrd"), (*reconstruct, "o.nrrd", "--output-labels", "p.seg.nrrd"),
            (*reconstruct, "o.nrrd", "--output-confidence", "p.nii.gz"),
            (*reconstruct, "o.nrrd", "--save-model", "p.safetensors"), (*reconstruct, "o.nrrd", "--report", "p.txt"),
            (*evaluate, "--json", "p.json"), (*evaluate, "--figure", "p.png"), (*render, "--output", "p.png"),
            (*render, "--output", "p.npz"), (*render, "--output", "o.npz", "--output-labels", "p.mha"),
            ("export", "no.model", "p.ply")]:
        os.mkfifo(name)
        assert run(*options, name) == 4
        printed = capsys.readouterr().err
        assert f"'{name}' is a device, pipe or socket" in printed and "stage" not in printed
        assert os.listdir() == [name] and Path(name).is_fifo()
        os.unlink(name)


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(("error", "code", "message"), [
    (MemoryError(), 5, "not enough memory.*larger slice spacing"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 5, "not enough memory"),
    (OSError(28, "No space left on device"), 4, "disk is full"),
    (KeyboardInterrupt(), 130, "Stopped; nothing was written"),
    (Cancelled("Stopped on request; nothing was written."), 130, "nothing was written"),
    (ZeroDivisionError("a bug"), 1, "Traceback.*ZeroDivisionError: a bug.*Please report it")])
def test_failures_have_their_exit_codes(run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                        error: BaseException, code: int, message: str) -> None:
    monkeypatch.setattr(command, "reconstruct_with", failing(error))
    assert run("reconstruct", "volume.nrrd", "--output", "o.nrrd") == code
    printed = capsys.readouterr().err
    assert re.search(message, printed, re.DOTALL)
    assert ("Traceback" in printed) == (code == 1)
    assert os.listdir() == []


def test_a_stop_while_writing_tells_what_is_there(run: Run, capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "save_model", failing(KeyboardInterrupt()))
    assert run("reconstruct", "volume.nrrd", "--slices", "0-3", "--output", "o.npz", "--save-model",
               "m.safetensors") == 130
    assert "Stopped while writing. Written before: o.npz." in capsys.readouterr().err
    assert os.listdir() == ["o.npz"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send Ctrl-C to one process")
@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize(("name", "times"), [("SIGINT", 1), ("SIGINT", 2), ("SIGTERM", 1), ("SIGHUP", 2)])
def test_signals_stop_cleanly(files: Path, tmp_path: Path, name: str, times: int) -> None:
    # The preset trains for minutes, so that the signal arrives during training.
    process = subprocess.Popen(
        [sys.executable, "-m", "TriplaneGaussianReconLib", "reconstruct", str(files / "volume.nrrd"), "--preset",
         "paper-displaced", "--output", str(tmp_path / "o.nrrd")],
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        printed = ""
        while "Training Gaussians" not in printed:
            line = process.stderr.readline()
            assert line, printed
            printed += line
        process.send_signal(getattr(signal, name))
        if times == 2:
            assert "Press Ctrl-C again" in process.stderr.readline()
            process.send_signal(getattr(signal, name))
        rest = process.stderr.read()  # not `communicate`, which does not know what has been read ahead
        process.wait(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "nothing was written." in rest
    assert "Traceback" not in rest
    assert not list(tmp_path.iterdir())
