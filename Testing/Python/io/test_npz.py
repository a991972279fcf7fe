"""Volumes as `.npz`, which needs nothing but NumPy."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_file_case import refused, voxels
from repository import ROOT


def test_npz_works_without_simpleitk(tmp_path: Path) -> None:
    code = """
import sys
import tempfile
sys.modules["SimpleITK"] = None
import numpy as np
import TriplaneGaussianReconLib as files
from TriplaneGaussianReconLib import Grid, Image, ReconstructionError, Segmentation
from TriplaneGaussianReconLib.io.writers import check_writable
labels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
grid = Grid(labels.shape, (1, 2, 3), (1, 1, 5))
check_writable("a.npz")
files.write_image("a.npz", Image(labels, grid))
assert (files.read_image("a.npz").array == labels).all() and files.read_image("a.npz").grid == grid
files.write_segmentation("s.npz", Segmentation.from_labelmap(labels, grid))
assert len(files.read_segmentation("s.npz").segments) == 23
open("a.gipl", "wb").write(bytes(range(256)))
for use, name in ((files.read_image, "a.gipl"), (files.read_segmentation, "a.gipl"), (check_writable, "a.nrrd")):
    try:
        use(name)
    except ReconstructionError as error:
        assert "pip install SimpleITK" in str(error) and ".npz" in str(error), error
    else:
        raise AssertionError(use)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment, check=True)


@pytest.mark.parametrize(("change", "words"), [
    ({"spacing": None}, "lacks spacing"),
    ({"spacing": np.ones(2)}, "three values"),
    ({"spacing": np.zeros(3)}, "positive"),
    ({"array": np.zeros((3, 3))}, "2 dimensions"),
    ({"array": np.zeros((3, 3, 3), complex)}, "complex"),
    ({"array": np.array([None] * 8).reshape(2, 2, 2)}, "type object"),
])
def test_bad_npz_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    content: dict[str, Any] = {"array": voxels(), "origin": np.zeros(3), "spacing": np.ones(3), "direction": np.eye(3)}
    content |= change
    np.savez(tmp_path / "a.npz", **{key: value for key, value in content.items() if value is not None})
    refused(tmp_path / "a.npz", words)
