"""No import goes up: the contract of import-linter names every package, holds, and notices what breaks it."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from repository import ROOT
from source_code import LIBRARY, MODULE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

UPWARD = [
    ("TriplaneGaussianReconLib/data/geometry.py", "from ..pipeline import reconstruction"),
    ("TriplaneGaussianReconLib/io/atomic.py", "import TriplaneGaussianReconLib.command_line.main"),
    ("TriplaneGaussianReconLib/errors.py", "def late():\n    from .config import presets"),
    ("TriplaneGaussianReconLib/config/presets.py", "import TriplaneGaussianReconModule.wording"),
    ("TriplaneGaussianRecon/TriplaneGaussianReconModule/scene/nodes.py", "from ..panel import widget")]


def checked(root: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the tree at `root`."""
    program = shutil.which("lint-imports", path=sysconfig.get_path("scripts"))
    assert program, "import-linter is not installed"
    return subprocess.run([program, "--no-cache"], cwd=root, capture_output=True, encoding="utf-8", errors="replace",
                          check=False, env={**os.environ, "PYTHONPATH": str(root / "TriplaneGaussianRecon")})


def contracts() -> list[dict]:
    """The contracts of layers."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    return [contract for contract in settings["contracts"] if contract["type"] == "layers"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of library and module."""
    for folder in (LIBRARY, MODULE):
        shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("__pycache__", "Resources"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_no_import_goes_up() -> None:
    found = checked(ROOT)
    assert found.returncode == 0, found.stdout


def test_a_copy_passes_as_it_is(copy: Path) -> None:
    assert checked(copy).returncode == 0


@pytest.mark.parametrize(("file", "statement"), UPWARD)
def test_an_import_that_goes_up_is_noticed(copy: Path, file: str, statement: str) -> None:
    with (copy / file).open("a", encoding="utf-8") as text:
        text.write(f"\n\n{statement}\n")
    found = checked(copy)
    assert found.returncode == 1 and "BROKEN" in found.stdout


def test_a_package_that_the_contract_does_not_name_is_noticed(copy: Path) -> None:
    (copy / LIBRARY.name / "attic").mkdir()
    (copy / LIBRARY.name / "attic" / "__init__.py").touch()
    found = checked(copy)
    assert found.returncode == 1 and "attic" in found.stdout + found.stderr


@pytest.mark.parametrize("container", [LIBRARY, MODULE / "TriplaneGaussianReconModule"])
def test_the_contract_names_every_package(container: Path) -> None:
    contract = next(one for one in contracts() if one["containers"] == [container.name])
    parts = {path.stem for path in container.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert contract["exhaustive"]
    named = {name for layer in contract["layers"] for name in re.findall(r"\w+", layer)}
    assert named | {*contract.get("exhaustive_ignores", ())} == parts - {"__init__"}
