"""Segmentations on other voxels than their volume's."""
from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.alignment import aligned_to, voxel_offset
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Segment, Segmentation
from TriplaneGaussianReconLib.errors import InputError, InputNote


def labels_of(grid: Grid) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, grid.shape).astype(np.uint8)


def part_of(grid: Grid, first: tuple[int, int, int], shape: tuple[int, int, int]) -> Grid:
    """The grid that starts at voxel `first` (i, j, k) of `grid` and has `shape` [k, j, i]."""
    return Grid(shape, grid.index_to_physical(np.array(first)), grid.spacing, grid.direction)


@pytest.mark.parametrize("first", [(0, 0, 0), (1, 2, 1), (-2, -1, 3), (5, -4, -3)])
def test_voxel_offset(oblique_grid: Grid, first: tuple[int, int, int]) -> None:
    assert voxel_offset(oblique_grid, part_of(oblique_grid, first, (2, 3, 2))) == first


def test_no_common_lattice(oblique_grid: Grid) -> None:
    half = Grid((4, 5, 6), oblique_grid.index_to_physical(np.array([0.5, 0, 0])), oblique_grid.spacing,
                oblique_grid.direction)
    assert voxel_offset(oblique_grid, half) is None
    assert voxel_offset(oblique_grid, Grid((4, 5, 6), oblique_grid.origin, oblique_grid.spacing)) is None
    assert voxel_offset(oblique_grid, oblique_grid.resampled("k", 1.5)) is None
    one = Grid((1, 1, 1), oblique_grid.origin, oblique_grid.spacing)  # one voxel, but other axes
    assert voxel_offset(oblique_grid, one) is None


@pytest.mark.parametrize(("first", "shape"), [((0, 0, 0), (4, 5, 6)), ((1, 2, 1), (2, 3, 4)), ((-2, -1, -1), (7, 8, 9)),
                                              ((3, -2, 2), (4, 4, 7))])
def test_aligned_to_puts_every_label_where_it_was(oblique_grid: Grid, first: tuple[int, int, int],
                                                  shape: tuple[int, int, int]) -> None:
    """Look every voxel of the target up in the source through physical space."""
    labels = labels_of(oblique_grid)
    source = Segmentation.from_labelmap(labels, oblique_grid)
    target = part_of(oblique_grid, first, shape)
    result = aligned_to(source, target)
    assert result.grid is target and result.segments == source.segments and result.layers.dtype == np.uint8
    for k, j, i in np.ndindex(*shape):
        at = np.round(oblique_grid.physical_to_index(target.index_to_physical(np.array([i, j, k])))).astype(int)
        inside = all(0 <= n < size for n, size in zip(at, oblique_grid.shape[::-1], strict=True))
        assert result.layers[0, k, j, i] == (labels[at[2], at[1], at[0]] if inside else 0)


def test_aligned_to_keeps_layers_and_metadata(oblique_grid: Grid) -> None:
    layers = np.stack([labels_of(oblique_grid), labels_of(oblique_grid)[::-1]])
    source = Segmentation(layers, (Segment("a", 1, 0), Segment("b", 2, 1)), oblique_grid, {"key": "value"})
    result = aligned_to(source, part_of(oblique_grid, (0, 0, 1), (3, 5, 6)))
    np.testing.assert_array_equal(result.layers, layers[:, 1:])
    assert result.metadata == {"key": "value"}


def test_a_segmentation_elsewhere_is_refused(oblique_grid: Grid) -> None:
    source = Segmentation.from_labelmap(labels_of(oblique_grid), oblique_grid)
    for first in ((6, 0, 0), (0, -5, 0), (0, 0, 4)):
        with pytest.raises(InputError, match="outside the volume"):
            aligned_to(source, part_of(oblique_grid, first, (4, 5, 6)))
    half = Grid((4, 5, 6), oblique_grid.index_to_physical(np.array([9.5, 0, 0])), oblique_grid.spacing,
                oblique_grid.direction)
    with pytest.raises(InputError, match="outside the volume"):
        aligned_to(source, half)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_axes_in_another_order_and_direction_change_no_voxel(oblique_grid: Grid, order: tuple[int, int, int]) -> None:
    labels = labels_of(oblique_grid)
    whole = Segmentation.from_labelmap(labels, oblique_grid)
    for signs in product((1, -1), repeat=3):
        if order == (0, 1, 2) and signs == (1, 1, 1):
            continue
        # axis n of the other grid runs along axis order[n] of the volume's
        first = [(oblique_grid.size[axis] - 1) * (sign < 0) for axis, sign in
                 sorted(zip(order, signs, strict=True))]
        direction = np.asarray(oblique_grid.direction)[:, order] * signs
        turned = labels.transpose(*(2 - order[axis] for axis in (2, 1, 0)))[
            tuple(slice(None, None, signs[axis]) for axis in (2, 1, 0))]
        grid = Grid(turned.shape, oblique_grid.index_to_physical(np.array(first)),
                    [oblique_grid.spacing[axis] for axis in order], direction)
        with pytest.warns(InputNote, match="none was changed"):
            result = aligned_to(Segmentation.from_labelmap(turned, grid), oblique_grid)
        np.testing.assert_array_equal(result.layers, whole.layers)
        assert result.grid is oblique_grid


def ball(grid: Grid) -> np.ndarray:
    points = grid.index_to_physical(np.stack(np.meshgrid(*map(np.arange, grid.size), indexing="ij"), -1))
    inside = np.linalg.norm(points - (15, 16, 17), axis=-1) < 9
    return np.ascontiguousarray(inside.transpose(2, 1, 0)).astype(np.uint8)


TURNED = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])


@pytest.mark.parametrize("grid", [
    Grid((60, 60, 60), spacing=(0.5, 0.5, 0.5)), Grid((15, 15, 15), spacing=(2, 2, 2)),
    Grid((30, 30, 30), (0.3, -0.2, 0.4)), Grid((40, 44, 44), (5, -9, 0), direction=TURNED),
    Grid((20, 30, 30), spacing=(1, 1, 1.5), depths=tuple(np.cumsum([0, *[1, 2] * 9, 1.0])))],
    ids=["finer", "coarser", "shifted", "rotated", "uneven"])
def test_labels_on_other_voxels_are_resampled_and_it_is_said(grid: Grid) -> None:
    target = Grid((10, 30, 30), spacing=(1, 1, 3))
    with pytest.warns(InputNote, match="It was resampled.*mm apart"):
        result = aligned_to(Segmentation.from_labelmap(ball(grid), grid), target)
    expected = ball(target).astype(bool)
    overlap = 2 * (result.layers[0] & expected).sum() / (result.layers[0].sum() + expected.sum())
    assert overlap > 0.9 and result.grid is target and result.layers.dtype == np.uint8


def test_a_volume_with_uneven_slices_takes_even_labels() -> None:
    target = Grid((4, 30, 30), (0, 0, 10), (1, 1, 3), depths=(0, 3, 9, 12))
    even = Grid((30, 30, 30))
    with pytest.warns(InputNote, match="resampled"):
        result = aligned_to(Segmentation.from_labelmap(ball(even), even), target)
    np.testing.assert_array_equal(result.layers[0], ball(even)[[10, 13, 19, 22]])
    same = Segmentation.from_labelmap(ball(target), target)
    assert aligned_to(same, target).layers is same.layers


def test_of_finer_labels_most_decide() -> None:
    """A voxel of three labels, none of them half of it, is not background."""
    fine = Grid((4, 4, 4))
    labels = np.zeros(fine.shape, np.uint8)
    labels[:, :, 0], labels[:, :, 1:3], labels[:, :, 3] = 1, 2, 3
    target = Grid((1, 1, 1), (1.5, 1.5, 1.5), (4, 4, 4))
    with pytest.warns(InputNote):
        assert aligned_to(Segmentation.from_labelmap(labels, fine), target).layers.item() == 2
