"""The stable 3D Slicer as well: tests of scene and views, repeated with the MRML and VTK that it has.

The environment has those of the newest `slicer-core`; two cannot be in one process.
"""
from __future__ import annotations

import os
import subprocess
import sys

import pytest
from repository import ROOT

STABLE = ROOT / ".venv" / "slicer-stable"  # `provide_stable_slicer` in Testing/setup_environment.sh puts it there
TESTS = ("scene", "panel/test_rendered_views.py")
_FOUND = "import slicer, slicer_core, vtk; print(slicer_core.__file__, vtk.__file__)"


@pytest.mark.slow
@pytest.mark.skipif(not STABLE.is_dir(), reason="./test.sh installs the stable slicer-core")
def test_scene_and_views_are_right_in_the_stable_slicer() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(STABLE), environment.get("PYTHONPATH", "")])
    found = subprocess.run([sys.executable, "-c", _FOUND], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.count(str(STABLE)) == 2
    tests = [str(ROOT / "Testing" / "Python" / "module" / name) for name in TESTS]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests],
                          env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
