"""What 3D Slicer imports before the packages are installed needs numpy alone."""
from __future__ import annotations

import subprocess
import sys

import pytest
from repository import ROOT
from source_code import LIBRARY

HEAVY = ("torch", "numba", "SimpleITK", "scipy", "cv2", "psutil", "safetensors", "rich", "nibabel", "skimage",
         "matplotlib", "itk")
# Runs in a process of its own, in which an import of anything heavy fails.
PROGRAM = """
import importlib, sys
sys.modules.update(dict.fromkeys(sys.argv[2:]))
sys.path.insert(0, sys.argv[1])
for name in sys.stdin.read().split():
    importlib.import_module(name)
"""


def modules(package: str) -> list[str]:
    """The files of a package of the library, by their names for an import."""
    return [f"{LIBRARY.name}.{package}.{path.stem}" for path in sorted((LIBRARY / package).glob("*.py"))
            if path.stem != "__init__"]


@pytest.mark.parametrize("names", [
    [LIBRARY.name, f"{LIBRARY.name}.errors"], modules("config"), modules("data"), [f"{LIBRARY.name}.io.atomic"],
    [f"{LIBRARY.name}.jobs.protocol"]], ids=["errors", "config", "data", "io.atomic", "jobs.protocol"])
def test_numpy_is_enough(names: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(ROOT), *HEAVY], input="\n".join(names), text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
