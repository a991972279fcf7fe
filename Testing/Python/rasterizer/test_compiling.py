"""Kernels run, whatever is in the cache on disk, and the cache mends itself."""
from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import pytest

from TriplaneGaussianReconLib.rasterizer.compiling import compiled


def total(x: np.ndarray) -> float:
    s = 0.0
    for value in x:
        s += value
    return s


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def run() -> tuple[float, int]:
    """Compile or load anew; returns the result, and how much came from the cache."""
    kernel = compiled(total)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return kernel(np.ones(4)), sum(kernel.stats.cache_hits.values())


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"", "short": lambda content: content[:len(content) // 2],
    "shorter by one": lambda content: content[:-1], "zeros": lambda content: bytes(len(content)),
    "zeros at the end": lambda content: content[:len(content) // 2] + bytes(len(content) - len(content) // 2),
    "rubbish": lambda content: b"rubbish" * 99, "a flipped bit": flipped,
    "another pickle": lambda content: pickle.dumps({"a": 1})}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("extension", ["nbi", "nbc"])
def test_damage_costs_time_and_is_mended(cache: Path, extension: str, damage: str) -> None:
    assert run() == (4.0, 0) and run() == (4.0, 1)
    [file] = cache.rglob(f"*.{extension}")
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert run() == (4.0, 0)
    assert run() == (4.0, 1)


def test_a_missing_file_is_made_again(cache: Path) -> None:
    run()
    for file in cache.rglob("*.nb?"):
        content = file.read_bytes()
        file.unlink()
        assert run() == (4.0, 0) and file.read_bytes()[:8] == content[:8] and run() == (4.0, 1)


def test_what_cannot_be_kept_is_told_with_the_folder(cache: Path) -> None:
    kernel = compiled(total)
    for folder in list(cache.iterdir()):
        folder.rmdir()
        folder.write_text("a file in the place of the folder")
    with pytest.warns(RuntimeWarning, match=f"cannot be kept in '{cache}.*Each start takes"):
        assert kernel(np.ones(3)) == 3.0


def test_an_unusable_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(file))
    assert run()[0] == 4.0
