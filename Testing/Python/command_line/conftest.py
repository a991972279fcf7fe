"""Inputs for the program, a way to run it, and the results of one run."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.io.writers import write_image, write_segmentation

SHAPE = (11, 30, 34)
SPACING = (0.9, 0.9, 2.7)
Run = Callable[..., int]


@pytest.fixture(scope="session")
def grid(rotation: Any) -> Grid:
    return Grid(SHAPE, (12.5, -40.0, 7.0), SPACING, rotation)


@pytest.fixture(scope="session")
def volume(textured: Any, grid: Grid) -> Image:
    return Image((-500 + 1500 * textured(SHAPE, noise=0.01)).astype(np.int16), grid)


@pytest.fixture(scope="session")
def segmentation(volume: Image) -> Segmentation:
    """Two overlapping segments with names, colours and terminology, as 3D Slicer keeps them."""
    layers = np.stack([7 * (volume.array > 350), volume.array > 250]).astype(np.uint8)
    segments = (Segment("Tumour", 7, 0, "first", (0.9, 0.25, 0.1)), Segment("Oedema", 1, 1, "second", (0.1, 0.5, 0.75)))
    metadata = {"Segment0_ID": "first", "Segment0_Tags": "TerminologyEntry:tumour|"}
    return Segmentation(layers, segments, volume.grid, metadata)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, volume: Image, segmentation: Segmentation) -> Path:
    """A folder with the inputs."""
    folder = tmp_path_factory.mktemp("inputs")
    write_image(folder / "volume.nrrd", volume)
    write_image(folder / "labels.nii.gz", Image(segmentation.layers[0], volume.grid))
    write_segmentation(folder / "labels.seg.nrrd", segmentation)
    return folder


@pytest.fixture
def run(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program in `tmp_path`; arguments that name an input file are completed."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: object) -> int:
        return main([str(files / str(part)) if (files / str(part)).is_file() else str(part) for part in argv])

    return call


@pytest.fixture(scope="session")
def finished(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all results of one run."""
    folder = tmp_path_factory.mktemp("results")
    assert main(["reconstruct", f"{files}/volume.nrrd", "--labels", f"{files}/labels.seg.nrrd", "--keep-every", "2",
                 "--output", f"{folder}/dense.nii.gz", "--output-labels", f"{folder}/dense.seg.nrrd",
                 "--output-confidence", f"{folder}/error.mha", "--save-model", f"{folder}/model.safetensors",
                 "--report", f"{folder}/report.json"]) == 0
    return folder
