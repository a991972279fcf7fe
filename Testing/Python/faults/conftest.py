"""A tiny scan, and the program that is to survive what is done to it."""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from program import QUICK, Program, Server

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.io.writers import write_image

SHAPE = (8, 24, 20)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """A scan, its labels, and a model of it."""
    folder = tmp_path_factory.mktemp("inputs")
    k, j, i = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    scan = (500 + 300 * np.sin(0.4 * i + 0.3 * k) * np.cos(0.3 * j)).astype(np.int16)
    grid = Grid(SHAPE, spacing=(1, 1, 3))
    write_image(folder / "scan.nrrd", Image(scan, grid))
    write_image(folder / "labels.nrrd", Image((scan > 600).astype(np.uint8), grid))
    ended = Program(folder, server)("reconstruct", "scan.nrrd", *QUICK, "--output", "dense.npz", "--save-model",
                                    "model.safetensors")
    assert ended.code == 0, ended.err
    (folder / "dense.npz").unlink()
    return folder


@pytest.fixture
def folder(inputs: Path, tmp_path: Path) -> Path:
    """A folder of its own with the inputs."""
    return Path(shutil.copytree(inputs, tmp_path / "case"))


@pytest.fixture
def program(folder: Path, server: Server) -> Program:
    return Program(folder, server)
