from __future__ import annotations

import sys
from pathlib import Path

import pytest

from TriplaneGaussianReconLib.cuda import cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the cache a folder that does not exist yet."""
    folder = tmp_path / "cache" / "kernels"
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(folder))
    return folder


def test_what_was_saved_is_loaded(folder: Path) -> None:
    assert cache.load("source and options") is None
    cache.save("source and options", b"machine code")
    assert cache.load("source and options") == b"machine code"
    assert cache.load("source and other options") is None
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:20], lambda content: b"",
                                    lambda content: content[:-1] + b"x", lambda content: content + b"x"])
def test_a_damaged_file_counts_as_missing_and_is_replaced(folder: Path, damage: object) -> None:
    cache.save("origin", b"machine code")
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    assert cache.load("origin") is None
    cache.save("origin", b"machine code")
    assert cache.load("origin") == b"machine code"


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "file" / "cache"))
    cache.save("origin", b"machine code")
    assert cache.load("origin") is None


def test_a_file_that_cannot_be_written_is_no_error(folder: Path) -> None:
    cache.save("origin", b"machine code")
    (file,) = folder.iterdir()
    file.unlink()
    file.mkdir()
    cache.save("origin", b"machine code")
    assert cache.load("origin") is None
    assert list(folder.iterdir()) == [file]  # nothing is left behind


@pytest.mark.parametrize(("platform", "environment", "expected"), [
    ("linux", {"XDG_CACHE_HOME": "caches"}, Path("caches")),
    ("linux", {"XDG_CACHE_HOME": ""}, Path.home() / ".cache"),
    ("win32", {"LOCALAPPDATA": "local"}, Path("local")),
    ("darwin", {}, Path.home() / "Library" / "Caches"),
])
def test_the_folder_is_where_the_platform_keeps_caches(platform: str, environment: dict[str, str], expected: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache.folder() == expected / "triplane-gaussian-recon"
