"""Half precision where it is faster, single precision elsewhere."""
from __future__ import annotations

import pytest
import torch

from TriplaneGaussianReconLib.runtime.half_precision import has_half_precision, in_half_precision

CPU = torch.device("cpu")


def convolved(width: int) -> torch.Tensor:
    """What a convolution of so many channels makes."""
    generator = torch.Generator().manual_seed(0)
    kernel, image = (torch.randn(shape, generator=generator) for shape in ((width, width, 1, 5), (1, width, 1, 40)))
    with in_half_precision(CPU, width):
        return torch.nn.functional.conv2d(image, kernel)


def test_narrow_networks_compute_in_single_precision() -> None:
    assert convolved(8).dtype == torch.float32


def test_wide_networks_compute_in_half_precision_if_the_processor_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert convolved(24).dtype == (torch.bfloat16 if has_half_precision("cpu") else torch.float32)
    precise = convolved(8)
    monkeypatch.setattr("TriplaneGaussianReconLib.runtime.half_precision._LEAST_WIDTH", {"cpu": 8})
    torch.testing.assert_close(convolved(8).float(), precise, rtol=0.02, atol=0.05)


def test_a_device_of_which_nothing_is_known_computes_in_single_precision() -> None:
    assert not has_half_precision("mps")
