"""Masks, control groups, SLURM, the environment and the user say how many threads there are."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from repository import ROOT

from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.runtime.processors import limited_threads, usable_processors, usable_threads

_VARIABLES = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch, keep_thread_counts: None) -> None:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)


def told(tmp_path: Path, version: str, **files: str) -> Path:
    """A folder as /proc/self is one, of a process in a group with these files."""
    (tmp_path / "mount").mkdir()
    for name, content in files.items():
        (tmp_path / "mount" / name.replace("__", ".")).write_text(f"{content}\n")
    controllers, number = ("", 0) if version == "cgroup2" else ("cpu,cpuacct", 4)
    (tmp_path / "cgroup").write_text(f"{number}:{controllers}:/\n")
    (tmp_path / "mountinfo").write_text(f"31 23 0:1 / {tmp_path / 'mount'} rw - {version} x rw,{controllers}\n")
    return tmp_path


def test_a_quota_of_a_processor_and_less_is_one_thread(tmp_path: Path) -> None:
    assert usable_processors(told(tmp_path, "cgroup2", cpu__max="50000 100000")) == 1


def test_a_quota_of_version_1_counts_too(tmp_path: Path) -> None:
    assert usable_processors(told(tmp_path, "cgroup", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")) == 1


@pytest.mark.parametrize("content", ["max 100000", "rubbish", "", "900000000 1000"])
def test_what_sets_no_quota_leaves_all_processors(tmp_path: Path, content: str) -> None:
    assert usable_processors(told(tmp_path, "cgroup2", cpu__max=content)) == usable_processors(tmp_path / "none")


@pytest.mark.parametrize("variable", _VARIABLES)
def test_the_environment_counts_where_it_is_less(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = usable_threads()
    for value, expected in (("1", 1), ("1,4", 1), ("100000", everything), ("many", everything), ("0", everything)):
        monkeypatch.setenv(variable, value)
        assert usable_threads() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="This system has no mask of processors to set.")
def test_the_mask_of_taskset_counts() -> None:
    code = ("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
            "from TriplaneGaussianReconLib.runtime.processors import usable_threads; print(usable_threads())")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_torch_and_processes_that_start_use_what_was_asked_for_and_later_as_before(monkeypatch: pytest.MonkeyPatch
                                                                                   ) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    torch.set_num_threads(2)
    with limited_threads(1) as count:
        assert count == usable_threads() == torch.get_num_threads() == 1
        assert os.environ["OMP_NUM_THREADS"] == os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] == "1"
    assert torch.get_num_threads() == 2 and os.environ["OMP_NUM_THREADS"] == "7"
    assert "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS" not in os.environ


def test_without_a_wish_torch_uses_no_more_than_before() -> None:
    torch.set_num_threads(1)
    with limited_threads():
        assert torch.get_num_threads() == 1


def test_more_than_there_are_processors_is_told_and_not_used() -> None:
    with pytest.warns(RuntimeWarning, match="100000 threads were asked for, and this process may use"), \
            limited_threads(100000) as count:
        assert count == usable_processors()


def test_no_threads_at_all_are_refused() -> None:
    with pytest.raises(InputError, match="whole number from 1 on, not 0"), limited_threads(0):
        pass


def test_settling_it_loads_nothing_heavy() -> None:
    code = ("import sys\nimport TriplaneGaussianReconLib.runtime.processors\n"
            "print(sorted({'torch', 'numba', 'cv2', 'psutil', 'numpy'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
