"""ECLARE as a peer: what goes to its program and what comes back, and what is said when it cannot run.

A stand-in takes its place: linear interpolation with the options and the output grid of eclare 1.0.1.
"""
from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from posix_case import POSIX
from repository import ROOT
from stand_in_package import environment_with

from TriplaneGaussianReconLib.data.geometry import Axis, Grid, array_axis
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import (
    BackendUnavailableError,
    InputError,
    MissingPackageError,
    ReconstructionError,
)
from TriplaneGaussianReconLib.evaluation import baselines, eclare
from TriplaneGaussianReconLib.evaluation.eclare import Eclare
from TriplaneGaussianReconLib.evaluation.evaluate import evaluate
from TriplaneGaussianReconLib.io.writers import write_image

COUNT = 11
KEEP = Selection.every(COUNT, 3)
STAND_IN = '''
import argparse
import numpy as np
import SimpleITK as sitk

def main():
    parser = argparse.ArgumentParser()
    for name, kind in {"--in-fpath": str, "--out-dir": str, "--n-patches": int, "--relative-slice-thickness": float,
                       "--relative-slice-profile-fpath": str, "--gpu-id": int}.items():
        parser.add_argument(name, type=kind)
    arguments = parser.parse_args()
    assert np.load(arguments.relative_slice_profile_fpath).tolist() == [0, 1, 0]
    assert arguments.n_patches == 600_000 and arguments.gpu_id is None
    image = sitk.ReadImage(arguments.in_fpath)
    spacing = np.array(image.GetSpacing())
    axis = int(np.argmax(spacing))
    step = round(float(spacing[axis] / spacing.min()), 3)
    slices = np.moveaxis(sitk.GetArrayFromImage(image), 2 - axis, 0)
    place = ((np.arange(round(len(slices) * step)) + 0.5) / step - 0.5).clip(0, len(slices) - 1)
    before = place.astype(int).clip(0, len(slices) - 2)
    share = (place - before)[:, None, None]
    dense = (1 - share) * slices[before] + share * slices[before + 1]
    result = sitk.GetImageFromArray(np.moveaxis(dense, 0, 2 - axis).astype(np.float32))
    origin = np.array(image.GetOrigin())
    origin[axis] -= (step - 1) / 2 * spacing.min()
    spacing[axis] = spacing.min()
    result.SetSpacing(spacing.tolist())
    result.SetOrigin(origin.tolist())
    sitk.WriteImage(result, "thick_eclare.nii.gz")
'''
Environment = Callable[..., str]


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Make an environment with a stand-in for ECLARE, `main.py` of its package; returns the path of its Python."""

    def make(main: str | None, gpu: bool = False) -> str:
        modules = {"eclare.__init__": "", "eclare.main": main} if main is not None else {}
        return environment_with(tmp_path / "stand_in_for_eclare", modules, gpu)

    return make


def case(axis: Axis = "k", spacing: tuple[float, float, float] = (0.8, 0.8, 0.8)) -> Image:
    """A volume in [0, 1] with COUNT slices across `axis`."""
    shape = [14, 15, 16]
    shape[array_axis(axis)] = COUNT
    array = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    return Image(array, Grid(array.shape, (5.0, -3.0, 70.0), spacing, ((-1, 0, 0), (0, -1, 0), (0, 0, 1))))


@pytest.mark.parametrize("axis", ["i", "j", "k"])
def test_its_slices_are_put_where_they_belong(environment: Environment, axis: Axis) -> None:
    image = case(axis)
    method = Eclare(environment(STAND_IN), "cpu")
    method.prepare()
    dimension = array_axis(axis)
    filled = method(image, None, axis, KEEP).volume
    assert filled is not None
    between = np.arange(KEEP.indices[-1] + 1)
    expected = baselines.linear(np.array(KEEP.indices), np.moveaxis(image.array, dimension, 0)[::3], between)
    np.testing.assert_allclose(np.moveaxis(filled, dimension, 0)[:len(between)], expected, atol=1e-6)
    assert filled.shape == image.array.shape


def test_slices_beyond_its_last_repeat_it(environment: Environment) -> None:
    observed = Selection((1, 4, 7), COUNT)
    filled = Eclare(environment(STAND_IN), "cpu")(case(), None, "k", observed).volume
    assert filled is not None
    np.testing.assert_allclose(filled[[1, 4, 7]], case().array[[1, 4, 7]], atol=1e-6)
    np.testing.assert_array_equal(filled[[9, 10]], filled[[8, 8]])


def test_it_is_a_row_of_the_evaluation(environment: Environment) -> None:
    report = evaluate(case(), None, "k", KEEP, ["linear", "eclare"], {"eclare": Eclare(environment(STAND_IN), "cpu")})
    linear, network = report.rows
    assert network.failure is None
    assert network.scores["psnr"].value == pytest.approx(linear.scores["psnr"].value, abs=1e-3)
    assert not network.is_baseline and "dice" not in network.scores


@pytest.mark.parametrize(("spacing", "selection"), [
    ((0.8, 0.8, 0.8), Selection.every(COUNT, 2)), ((0.8, 0.8, 0.8), Selection.all_but_every(COUNT, 3)),
    ((0.8, 0.8, 1.0), KEEP)])
def test_slices_that_it_cannot_hit(spacing: tuple[float, float, float], selection: Selection) -> None:
    with pytest.raises(InputError, match="cubic .* every 3rd"):
        Eclare(sys.executable, "cpu")(case(spacing=spacing), None, "k", selection)


@pytest.mark.parametrize(("main", "message"), [
    ("def main():\n    print('training')\n    raise RuntimeError('out of patches')", "code 1: .*out of patches"),
    ("import sys\ndef main():\n    sys.exit(3)", "code 3: no message"),
    ("def main(): pass", "without a result 'thick_eclare.nii.gz'"),
    (STAND_IN.replace("(step - 1) / 2", "1.5 * (step - 1) / 2"), r"expected. Use eclare 1\.0\.1"),
    (STAND_IN.replace("len(slices) * step)", "len(slices) * step) - 1"), r"expected. Use eclare 1\.0\.1")])
def test_runs_that_fail(environment: Environment, main: str, message: str) -> None:
    method = Eclare(environment(main), "cpu")
    method.prepare()
    with pytest.raises(ReconstructionError, match=message):
        method(case(), None, "k", KEEP)


def test_environments_that_are_missing(environment: Environment, tmp_path: Path) -> None:
    for python, message in ((None, "needs an environment of its own"), (str(tmp_path / "no"), "found no Python '.*no'"),
                            (environment(None), "No module named 'eclare'.* pip install eclare")):
        with pytest.raises(MissingPackageError, match=message):
            Eclare(python, "cpu").prepare()


def test_a_gpu_is_used_or_missed(environment: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(eclare, "choose", lambda device: SimpleNamespace(device=torch.device(device)))
    python = environment("import sys\ndef main():\n    sys.exit(' '.join(sys.argv[1:]))")
    with pytest.raises(BackendUnavailableError, match="cannot use the GPU"):
        Eclare(python, "cuda:1").prepare()
    with pytest.raises(ReconstructionError, match="--n-patches 600000 .*--gpu-id 1$"):
        Eclare(python, "cuda:1")(case(), None, "k", KEEP)
    Path(python).parents[1].rename(tmp_path / "without_gpu")
    Eclare(environment(STAND_IN, gpu=True), "cuda:1").prepare()


def test_it_ends_with_the_process_that_waits_for_it(environment: Environment, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # for what a process leaves that is ended like this
    beats = tmp_path / "beats"
    python = environment("import time\ndef main():\n    while True:\n        time.sleep(0.02)\n"
                         f"        open({str(beats)!r}, 'a').write('.')")
    process = multiprocessing.get_context("spawn").Process(target=Eclare(python, "cpu"),
                                                           args=(case(), None, "k", KEEP))
    process.start()
    while not beats.exists():
        assert process.is_alive()
        time.sleep(0.05)
    process.terminate()
    process.join()
    deadline, size = time.monotonic() + 60, -1
    while size != (size := beats.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(1.0)


def logged(folder: Path) -> list[str]:
    """What stand-ins for ECLARE have printed; nothing yet while temporary folders come and go."""
    try:
        return [word for log in folder.rglob("log.txt") for word in log.read_text().split()]
    except FileNotFoundError:
        return []


@POSIX
@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_nothing_of_an_evaluation_remains_when_it_is_stopped(environment: Environment, tmp_path: Path, name: str
                                                             ) -> None:
    python = environment("import os, time\ndef main():\n    print(os.getpid(), os.getppid(), flush=True)\n"
                         "    time.sleep(120)")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    write_image(tmp_path / "volume.nrrd", case())
    process = subprocess.Popen(
        [sys.executable, "-m", "TriplaneGaussianReconLib", "evaluate", str(tmp_path / "volume.nrrd"), "--keep-every",
         "3", "--methods", "eclare", "--eclare-python", python, "--device", "cpu"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(temporary)})
    try:
        while not (numbers := logged(temporary)):
            assert process.poll() is None
            time.sleep(0.05)
        started = [psutil.Process(int(number)) for number in numbers]
        process.send_signal(getattr(signal, name))
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert not psutil.wait_procs(started, timeout=30)[1]
    assert not list(temporary.iterdir())
    if name != "SIGKILL":
        assert process.returncode == 130 and told.endswith("Stopped; nothing was written.\n") and "Trace" not in told
