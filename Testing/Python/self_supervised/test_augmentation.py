"""Mirrored and transposed copies of what a network is applied to."""
from __future__ import annotations

import pytest
import torch

from TriplaneGaussianReconLib.self_supervised.augmentation import Augmentation, of_lines, of_planes

IMAGES = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
ALL = [*of_planes(16), *of_lines(4, True), *of_lines(4, False)]


@pytest.mark.parametrize("augmentation", ALL)
def test_what_is_applied_is_undone(augmentation: Augmentation) -> None:
    applied = augmentation.applied(IMAGES)
    assert applied.shape == ((2, 3, 5, 4) if augmentation.is_transposed else (2, 3, 4, 5))
    assert torch.equal(augmentation.undone(applied), IMAGES)


def test_those_of_planes_are_all_symmetries_of_a_plane_in_both_orders() -> None:
    square = torch.arange(2 * 4 * 4).reshape(1, 2, 4, 4)
    for count in (1, 2, 4, 8, 16):
        assert len({tuple(each.applied(square).flatten().tolist()) for each in of_planes(count)}) == count
    assert torch.equal(of_planes(1)[0].applied(square), square)


@pytest.mark.parametrize("along_rows", [True, False])
def test_lines_run_along_the_last_axis(along_rows: bool) -> None:
    """In both orders of the slices first, then mirrored; rows and columns do not mix."""
    lines = IMAGES if along_rows else IMAGES.transpose(-2, -1)
    expected = [lines, lines.flip(-3), lines.flip(-1), lines.flip(-3, -1)]
    for augmentation, seen in zip(of_lines(4, along_rows), expected, strict=True):
        assert torch.equal(augmentation.applied(IMAGES), seen)
    assert of_lines(2, along_rows) == of_lines(4, along_rows)[:2]
