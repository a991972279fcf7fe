"""The extension as 3D Slicer packages it: configured and installed by CMake over a stand-in for Slicer's macros."""
from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import cv2
import pytest
from repository import ROOT

BUILD = ROOT / "Testing/Python/support" / "stand_in_slicer_build"
EXTENSION = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
DESCRIPTION = json.loads((ROOT / "TriplaneGaussianRecon.json").read_text(encoding="utf-8"))
MODULE, LIBRARY = ROOT / "TriplaneGaussianRecon", ROOT / "TriplaneGaussianReconLib"
WITHOUT = {"__pycache__", "CMakeLists.txt", ".mypy_cache", ".ruff_cache"}  # what is not installed


def extension(name: str) -> str:
    """The value of EXTENSION_<name>, which Slicer's index reads by a pattern like this one."""
    found = re.search(rf'^set\(EXTENSION_{name} "([^"\n]*)"\)$', EXTENSION, re.MULTILINE)
    assert found, name
    return found[1]


def files(folder: Path, without: frozenset[str] = frozenset()) -> set[str]:
    """The files in a folder that are to be installed, by their paths in it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not {*path.parts} & {*WITHOUT, *without}}


def cmake(tool: str, *arguments: str | Path) -> str:
    """Run a program of the package cmake; return what it says."""
    program = shutil.which(tool, path=sysconfig.get_path("scripts"))
    assert program, f"{tool} of the package cmake is not installed"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configured extension."""
    folder = tmp_path_factory.mktemp("build")
    cmake("cmake", "-S", BUILD, "-B", folder, "-G", "Ninja", f"-DEXTENSION={ROOT.as_posix()}")
    return folder


@pytest.fixture(scope="module")
def installed(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scripted modules of the installed extension."""
    prefix = tmp_path_factory.mktemp("installed")
    cmake("cmake", "--install", build, "--prefix", prefix)
    return prefix / "lib" / "Slicer-5.12" / "qt-scripted-modules"


def test_exactly_the_files_of_module_and_library_are_installed(installed: Path) -> None:
    expected = files(MODULE, frozenset({"Testing"})) | {f"{LIBRARY.name}/{file}" for file in files(LIBRARY)}
    found = files(installed)
    assert not expected - found, "To be listed in CMakeLists.txt of the module or the library:\n" + "\n".join(
        sorted(expected - found))
    assert found == expected


def test_what_is_easily_forgotten_is_there(installed: Path) -> None:
    for file in ("TriplaneGaussianRecon.py", "Resources/UI/TriplaneGaussianRecon.ui", "Resources/requirements.txt",
                 "Resources/Icons/TriplaneGaussianRecon.png", "TriplaneGaussianReconModule/__init__.py",
                 "TriplaneGaussianReconLib/cuda/common.cuh", "TriplaneGaussianReconLib/rasterizer/cuda_sums.cu",
                 "TriplaneGaussianReconLib/jobs/worker.py"):
        assert (installed / file).is_file(), file


def test_the_installed_library_is_complete(installed: Path) -> None:
    code = ("import sys; sys.path[:0] = [sys.argv[1]]\n"
            "from pathlib import Path\n"
            "import TriplaneGaussianReconLib.pipeline.reconstruction\n"
            "import torch\n"
            "from TriplaneGaussianReconLib.gaussians.triplane_cuda import TRIPLANE\n"
            "from TriplaneGaussianReconLib.rasterizer.cuda import ALPHA, SUMS\n"
            "assert all(source.text(torch.float32) for source in (SUMS, ALPHA, TRIPLANE))\n"
            "ours = [m.__file__ for n, m in sys.modules.items() if n.startswith('TriplaneGaussianRecon')]\n"
            "assert all(Path(sys.argv[1]) in Path(file).parents for file in ours), ours\n"
            "print(len(ours))")
    done = subprocess.run([sys.executable, "-I", "-c", code, installed], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_a_wheel_carries_all_files_of_the_library() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"^\[tool\.setuptools\.package-data\]\n\w+ = \[(.*)\]$", project, re.MULTILINE)
    assert found
    carried = {path for pattern in ast.literal_eval(f"({found[1]},)") for path in LIBRARY.glob(pattern)}
    assert carried == {LIBRARY / file for file in files(LIBRARY) if not file.endswith(".py")}


def test_every_test_for_the_application_is_run_there(build: Path) -> None:
    listed = set(re.findall(r"py_(\w+)", cmake("ctest", "--test-dir", build, "-N")))
    scripts = {path.stem for path in (MODULE / "Testing" / "Python").glob("*.py")}
    assert listed == {"TriplaneGaussianRecon", *scripts}


def test_index_and_cmake_agree() -> None:
    assert re.search(r"^project\(TriplaneGaussianRecon\)$", EXTENSION, re.MULTILINE)
    assert extension("DEPENDS").split() == DESCRIPTION["build_dependencies"] == ["PyTorch"]
    assert DESCRIPTION["scm_url"] == f"{extension('HOMEPAGE')}.git"
    assert {"$schema", "category", "scm_url"} <= set(DESCRIPTION) <= {  # schema 1.0.1 allows no others
        "$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies", "build_subdirectory",
        "enabled", "tier"}


def test_icon_and_screenshots_are_files_of_this_repository() -> None:
    base = extension("HOMEPAGE").replace("https://github.com", "https://raw.githubusercontent.com")
    for url in (extension("ICONURL"), *extension("SCREENSHOTURLS").split()):
        branch, path = url.removeprefix(f"{base}/").split("/", 1)
        assert branch == DESCRIPTION["scm_revision"]
        assert cv2.imread(str(ROOT / path)) is not None, url
    icon = cv2.imread(str(MODULE / "Resources" / "Icons" / "TriplaneGaussianRecon.png"), cv2.IMREAD_UNCHANGED)
    assert icon.shape == (128, 128, 4)


def texts() -> Iterator[Path]:
    """The text files that belong to the extension or point to its repository."""
    yield from (ROOT / name for name in ("CMakeLists.txt", "TriplaneGaussianRecon.json", "README.md"))
    for folder in (MODULE, LIBRARY, ROOT / "docs"):
        yield from (path for path in folder.rglob("*") if path.suffix in {".py", ".ui", ".txt", ".cu", ".cuh", ".md"})


def test_everything_points_to_the_same_repository() -> None:
    pattern = re.compile(r"(?:github|raw\.githubusercontent)\.com/([\w.-]+)/SlicerTriplaneGaussianRecon")
    owners = {path: set(pattern.findall(path.read_text(encoding="utf-8"))) for path in texts()}
    assert {owner for found in owners.values() for owner in found} == {extension("HOMEPAGE").split("/")[3]}, owners


def test_line_ends_are_lf() -> None:
    assert not [path for path in texts() if b"\r" in path.read_bytes()]


def test_no_merge_is_left_half_done() -> None:
    marks = re.compile(rb"^(<{7}|>{7}|={7}$)", re.MULTILINE)
    assert not [path for path in texts() if marks.search(path.read_bytes())]


def test_requirements_name_all_packages_that_a_reconstruction_imports() -> None:
    """But for what Slicer brings, the extension PyTorch installs, and what only the command line uses."""
    others = {"api", "cohort", "command_line", "conversions", "evaluation", "readers", "dicom", "itk", "nifti", "nrrd",
              "pictures"}
    required = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8")
    allowed = {*re.findall(r"^[\w-]+", required, re.MULTILINE), "torch", "numpy", "cuda",
               "cv2",  # of opencv-python-headless
               "llvmlite",  # comes with numba
               "gsplat"}  # for an export that is not offered in Slicer
    for path in LIBRARY.rglob("*.py"):
        if not {*path.relative_to(LIBRARY).parts, path.stem.partition("_")[0]} & others:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            assert packages(nodes) <= allowed, path


def test_loading_the_module_imports_nothing_that_may_not_be_installed() -> None:
    allowed = {"numpy", "slicer", "vtk", "qt", "ctk", "TriplaneGaussianReconModule", "SegmentEditorEffects"}
    for path in MODULE.rglob("*.py"):
        assert packages(ast.parse(path.read_text(encoding="utf-8")).body) <= allowed, path


def packages(nodes: Iterable[ast.AST]) -> set[str]:
    """The packages that statements import, but for Python's own and the library."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name.split(".")[0] for name in found} - {*sys.stdlib_module_names, "TriplaneGaussianReconLib"}


def test_the_panel_is_well_formed_and_its_resources_are_there() -> None:
    panel = ElementTree.parse(MODULE / "Resources" / "UI" / "TriplaneGaussianRecon.ui").getroot()
    top = panel.find("widget")
    assert top is not None and top.get("class") == "qMRMLWidget"
    names = [widget.get("name") for widget in panel.iter("widget")]
    assert len(names) == len(set(names))
    assert panel.find("resources") is None or not len(panel.find("resources") or [])
