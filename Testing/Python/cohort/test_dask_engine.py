"""Workers of Dask do cases: of a scheduler that runs already, and though a worker is killed."""
from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import cohort_case
import distributed
import psutil
import pytest

from TriplaneGaussianReconLib.cohort.dask_engine import DaskEngine, settings
from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.exit_codes import ExitCode

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes and their ends are Linux's here")


def test_a_scheduler_is_used_by_its_address_and_a_worker_that_is_killed_is_made_up_for(tmp_path: Path) -> None:
    table = cohort_case.write_cohort(tmp_path / "data", 4, broken=False)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, memory_limit=0, dashboard_address=None) as cluster:
        process = cohort_case.start(table, tmp_path / "out", "--engine", f"dask:{cluster.scheduler_address}",
                                    *cohort_case.QUICK)
        while not cohort_case.done(tmp_path / "out"):
            assert process.poll() is None
            time.sleep(0.05)
        worker = cluster.workers[0].pid
        children = psutil.Process(worker).children(recursive=True)
        os.kill(worker, signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert children and not alive
        out, err = process.communicate(timeout=300)
    assert process.returncode == ExitCode.SUCCESS, out + err
    assert len(cohort_case.done(tmp_path / "out")) == 4


def test_a_scheduler_that_is_not_there_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("TriplaneGaussianReconLib.cohort.dask_engine._CONNECT", "1s")
    table = cohort_case.write_cohort(tmp_path / "data", 1, broken=False)
    assert main(["cohort", str(table), str(tmp_path / "out"), "--engine", "dask:tcp://127.0.0.1:1"]) == (
        ExitCode.BAD_INPUT)
    assert "no scheduler of Dask at 'tcp://127.0.0.1:1'" in capsys.readouterr().err


def test_what_a_queue_is_asked_for_stands_in_the_script_of_its_jobs() -> None:
    """As dask-jobqueue writes it; no queue is here to take it."""
    jobqueue = pytest.importorskip("dask_jobqueue")
    given = settings("cores=1 job_cpu=4 memory=16GB walltime=08:00:00 queue=short job_extra_directives=--gres=gpu:1")
    with jobqueue.SLURMCluster(**given, scheduler_options={"dashboard_address": None}) as cluster:
        script = cluster.job_script()
    for line in ("#SBATCH -p short", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=15G", "#SBATCH -t 08:00:00",
                 "#SBATCH --gres=gpu:1", "--nthreads 1"):
        assert line in script


def test_options_of_a_queue_are_read() -> None:
    assert settings("cores=4 memory='16 GB' job_extra_directives=--gres=gpu:1 job_extra_directives=--mail=a") == {
        "cores": 4, "memory": "16 GB", "job_extra_directives": ["--gres=gpu:1", "--mail=a"]}


@pytest.mark.parametrize("text", ["cores", "4=cores", "cores 4"])
def test_what_cannot_be_read_is_told_of(text: str) -> None:
    with pytest.raises(InputError, match="cannot be read. Write KEY=VALUE"):
        DaskEngine(queue=("slurm", text))
