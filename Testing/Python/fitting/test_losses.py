"""The structural dissimilarity against its definition."""
from __future__ import annotations

import pytest
import torch

from TriplaneGaussianReconLib.fitting.losses import structural_dissimilarity


def test_structural_dissimilarity() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 20, 24, generator=generator, dtype=torch.float64)
    assert float(structural_dissimilarity(image, image)) == pytest.approx(0, abs=1e-12)
    other = torch.rand(2, 20, 24, generator=generator, dtype=torch.float64)
    assert 0.5 < float(structural_dissimilarity(image, other)) < 1.2
    assert float(structural_dissimilarity(image, other)) == pytest.approx(float(structural_dissimilarity(other, image)))
    slight = float(structural_dissimilarity(image, image + 0.02 * other))
    assert 0 < slight < 0.1
    small = torch.rand(1, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: structural_dissimilarity(x, other[:1, :8, :8]), small)
