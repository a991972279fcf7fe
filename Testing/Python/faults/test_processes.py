"""Processes that are stopped, killed, or lose what they work on."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from posix_case import POSIX
from program import QUICK, Program, contents, unharmed
from repository import ROOT

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.jobs.protocol import STOP, Job
from TriplaneGaussianReconLib.jobs.worker import WorkerExit

pytestmark = POSIX

_INTERRUPTED = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{signal})
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("name", ["TriplaneGaussianReconLib.command_line.main", "TriplaneGaussianReconLib.errors",
                                  "argparse", "numpy", "torch", "cv2"])
@pytest.mark.usefixtures("heard_signals")
def test_ctrl_c_while_packages_are_imported(program: Program, folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(_INTERRUPTED.format(name=name, signal="SIGINT"))
    with unharmed(folder):
        ended = program("reconstruct", "scan.nrrd", *QUICK, "--output", "o.nrrd", environment={
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    assert (ended.code, "Traceback" in ended.err) == (130, False), ended.err


# ------------------------------------------------------------------------------------------------------------- workers


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The folder of a job that goes through all stages but learning, with temporary files beside it."""
    for name in ("job", "temporary"):
        (tmp_path / name).mkdir()
    voxels = np.random.default_rng(0).integers(0, 1000, (7, 20, 20)).astype(np.int16)
    Job(Image(voxels, Grid(voxels.shape)), {"k": Selection.every(7, 2)}, preset="paper-displaced", device="cpu",
        keep_model=True).write(tmp_path / "job")
    return tmp_path / "job"


def started(job: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "TriplaneGaussianReconLib.jobs.worker", str(job)], cwd=ROOT,
                            env={**os.environ, "TMPDIR": str(job.parent / "temporary")}, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def do_at(job: Path, moment: str, deed: Callable[[subprocess.Popen[str]], object]) -> tuple[int, list[str], str]:
    """Run a worker, do something when it tells of `moment`; returns exit code, events, and what it logged."""
    with started(job) as process:
        assert process.stdout is not None and process.stderr is not None
        events = []
        for line in process.stdout:
            message = json.loads(line)
            events.append(message["event"])
            if moment in (message["event"], message.get("stage")):
                moment = ""
                deed(process)
        return process.wait(60), events, process.stderr.read()


@pytest.mark.parametrize("moment", ["started", "preview", "training"])
def test_a_killed_worker_leaves_nothing_outside_its_folder(job: Path, moment: str) -> None:
    before = contents(job)
    code, events, _ = do_at(job, moment, lambda process: process.kill())
    assert code == -signal.SIGKILL and "finished" not in events
    assert not list((job.parent / "temporary").iterdir()) and len(list(job.parent.iterdir())) == 2
    after = contents(job)
    assert {name: after[name] for name in before} == before and "outcome.json" not in after


def test_a_request_to_stop_that_is_there_from_the_start(job: Path) -> None:
    (job / STOP).touch()
    before = contents(job)
    code, events, log = do_at(job, "", lambda _: None)
    assert (code, events[-1], "Traceback" in log) == (WorkerExit.CANCELLED, "cancelled", False)
    assert contents(job) == before and not list((job.parent / "temporary").iterdir())


@pytest.mark.parametrize("moment", ["started", "training"])
def test_a_folder_that_vanishes_is_told(job: Path, moment: str) -> None:
    code, events, _ = do_at(job, moment, lambda _: shutil.rmtree(job))
    assert code == WorkerExit.FAILED and events[-1] == "failed" and not job.exists()
    assert not list((job.parent / "temporary").iterdir())


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_listener_that_is_gone(job: Path, stream: str) -> None:
    """Without a listener the job is not wanted; without a reader of the log it is."""
    before = contents(job)
    with started(job) as process:
        for name in ("stdout", "stderr"):
            if name == stream:
                getattr(process, name).close()
        code = process.wait(60) if stream == "stdout" else None
        if code is None:
            assert process.stdout is not None
            events = [json.loads(line)["event"] for line in process.stdout]
            assert process.wait(60) == WorkerExit.FINISHED and events[-1] == "finished"
            return
    assert code == WorkerExit.CANCELLED and contents(job) == before
