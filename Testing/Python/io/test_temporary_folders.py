"""Temporary folders are gone with what needs them, and swept when that was killed; others' are left alone."""
from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from posix_case import POSIX
from repository import ROOT

from TriplaneGaussianReconLib.errors import OutputError
from TriplaneGaussianReconLib.io import temporary_folders
from TriplaneGaussianReconLib.io.temporary_folders import TemporaryFolder, sweep

HOLD = ("import sys\nfrom pathlib import Path\n"
        "from TriplaneGaussianReconLib.io.temporary_folders import TemporaryFolder\n"
        "folder = TemporaryFolder(Path(sys.argv[1]))\n(folder.path / 'file').touch()\n"
        "print(folder.path.parent, flush=True)\nsys.stdin.read()\n")


@contextmanager
def holder(where: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that has a temporary folder in `where`."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(where)], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_folder_ends_with_its_use(tmp_path: Path) -> None:
    with TemporaryFolder(tmp_path) as path:
        (path / "file").touch()
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
    one, other = TemporaryFolder(tmp_path), TemporaryFolder(tmp_path)
    assert one.path.is_dir() and len(list(tmp_path.iterdir())) == 2
    other.close()
    other.close()
    del one
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_folder_is_found_again_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = TemporaryFolder(Path())
    monkeypatch.chdir("/")
    assert folder.path.is_dir()
    folder.close()
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Nothing can be written to the folder '.*missing': No such file.*another"):
        TemporaryFolder(tmp_path / "missing")


@POSIX
def test_what_a_killed_process_leaves_is_swept_at_the_next_start(tmp_path: Path) -> None:
    with holder(tmp_path) as (process, folder):
        sweep(tmp_path)
        assert (folder / "files" / "file").exists()
        process.kill()
        process.wait()
        assert (folder / "files" / "file").exists()
        with holder(tmp_path) as (_, other):
            assert list(tmp_path.iterdir()) == [other]


@POSIX
@pytest.mark.parametrize("change", ["computer", "no lock", "user", "mode", "link"])
def test_what_may_be_needed_or_is_of_others_is_never_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           change: str) -> None:
    with holder(tmp_path) as (process, folder):
        process.kill()
        process.wait()
    if change == "computer":
        monkeypatch.setattr("platform.node", lambda: "another")
    elif change == "no lock":
        (folder / "lock").unlink()
    elif change == "user":
        monkeypatch.setattr("os.geteuid", lambda: folder.stat().st_uid + 1)
    elif change == "mode":
        folder.chmod(0o755)
    else:
        moved = folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(moved)
    sweep(tmp_path)
    assert (folder / "files" / "file").exists()
    monkeypatch.undo()


@POSIX
def test_what_could_not_be_deleted_is_swept_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = TemporaryFolder(tmp_path)
    (folder.path / "file").touch()
    with monkeypatch.context() as patch:
        patch.setattr(temporary_folders.shutil, "rmtree", lambda *_, **__: None)
        folder.close()
    assert list(tmp_path.iterdir())
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".triplane-notes").touch()
    (tmp_path / ".triplane-own").mkdir(0o700)
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
