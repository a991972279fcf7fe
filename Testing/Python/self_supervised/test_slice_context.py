"""Gaps and the slices around them."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext, reversed_conditions

UNEVEN = np.array([0.0, 2.0, 3.0, 7.0, 8.5, 12.0])
QUARTERS = np.array([0.25, 0.5, 0.75])


@pytest.mark.parametrize(("size", "step", "gaps", "planes"), [
    (4, 1, [0, 2, 4], [[0, 0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 5]]),
    (6, 1, [0, 1, 2, 4], [[0, 0, 0, 1, 2, 3], [0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 5, 5]]),
    (4, 2, [0, 1, 3], [[0, 0, 2, 4], [1, 1, 3, 5], [1, 3, 5, 5]]),
    (6, 2, [0, 1, 2], [[0, 0, 0, 2, 4, 4], [1, 1, 1, 3, 5, 5], [0, 0, 2, 4, 4, 4]])])
def test_slices_around_a_gap(size: int, step: int, gaps: list[int], planes: list[list[int]]) -> None:
    """Where the stack ends its last slice is repeated; knots are where they lie, from the middle of the gap."""
    context = SliceContext.around(np.array(gaps), UNEVEN, QUARTERS, size, step)
    assert context.planes.tolist() == planes
    low, high = UNEVEN[gaps], UNEVEN[np.array(gaps) + step]
    np.testing.assert_allclose(context.knots, UNEVEN[planes] - 0.5 * (low + high)[:, None])
    np.testing.assert_array_equal(context.positions, UNEVEN[planes])
    np.testing.assert_allclose(context.widths, high - low)
    np.testing.assert_array_equal(context.fractions, np.tile(QUARTERS, (len(gaps), 1)))


def test_two_slices_have_no_others_around() -> None:
    for size in (4, 6):
        context = SliceContext.around(np.array([0]), np.array([1.0, 4.0]), np.array([0.5]), size)
        assert context.planes.tolist() == [[0] * (size // 2) + [1] * (size // 2)]
        assert context.knots.tolist() == [[-1.5] * (size // 2) + [1.5] * (size // 2)]


def test_conditions_tell_where_slices_and_planes_lie() -> None:
    """In gap widths from the middle, so that they do not depend on the unit of length."""
    context = SliceContext.around(np.array([1, 2]), UNEVEN, np.array([[0.5, 0.8], [0.25, 0.75]]), 4)
    np.testing.assert_allclose(context.conditions(), [[-2.5, -0.5, 0.5, 4.5, 0.0, 0.3],
                                                       [-0.75, -0.5, 0.5, 0.875, -0.25, 0.25]])
    other = SliceContext.around(np.array([1, 2]), 3.0 * UNEVEN, context.fractions, 4)
    np.testing.assert_allclose(other.conditions(), context.conditions())
    only = context.only(np.array([False, True]))
    np.testing.assert_allclose(only.conditions(), context.conditions()[1:])
    assert only.planes.tolist() == [[1, 2, 3, 4]]


def test_reversed_conditions_are_those_of_the_stack_in_the_other_order() -> None:
    fractions = np.array([0.2, 0.3, 0.9])
    for size in (4, 6):
        ahead = SliceContext.around(np.arange(5), UNEVEN, fractions, size)
        behind = SliceContext.around(np.arange(5), 12.0 - UNEVEN[::-1], 1.0 - fractions[::-1], size)
        conditions = torch.from_numpy(ahead.conditions())
        np.testing.assert_allclose(reversed_conditions(conditions, size).numpy(), behind.conditions()[::-1], atol=1e-12)


def test_displacements_around_a_gap() -> None:
    """Where a slice is repeated there is none: that of the gap itself stands there."""
    context = SliceContext.around(np.array([0, 2, 4]), UNEVEN, QUARTERS, 4)
    assert context.motions.tolist() == [[0, 0, 1], [1, 2, 3], [3, 4, 4]]
    assert context.has_outer.tolist() == [[False, True], [True, True], [True, False]]
    wide = SliceContext.around(np.array([1, 2]), UNEVEN, QUARTERS, 4, 2)
    assert wide.motions.tolist() == [[1, 1, 3], [0, 2, 2]]


def test_compact_contexts_are_of_the_slices_and_displacements_that_are_used() -> None:
    context = SliceContext.around(np.array([1, 3]), np.arange(9.0), np.array([0.5]), 4, 2)
    compact, slices, displacements = context.compact()
    assert slices.tolist() == [1, 3, 5, 7] and displacements.tolist() == [1, 3, 5]
    np.testing.assert_array_equal(slices[compact.planes], context.planes)
    np.testing.assert_array_equal(displacements[compact.motions], context.motions)
    np.testing.assert_array_equal(compact.positions, context.positions)
    np.testing.assert_array_equal(compact.has_outer, context.has_outer)
