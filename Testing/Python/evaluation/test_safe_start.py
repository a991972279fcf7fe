"""Processes that are started import nothing from the current folder."""
from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

from TriplaneGaussianReconLib.evaluation.safe_start import safe_start

MODULES = ("struct", "pickle", "signal", "multiprocessing", "numpy", "torch", "selectors")


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder has files that leave a mark when they are imported."""
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'a').write('{name} ')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return tmp_path


def child() -> None:
    process = multiprocessing.get_context("spawn").Process(target=os.getcwd)
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("is_known", [True, False])
def test_nothing_is_run_with_the_variable_or_without_it(trap: Path, is_known: bool) -> None:
    if is_known and sys.version_info < (3, 11):
        pytest.skip("this Python does not know the variable")
    with safe_start(is_known):
        if not is_known:
            del os.environ["PYTHONSAFEPATH"]
        child()
    assert not (trap / "mark").exists()
    assert Path.cwd() == trap and "PYTHONSAFEPATH" not in os.environ


def test_what_was_set_is_set_again(trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "mine")
    with safe_start():
        assert os.environ["PYTHONSAFEPATH"] == "1"
    assert os.environ["PYTHONSAFEPATH"] == "mine"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="starts the command line with -P, which Python 3.10 lacks")
def test_an_evaluation_runs_nothing_from_the_current_folder(trap: Path) -> None:
    code = ("import numpy as np, sys\n"
            "from TriplaneGaussianReconLib import Grid, Image, write_image\n"
            "from TriplaneGaussianReconLib.__main__ import main\n"
            "if __name__ == '__main__':\n"
            "    write_image('scan.npz', Image(np.random.default_rng(0).random((7, 16, 16)), Grid((7, 16, 16))))\n"
            "    sys.argv[1:] = 'evaluate scan.npz --keep-every 2 --methods linear --device cpu'.split()\n"
            "    sys.exit(main())\n")
    done = subprocess.run([sys.executable, "-P", "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "linear" in done.stdout and not (trap / "mark").exists()
