"""The .ply holds the same Gaussians as the model."""
from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError, MissingPackageError
from TriplaneGaussianReconLib.model.model import Model
from TriplaneGaussianReconLib.model.ply import export_ply
from TriplaneGaussianReconLib.model.shards import Shard
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction, reconstruct

SHAPE = (9, 20, 24)


@pytest.fixture(scope="module")
def result(textured: Any, rotation: Any) -> Reconstruction:
    """A reconstruction on an oblique grid."""
    grid = Grid(SHAPE, (12.5, -40.0, 7.0), (0.8, 0.8, 2.5), rotation)
    observations = Observations.from_volume(Image((1000 * textured(SHAPE)).astype(np.int16), grid),
                                            {"k": Selection.every(9, 2)})
    return reconstruct(observations, grid, device="cpu")


def parsed_ply(path: Path) -> dict[str, np.ndarray]:
    """Read a binary .ply of float properties: property -> (N,)."""
    header, _, body = path.read_bytes().partition(b"end_header\n")
    names = [line.split()[-1].decode() for line in header.splitlines() if line.startswith(b"property float")]
    values = np.frombuffer(body, "<f4").reshape(-1, len(names))
    assert f"element vertex {len(values)}".encode() in header
    return {name: values[:, n] for n, name in enumerate(names)}


def test_the_ply_holds_the_same_gaussians(result: Reconstruction, tmp_path: Path) -> None:
    model = tilted(result.model)
    export_ply(tmp_path / "m.ply", model)
    ply = parsed_ply(tmp_path / "m.ply")
    parameters, rotation = model.parameters, model.frame[:3, :3]
    centres = parameters.centres.numpy() @ rotation.T + model.frame[:3, 3]
    np.testing.assert_allclose(np.stack([ply[n] for n in "xyz"], axis=1), centres, atol=1e-4)
    np.testing.assert_allclose(covariances(ply), world_covariances(model), rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(ply["opacity"], parameters.raw_weights.numpy(), rtol=1e-6)
    grey = np.clip(parameters.values[:, 0].numpy() + model.intensity.background, 0.0, 1.0)
    for n in range(3):
        np.testing.assert_allclose(0.5 + 0.28209479177387814 * ply[f"f_dc_{n}"], grey, atol=1e-6)
    assert not any(name.startswith("f_rest") for name in ply)


def tilted(model: Model) -> Model:
    """The model with stronger, different tilts and shapes."""
    parameters, generator = model.parameters, torch.Generator().manual_seed(0)
    noise = torch.randn(len(parameters), 6, generator=generator)
    changed = replace(parameters, tilts=noise[:, :2], in_plane=parameters.in_plane + 0.3 * noise[:, 2:5],
                      log_depths=parameters.log_depths + 0.3 * noise[:, 5])
    return replace(model, shards=(Shard.of(changed, model.cutoff),))


def covariances(ply: dict[str, np.ndarray]) -> np.ndarray:
    """(N, 3, 3) mm^2, as a viewer of splats computes them."""
    w, x, y, z = (ply[f"rot_{n}"].astype(np.float64) for n in range(4))
    np.testing.assert_allclose(w * w + x * x + y * y + z * z, 1.0, atol=1e-5)
    axes = np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                     [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                     [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]).transpose(2, 0, 1)
    scaled = axes * np.exp(np.stack([ply[f"scale_{n}"] for n in range(3)], axis=1).astype(np.float64))[:, None, :]
    return scaled @ scaled.transpose(0, 2, 1)


def world_covariances(model: Model) -> np.ndarray:
    """(N, 3, 3) mm^2 in LPS, from depth, tilt and cross-section rather than from the precision."""
    parameters = model.parameters
    a, b, c = (parameters.in_plane[:, n].double().numpy() for n in range(3))
    factor = np.zeros((len(a), 2, 2))
    factor[:, 0, 0], factor[:, 1, 0], factor[:, 1, 1] = np.exp(a), b, np.exp(c)
    section = np.linalg.inv(factor @ factor.transpose(0, 2, 1))
    variance = np.exp(2.0 * parameters.log_depths.double().numpy())[:, None, None]
    tilt = np.concatenate([parameters.tilts.double().numpy(), np.ones((len(a), 1))], axis=1)
    covariance = variance * tilt[:, :, None] * tilt[:, None, :]
    covariance[:, :2, :2] += section
    rotation = model.frame[:3, :3]
    return rotation @ covariance @ rotation.T


def test_export_needs_gsplat_and_ply(result: Reconstruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"Use \.ply"):
        export_ply(tmp_path / "m.obj", result.model)
    monkeypatch.setitem(sys.modules, "gsplat.exporter", None)
    with pytest.raises(MissingPackageError, match="pip install gsplat"):
        export_ply(tmp_path / "m.ply", result.model)
    assert not list(tmp_path.iterdir())
