"""Memory, threads, the cache of kernels, and what the environment says."""
from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from posix_case import POSIX
from program import QUICK, Program, unharmed
from repository import ROOT

pytestmark = POSIX
RECONSTRUCT = ("reconstruct", "scan.nrrd", *QUICK, "--output")


def limit(name: str, size: int) -> Callable[[], None]:
    def set_limit() -> None:
        import resource

        resource.setrlimit(getattr(resource, name), (size, size))

    return set_limit


@pytest.mark.parametrize(("name", "mebibytes"), [("RLIMIT_AS", 300), ("RLIMIT_AS", 900), ("RLIMIT_AS", 1100),
                                                 ("RLIMIT_DATA", 60),
                                                 ("RLIMIT_DATA", 400)])
def test_too_little_memory_ends_with_5(program: Program, folder: Path, name: str, mebibytes: int) -> None:
    (folder / "o.nrrd").write_text("an older result")
    with unharmed(folder):
        ended = program(*RECONSTRUCT, "o.nrrd", before=limit(name, mebibytes * 2 ** 20))
    assert ended.code == 5 and "not enough memory" in ended.err and "Traceback" not in ended.err


def test_threads_that_cannot_be_started_end_with_5(program: Program, folder: Path) -> None:
    """A limit on processes does not bind root, so that stacks are made too large for any thread of Python."""
    (folder / "sitecustomize.py").write_text("import threading\nthreading.stack_size(2 ** 46)\n")
    (folder / "o.nrrd").write_text("an older result")
    with unharmed(folder):
        ended = program(*RECONSTRUCT, "o.nrrd", environment={
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "1"})
    assert ended.code == 5 and "not enough memory" in ended.err and "Traceback" not in ended.err


def test_a_damaged_cache_of_kernels_does_not_show(program: Program, folder: Path, tmp_path: Path) -> None:
    from numba.core.caching import UserProvidedCacheLocator

    from TriplaneGaussianReconLib.rasterizer import cpu_kernels

    source = Path(cpu_kernels.__file__)
    own = tmp_path / "cache" / UserProvidedCacheLocator.get_suitable_cache_subpath(str(source))
    shutil.copytree(source.parent / "__pycache__", own)  # full, as the fixtures have run the program
    for kind, count in (("nbi", 2), ("nbc", 4)):  # the smallest, which are compiled quickly
        for number, file in enumerate(sorted(own.glob(f"*.{kind}"), key=lambda path: path.stat().st_size)[:count]):
            content = file.read_bytes()
            file.write_bytes([b"", b"rubbish" * 99, content[:len(content) // 2], bytes(len(content))][number])
    with unharmed(folder, "o.npz"):
        ended = program(*RECONSTRUCT, "o.npz", environment={"NUMBA_CACHE_DIR": str(tmp_path / "cache")})
    assert ended.code == 0 and "Traceback" not in ended.err and "cannot be kept" not in ended.err


def test_an_environment_full_of_rubbish(program: Program, folder: Path) -> None:
    file = str(folder / "scan.nrrd")  # in the place of folders
    with unharmed(folder, "o.npz"):
        ended = program(*RECONSTRUCT, "o.npz", environment={
            "HOME": "/nowhere", "TMPDIR": file, "XDG_CACHE_HOME": file, "PYTHONPYCACHEPREFIX": file, "LC_ALL": "no",
            "LANG": "\x01", "TZ": "rubbish", "TERM": "rubbish", "COLUMNS": "-1", "PATH": "", "USER": None,
            "NUMBA_NUM_THREADS": "0", "OMP_NUM_THREADS": "99999999", "MKL_NUM_THREADS": "-3", "NUMBA_DEBUG": "rubbish",
            "CUDA_VISIBLE_DEVICES": "rubbish", "PYTHONWARNINGS": "error"})
    assert ended.code == 0 and "Traceback" not in ended.err
    assert ended.err.count("which is no number of threads; it is ignored") == 3


def test_one_of_them_alone(program: Program, folder: Path) -> None:
    with unharmed(folder, "o.npz"):
        ended = program(*RECONSTRUCT, "o.npz", environment={"HOME": None, "OMP_NUM_THREADS": "rubbish"})
    assert ended.code == 0 and "OMP_NUM_THREADS is 'rubbish'" in ended.err and "libgomp" not in ended.err


def test_an_installation_that_cannot_be_written(program: Program, folder: Path, tmp_path: Path) -> None:
    """Folders of root can be written in any case, so that files are in the way of the caches."""
    copy = tmp_path / "installed" / "TriplaneGaussianReconLib"
    shutil.copytree(ROOT / "TriplaneGaussianReconLib", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for package in [copy, *(path for path in copy.iterdir() if path.is_dir())]:
        (package / "__pycache__").write_text("a file in the place of the folder")
    with unharmed(copy), unharmed(folder):
        ended = program("info", "model.safetensors", environment={"PYTHONPATH": str(copy.parent)})
    assert ended.code == 0 and not ended.err
