"""LPIPS from weights in a file."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.evaluation.lpips import Lpips

SHAPES = {"net.slice1.0": (64, 3, 11), "net.slice2.3": (192, 64, 5), "net.slice3.6": (384, 192, 3),
          "net.slice4.8": (256, 384, 3), "net.slice5.10": (256, 256, 3)}


def weights() -> dict[str, Tensor]:
    """Of the sizes of AlexNet, at random."""
    generator = torch.Generator().manual_seed(0)
    result: dict[str, Tensor] = {}
    for number, (name, (out, into, side)) in enumerate(SHAPES.items()):
        result[f"{name}.weight"] = torch.randn(out, into, side, side, generator=generator) / (into * side ** 2) ** 0.5
        result[f"{name}.bias"] = torch.zeros(out)
        result[f"lin{number}.model.1.weight"] = torch.rand(1, out, 1, 1, generator=generator)
    return result


def test_what_looks_alike_is_nearer() -> None:
    truth = np.random.default_rng(0).random((2, 64, 70), np.float32)
    lpips, noise = Lpips(weights()), np.random.default_rng(1).normal(0, 1, truth.shape).astype(np.float32)
    assert lpips.distance(truth, truth).tolist() == [0.0, 0.0]
    near, far = (lpips.distance(truth, truth + share * noise) for share in (0.01, 0.3))
    assert (near > 0).all() and (far > 3 * near).all()


def test_the_distance_is_a_mean_over_unit_features() -> None:
    """With weights of 1, features of opposite sign in one channel are as far apart as can be."""
    known = {name: torch.zeros_like(each) for name, each in weights().items()}
    known["net.slice1.0.bias"][0] = 1.0  # the same feature everywhere, whatever the image
    known["lin0.model.1.weight"] += 1.0
    slices = np.random.default_rng(0).random((1, 64, 64), np.float32)
    assert Lpips(known).distance(slices, 1.0 - slices).tolist() == [0.0]


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no weights of LPIPS.*net\.slice1\.0\.weight"):
        Lpips({})
    with pytest.raises(InputError, match="at least 64 pixels"):
        Lpips(weights()).distance(np.zeros((1, 20, 80)), np.zeros((1, 20, 80)))
    (tmp_path / "w.pth").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="no safetensors file"):
        Lpips.read(tmp_path / "w.pth")


def test_weights_are_read_from_a_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(weights(), tmp_path / "w.safetensors")
    a, b = np.random.default_rng(0).random((2, 1, 64, 64), np.float32)
    assert Lpips.read(tmp_path / "w.safetensors").distance(a, b) == Lpips(weights()).distance(a, b)
