"""The source files of library and module, for tests that look at the code itself."""
from __future__ import annotations

from pathlib import Path

from repository import ROOT

LIBRARY = ROOT / "TriplaneGaussianReconLib"
MODULE = ROOT / "TriplaneGaussianRecon"
KERNELS = "kernels.py"  # what the names of files end with that numba compiles


def sources() -> list[Path]:
    """All Python files of library and module."""
    return sorted(path for folder in (LIBRARY, MODULE) for path in folder.rglob("*.py"))


def shown(path: Path) -> str:
    """A path as one would look for it."""
    return path.relative_to(ROOT).as_posix()
